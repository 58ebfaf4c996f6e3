//! A sandbox: one contained process tree executing one plan — started, supervised, reported.
//!
//! States are types: a [`Plan`] has nothing running, [`Running`] has a live init, and the [`Report`] is what is
//! left when everything inside is gone.

mod accounting;
mod artefacts;
mod begun;
mod callers_file;
mod cancel;
mod cores;
mod denials;
mod disk_watch;
mod enforcement;
mod error;
mod handover;
mod head_start;
mod ids;
mod inbox;
mod init;
mod launch;
mod live;
mod outcome;
mod output;
mod owner;
mod pass;
mod poll;
mod private;
mod refusals;
mod remains;
mod shared_memory;
mod slot;
mod streams;
mod supervise;
mod terminal;
mod words;
mod zygote;

pub use cancel::Cancel;
pub use error::SandboxError;
pub use head_start::HeadStart;
pub use launch::{Running, launch};
pub use private::sweep_scratch;
pub(crate) use remains::Remains;
pub(crate) use slot::{Armed, ProgramFrame, ReadySlot};
pub use streams::{Output, StdinSource};
pub use terminal::Terminal;
pub(crate) use zygote::Zygote;

pub(crate) use private::PREFIX as SCRATCH_PREFIX;

use crate::files::{CollectLimits, Globs, OutDir};
use crate::plan::Plan;
use crate::policy::Bytes;
use crate::report::Report;

/// Standard streams that are three pipes of ours.
#[derive(Debug)]
pub struct Pipes {
    /// Where standard input comes from.
    pub stdin: StdinSource,
    /// Where standard output goes.
    pub stdout: Output,
    /// Where standard error goes.
    pub stderr: Output,
}

/// What the standard streams are.
#[derive(Debug)]
pub enum Streams {
    /// Three pipes.
    Pipes(Pipes),
    /// One terminal.
    Terminal(Terminal),
}

/// How a run is connected to its caller. A warm run has pipes; another may have either of [`Streams`].
pub struct Connections<S = Pipes> {
    /// Its standard streams.
    pub streams: S,
    /// Ends the run early.
    pub cancel: Option<Cancel>,
    /// Grants the guest descriptor 3, on which it may write one JSON value of so many bytes.
    pub result: Option<Bytes>,
    /// What is collected from the working directory when everything inside is dead.
    pub collect: Option<Collect>,
}

impl Connections {
    /// Nothing on standard input; both output streams kept for the report, up to the policy's limit.
    pub fn capture() -> Connections {
        let keep = || Output { pass_to: None, keep: true };
        Connections {
            streams: Pipes { stdin: StdinSource::Empty, stdout: keep(), stderr: keep() },
            cancel: None,
            result: None,
            collect: None,
        }
    }
}

impl From<Connections> for Connections<Streams> {
    fn from(connections: Connections) -> Self {
        let Connections { streams, cancel, result, collect } = connections;
        Connections { streams: Streams::Pipes(streams), cancel, result, collect }
    }
}

/// Files to be collected.
pub struct Collect {
    /// Which.
    pub globs: Globs,
    /// How much.
    pub limits: CollectLimits,
    /// Where they are written; none for into the report.
    pub out: Option<OutDir>,
}

/// Runs a plan to its end.
///
/// # Errors
/// Only failures of ours or of the host; whatever the program does is in the report.
pub fn run(plan: Plan, connections: impl Into<Connections<Streams>>) -> Result<Report, SandboxError> {
    launch(plan, connections, None)?.wait()
}
