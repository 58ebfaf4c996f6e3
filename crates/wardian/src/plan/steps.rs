//! Set-up steps in the making: encoded for init, and in words for people.

use super::PlanError;
use std::collections::BTreeSet;
use std::ffi::CString;
use wardian_init::{EncodedSteps, Step};

/// An ordered list of steps that only grows.
#[derive(Clone, Default)]
pub(crate) struct Steps {
    encoded: EncodedSteps,
    directories: BTreeSet<String>,
    /// Directories above others cannot be listed by the guest, only passed through.
    unlistable: bool,
}

/// A C string, or an error that names the text with the NUL.
pub(crate) fn c_string(text: impl Into<Vec<u8>>) -> Result<CString, PlanError> {
    CString::new(text)
        .map_err(|error| PlanError::Nul { text: String::from_utf8_lossy(&error.into_vec()).into_owned() })
}

impl Steps {
    pub(crate) fn push(&mut self, step: &Step<'_>) {
        self.encoded.push(step);
    }

    pub(crate) fn encoded(&self) -> &EncodedSteps {
        &self.encoded
    }

    /// The steps, as init's messages count them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Step<'_>> {
        self.encoded.iter()
    }

    /// From here on directories are made so that the guest can pass through them, but not list them.
    pub(crate) fn make_unlistable(&mut self) {
        self.unlistable = true;
    }

    fn usual_mode(&self) -> u32 {
        if self.unlistable { 0o711 } else { 0o755 }
    }

    /// A directory and all above it that are not there yet, of the usual mode.
    pub(crate) fn directories(&mut self, path: &str) -> Result<(), PlanError> {
        self.directories_with_mode(path, self.usual_mode())
    }

    /// As `directories`; the last one has its own mode.
    pub(crate) fn directories_with_mode(&mut self, path: &str, mode: u32) -> Result<(), PlanError> {
        let path = path.trim_end_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            let Some(directory) = path.get(..end).filter(|d| !d.is_empty()) else { continue };
            if self.directories.insert(directory.to_owned()) {
                let mode = if end == path.len() { mode } else { self.usual_mode() };
                self.push(&Step::Directory { path: &c_string(directory)?, mode });
            }
        }
        Ok(())
    }

    /// The directories above `path`.
    pub(crate) fn parents(&mut self, path: &str) -> Result<(), PlanError> {
        match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => self.directories(parent),
            _ => Ok(()),
        }
    }

    /// Whether `path` has been made, or is the inside of something that was mounted.
    pub(crate) fn has_directory(&self, path: &str) -> bool {
        self.directories.contains(path)
    }

    /// Notes a directory that a step has made by other means, so that it is not made again.
    pub(crate) fn note_directory(&mut self, path: &str) {
        self.directories.insert(path.to_owned());
    }

    /// Notes that something was mounted at `path`: what was made below it is hidden.
    pub(crate) fn hide_below(&mut self, path: &str) {
        let below = format!("{path}/");
        self.directories.retain(|directory| !directory.starts_with(&below));
    }

    /// A file and the directories above it.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), PlanError> {
        self.parents(path)?;
        self.push(&Step::File { path: &c_string(path)?, mode, content });
        Ok(())
    }

    /// A symbolic link and the directories above it.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> Result<(), PlanError> {
        self.parents(path)?;
        self.push(&Step::Symlink { path: &c_string(path)?, target: &c_string(target)? });
        Ok(())
    }
}
