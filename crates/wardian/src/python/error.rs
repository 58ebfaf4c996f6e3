//! Why no interpreter was found.

use std::fmt::Write;
use std::path::PathBuf;

/// A place that was looked at, and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The place.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

/// Why no interpreter was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// None of the places had one that fits.
    #[error("no Python found for {request}{}", list(.rejected))]
    None {
        /// What was asked for.
        request: String,
        /// Where it was looked for.
        rejected: Vec<Rejected>,
    },
    /// What was named is no virtual environment.
    #[error("`{}` is not a virtual environment: {why}", path.display())]
    NotAVenv {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// Not a version.
    #[error("`{0}` is neither a version such as 3.12 nor a path with a `/`")]
    NotAVersion(String),
}

fn list(rejected: &[Rejected]) -> String {
    let mut text = if rejected.is_empty() { "; there is no PATH".to_owned() } else { String::new() };
    for Rejected { path, why } in rejected {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}: {why}", path.display());
    }
    text
}

impl FindError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(
            match self {
                FindError::None { .. } => "install python3, or name one with `--python PATH` or `--venv DIR`",
                FindError::NotAVenv { .. } => "`python3 -m venv DIR` makes one",
                FindError::NotAVersion(_) => "for example `--python 3.12` or `--python /usr/bin/python3`",
            }
            .into(),
        )
    }
}
