//! Why there is no pool, or no run.

use crate::plan::PlanError;
use crate::sandbox::SandboxError;
use std::path::PathBuf;

/// Why a pool does not start, or a job does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmError {
    /// The policy, the interpreter or the host does not allow it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A zygote or a sandbox could not be made or kept.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// As many jobs wait as may.
    #[error("{queue} jobs are waiting already, as many as may")]
    Busy {
        /// The most that may wait.
        queue: usize,
    },
    /// The pool takes no more jobs.
    #[error("the pool is draining and takes no more jobs")]
    Draining,
    /// The job was cancelled before it began.
    #[error("the job was cancelled before it began")]
    Cancelled,
    /// The pool cannot be what was asked for.
    #[error("cannot make a pool with {what}")]
    Options {
        /// What is wrong.
        what: String,
    },
    /// A file that cannot be loaded ahead.
    #[error("cannot preload `{}`: {problem}", path.display())]
    Preload {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The job asks for what the pool's sandboxes cannot be any more.
    #[error("cannot run the job warm: {problem}")]
    Job {
        /// What it asks for.
        problem: String,
    },
}

impl WarmError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            WarmError::Plan(error) => error.hint(),
            WarmError::Sandbox(error) => error.hint(),
            WarmError::Busy { .. } => Some("try again later, or give the pool a longer queue".into()),
            WarmError::Job { .. } => Some("run it cold, or in a pool of its own".into()),
            _ => None,
        }
    }
}
