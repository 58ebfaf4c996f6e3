//! Why there is no plan.

use crate::policy::PolicyError;
use std::path::PathBuf;

/// Why there is no plan; nothing has been started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The policy contradicts itself.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// No interpreter fits.
    #[error(transparent)]
    Python(#[from] crate::python::FindError),
    /// A program for `--exec` cannot be executed, or not be looked into.
    #[error("cannot execute the program `{}`: {source}", path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program of `files.tools` cannot be given.
    #[error("policy: `files.tools`: `{}`: {source}", path.display())]
    Tool {
        /// The program.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A path, argument or variable with a NUL byte.
    #[error("`{text}` contains a NUL byte, which no argument, variable or path can hold")]
    Nul {
        /// The text.
        text: String,
    },
    /// A path that is not UTF-8 where the guest's layout needs text.
    #[error("`{}` is not UTF-8", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A mount's source is not there.
    #[error("mount source `{}` cannot be opened: {source}", path.display())]
    MountSource {
        /// The host path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A mount that would hide or break what the sandbox needs.
    #[error("cannot mount at `{path}`: {problem}")]
    MountTarget {
        /// The guest path.
        path: String,
        /// Why not.
        problem: &'static str,
    },
    /// Files to copy in, and a root that is made of mounts alone.
    #[error("the policy's `files.root = \"empty\"` has no place that files could be copied to")]
    NoPlaceForFiles,
    /// Something the host cannot enforce.
    #[error("this host cannot enforce `{what}`: {reason}")]
    Unenforceable {
        /// The policy's word.
        what: &'static str,
        /// Why.
        reason: String,
        /// What to do.
        fix: String,
    },
}

impl PlanError {
    /// Whether it is the request that is wrong, on any host.
    pub fn is_usage(&self) -> bool {
        match self {
            PlanError::Policy(error) => error.is_usage(),
            PlanError::Nul { .. }
            | PlanError::NotUtf8 { .. }
            | PlanError::MountTarget { .. }
            | PlanError::NoPlaceForFiles => true,
            PlanError::Python(_)
            | PlanError::Program { .. }
            | PlanError::Tool { .. }
            | PlanError::MountSource { .. }
            | PlanError::Unenforceable { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::Policy(error) => error.hint(),
            PlanError::Python(error) => error.hint(),
            PlanError::MountSource { .. } => {
                Some("the source must exist on the host and be readable by you".into())
            }
            PlanError::Tool { .. } => {
                Some("name programs of this machine by their absolute paths: `/usr/bin/git`".into())
            }
            PlanError::NoPlaceForFiles => Some(
                "show them by a mount, and run a program inside: `--exec /usr/bin/python3 /data/script.py`"
                    .into(),
            ),
            PlanError::Unenforceable { fix, .. } => Some(fix.clone()),
            _ => None,
        }
    }
}
