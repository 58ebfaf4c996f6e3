//! What can be wrong with a policy.

use super::PRESETS;
use std::path::PathBuf;

/// What is wrong with a policy; the text names the key, the place and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Neither a preset nor a file.
    #[error("no policy is called `{name}`")]
    UnknownPreset {
        /// What was asked for.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read policy file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is longer than any policy.
    #[error("policy file `{}` has more than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{origin}: {}", source.to_string().trim_end())]
    Syntax {
        /// The file's name.
        origin: String,
        /// Key, line and column, and what was expected.
        source: Box<toml::de::Error>,
    },
    /// Each value is fine, but not together, or not within bounds.
    #[error("{origin}{}: `{key}`: {problem}", line.map_or_else(String::new, |line| format!(", line {line}")))]
    Invalid {
        /// The file's name, or where the value came from.
        origin: String,
        /// The line of the file, if it is a file's and the file says it.
        line: Option<usize>,
        /// The key, dotted.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl PolicyError {
    /// Whether it is the policy that is wrong, on any host.
    pub fn is_usage(&self) -> bool {
        !matches!(self, PolicyError::Read { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PolicyError::UnknownPreset { .. } => Some(format!(
                "the presets are {}; a file's name must contain `/` or end in `.toml`",
                PRESETS.map(|preset| preset.name).join(", ")
            )),
            PolicyError::Syntax { source, .. } if source.message().contains("unknown field `rw`") => {
                Some("here it is `writable = true`".into())
            }
            PolicyError::Syntax { .. } => {
                Some("`wardian policy show python` prints every key with its value".into())
            }
            _ => None,
        }
    }
}
