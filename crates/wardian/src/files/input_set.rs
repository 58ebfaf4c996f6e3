//! The files of one run together.

use super::input::Input;
use std::collections::BTreeSet;
use thiserror::Error;

/// Files whose names can all be at once.
#[derive(Clone, Debug, Default)]
pub struct InputSet(Vec<Input>);

/// Why files cannot be given together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InputSetError {
    /// Two have one name.
    #[error("two files are called `{}` inside", .0.escape_debug())]
    Duplicate(String),
    /// One is called as a directory of another.
    #[error("`{}` is a file inside, and cannot be the directory of `{}`", file.escape_debug(), below.escape_debug())]
    FileAsDirectory {
        /// The file.
        file: String,
        /// What would lie below it.
        below: String,
    },
    /// Too many bytes in all.
    #[error("the files have {bytes} bytes in all, more than the {max} allowed")]
    TooLarge {
        /// Their sizes together.
        bytes: u64,
        /// The most allowed.
        max: u64,
    },
}

impl InputSet {
    /// Takes the files if their names agree and they have at most `max_total` bytes together.
    ///
    /// # Errors
    /// Names the first two files that do not agree, or both numbers.
    pub fn new(inputs: Vec<Input>, max_total: u64) -> Result<InputSet, InputSetError> {
        let mut names = BTreeSet::new();
        for input in &inputs {
            if !names.insert(input.name()) {
                return Err(InputSetError::Duplicate(input.name().to_owned()));
            }
        }
        for below in &names {
            let parents = below.match_indices('/').filter_map(|(at, _)| below.get(..at));
            if let Some(file) = parents.into_iter().find(|parent| names.contains(parent)) {
                return Err(InputSetError::FileAsDirectory { file: file.into(), below: (*below).into() });
            }
        }
        let bytes = inputs.iter().fold(0u64, |sum, input| sum.saturating_add(input.bytes()));
        if bytes > max_total {
            return Err(InputSetError::TooLarge { bytes, max: max_total });
        }
        Ok(InputSet(inputs))
    }

    /// The files, in the order given.
    pub fn as_slice(&self) -> &[Input] {
        &self.0
    }

    /// The files, in the order given.
    pub fn into_vec(self) -> Vec<Input> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str], max: u64) -> Result<InputSet, InputSetError> {
        let input = |name: &&str| Input::from_bytes(name.parse().unwrap(), b"1234").unwrap();
        InputSet::new(names.iter().map(input).collect(), max)
    }

    #[test]
    fn takes_files_that_agree() {
        let set = set(&["b", "a/b", "a/c", "a.b"], 16).unwrap();
        let names: Vec<_> = set.as_slice().iter().map(Input::name).collect();
        assert_eq!(names, ["b", "a/b", "a/c", "a.b"]);
        assert_eq!(set.into_vec().len(), 4);
    }

    #[test]
    fn names_those_that_do_not() {
        assert_eq!(set(&["a", "b", "a"], 99).unwrap_err(), InputSetError::Duplicate("a".into()));
        let expected = InputSetError::FileAsDirectory { file: "a/b".into(), below: "a/b/c/d".into() };
        assert_eq!(set(&["a/b/c/d", "a/b"], 99).unwrap_err(), expected);
        assert_eq!(set(&["a", "b"], 7).unwrap_err(), InputSetError::TooLarge { bytes: 8, max: 7 });
    }
}
