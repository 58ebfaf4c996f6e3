//! A job: a program for a sandbox that is ready, and what of the pool's policy it lowers.

use super::WarmError;
use crate::files::Input;
use crate::plan::{BOX, Plan};
use crate::policy::{Bytes, Duration, Limits};
use crate::sandbox::ProgramFrame;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// What a job runs.
#[derive(Clone, Debug)]
pub enum JobProgram {
    /// A Python file: one of the job's inputs, by its name.
    Script(String),
    /// Python code, as with `python -c`.
    Code(OsString),
    /// A Python module, as with `python -m`.
    Module(OsString),
    /// Python code from standard input, as with `python -`.
    Stdin,
}

/// A program and what it gets; the pool has decided everything else.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is run.
    pub program: JobProgram,
    /// Files copied to `/box`, the script among them.
    pub inputs: Vec<Input>,
    /// Arguments.
    pub args: Vec<OsString>,
    /// Environment variables beside the policy's: none that is [read at the start](is_read_at_start).
    pub env: Vec<(String, String)>,
    /// Limits below the policy's.
    pub limits: JobLimits,
    /// Whether output is watched live, so that Python must not buffer it.
    pub unbuffered: bool,
}

/// Limits that a job may lower; a value above the policy's is an error.
#[derive(Clone, Debug, Default)]
pub struct JobLimits {
    /// Time on the clock.
    pub wall: Option<Duration>,
    /// CPU time.
    pub cpu_time: Option<Duration>,
    /// Bytes of memory, all processes together; 32 MiB at least.
    pub memory: Option<Bytes>,
    /// Processes and threads; as many at least as libraries may start threads, which they have been told.
    pub processes: Option<u32>,
    /// Bytes in scratch space, if the policy gives any.
    pub disk: Option<Bytes>,
    /// Bytes of each output stream.
    pub output: Option<Bytes>,
}

impl Job {
    /// A job that runs `program` with nothing else.
    pub fn new(program: JobProgram) -> Job {
        Job {
            program,
            inputs: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            limits: JobLimits::default(),
            unbuffered: false,
        }
    }

    /// Refuses what cannot be warm.
    pub(super) fn check(&self) -> Result<(), WarmError> {
        let refused = |problem: String| Err(WarmError::Job { problem });
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return refused(format!("`{}` is no environment variable", name.escape_default()));
            }
            if is_read_at_start(name) {
                let name = name.escape_default();
                return refused(format!("`{name}` is read when Python or a library starts, which it has"));
            }
        }
        if let JobProgram::Script(entry) = &self.program
            && !self.inputs.iter().any(|input| input.name() == entry)
        {
            return refused(format!("its entry `{}` is none of its files", entry.escape_default()));
        }
        let strings = self.args.iter().map(|arg| arg.as_bytes());
        let code = match &self.program {
            JobProgram::Code(text) | JobProgram::Module(text) => text.as_bytes(),
            JobProgram::Script(_) | JobProgram::Stdin => b"",
        };
        if strings.chain([code]).any(|bytes| bytes.contains(&0)) {
            return refused("an argument or the code contains a NUL byte".into());
        }
        Ok(())
    }

    /// The plan of this run.
    pub(super) fn plan(&self, base: &Plan) -> Result<Plan, WarmError> {
        let mut plan = base.clone();
        plan.policy.limits = self.limits.lay_over(base)?;
        if plan.policy.limits != base.policy.limits {
            plan.policy_digest = Default::default();
        }
        plan.root.inputs.clone_from(&self.inputs);
        Ok(plan)
    }

    /// Gives what the guest is told to `then`.
    pub(super) fn with_frame<T>(&self, result: bool, then: impl FnOnce(&ProgramFrame<'_>) -> T) -> T {
        let path;
        let (mode, target) = match &self.program {
            JobProgram::Script(entry) => {
                path = format!("{BOX}/{entry}");
                ("file", path.as_bytes())
            }
            JobProgram::Code(code) => ("code", code.as_bytes()),
            JobProgram::Module(name) => ("module", name.as_bytes()),
            JobProgram::Stdin => ("stdin", &b""[..]),
        };
        then(&ProgramFrame {
            mode,
            target,
            unbuffered: self.unbuffered,
            result,
            args: &self.args,
            environment: &self.env,
        })
    }
}

/// Whether a variable is one that Python, its C library or a numerical library reads as it starts, and never again: a
/// program that is to have another value needs a start of its own.
pub fn is_read_at_start(name: &str) -> bool {
    const NAMES: [&str; 4] = ["TZ", "HOME", "LANG", "LANGUAGE"];
    const FAMILIES: [&str; 9] =
        ["PYTHON", "LD_", "LC_", "OMP_", "OPENBLAS_", "MKL_", "NUMEXPR_", "NPY_", "MPL"];
    NAMES.contains(&name)
        || FAMILIES.iter().any(|family| name.starts_with(family))
        || name.ends_with("_NUM_THREADS")
}

impl JobLimits {
    /// The limits of a run in a sandbox that was made with those of `base`.
    pub(super) fn lay_over(&self, base: &Plan) -> Result<Limits, WarmError> {
        /// What a sandbox that is ready may have used already.
        const LEAST_MEMORY: Bytes = Bytes(32 << 20);
        let refused = |problem: String| Err(WarmError::Job { problem });
        let made = &base.policy.limits;
        let mut limits = made.clone();
        lower("wall", &mut limits.wall, self.wall)?;
        lower("cpu_time", &mut limits.cpu_time, self.cpu_time)?;
        lower("memory", &mut limits.memory, self.memory)?;
        lower("processes", &mut limits.processes, self.processes)?;
        if self.disk.is_none() && base.resizes_scratch() {
            limits.disk = limits.disk.min(limits.memory);
        }
        lower("disk", &mut limits.disk, self.disk)?;
        lower("output", &mut limits.output, self.output)?;
        if limits.memory != made.memory && limits.memory < LEAST_MEMORY {
            return refused(format!("`memory` = {} is less than {LEAST_MEMORY}", limits.memory));
        }
        if limits.disk != made.disk && (limits.disk.0 == 0 || !base.resizes_scratch()) {
            return refused("`disk` cannot be changed under this policy".into());
        }
        if limits.disk > limits.memory {
            return refused(format!("`disk` = {} is above `memory` = {}", limits.disk, limits.memory));
        }
        if limits.processes != made.processes {
            let counted = base.cgroups.controllers().pids;
            let threads = |processes: u32| base.cores.min(usize::try_from(processes).unwrap_or(usize::MAX));
            let told = base.policy.environment.threads.is_some()
                || threads(limits.processes) == threads(made.processes);
            if !counted || !told || limits.processes < 2 {
                return refused("`processes` cannot be lowered as far as that, or not at all here".into());
            }
        }
        Ok(limits)
    }
}

fn lower<T: Copy + PartialOrd + std::fmt::Display>(
    name: &str,
    limit: &mut T,
    wanted: Option<T>,
) -> Result<(), WarmError> {
    let Some(wanted) = wanted else { return Ok(()) };
    if wanted > *limit {
        let problem = format!("`{name}` = {wanted} is above the policy's {limit}");
        return Err(WarmError::Job { problem });
    }
    *limit = wanted;
    Ok(())
}
