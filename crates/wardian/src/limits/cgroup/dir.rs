//! A cgroup directory, held open, and the groups directly below it.

use crate::limits::CgroupError;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The most that is read of a file of counters; the longest, `memory.stat`, stays below.
const MAX_COUNTERS: usize = 4096;

/// An open cgroup directory; its path is for error texts only.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    pub(super) fn open(path: &Path) -> Result<Dir, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Dir { fd, path: path.to_owned() }),
            Err(error) => Err(CgroupError::Open { path: path.to_owned(), source: error.into() }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The group `name` below this one; an empty name is this group itself.
    pub(super) fn group<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place { above: self, name }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A group, named relative to the open directory above it: no path is walked from `/`.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    above: &'a Dir,
    name: &'a str,
}

impl Place<'_> {
    pub(super) fn path(self) -> PathBuf {
        if self.name.is_empty() { self.above.path.clone() } else { self.above.path.join(self.name) }
    }

    fn relative(self, file: &str) -> String {
        if self.name.is_empty() { file.to_owned() } else { [self.name, "/", file].concat() }
    }

    pub(super) fn make(self) -> Result<(), CgroupError> {
        mkdirat(&self.above.fd, self.name, Mode::from_raw_mode(0o755))
            .map_err(|error| CgroupError::Create { path: self.path(), source: error.into() })
    }

    /// Opens the group's directory for reading, which `flock` and `CLONE_INTO_CGROUP` need.
    pub(super) fn open(self) -> Result<OwnedFd, CgroupError> {
        let name = if self.name.is_empty() { "." } else { self.name };
        openat(&self.above.fd, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| CgroupError::Open { path: self.path(), source: error.into() })
    }

    pub(super) fn open_file(self, file: &str, flags: OFlags) -> Result<OwnedFd, CgroupError> {
        openat(&self.above.fd, self.relative(file), flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| CgroupError::Open { path: self.path().join(file), source: error.into() })
    }

    pub(super) fn write(self, file: &str, value: &str) -> Result<(), CgroupError> {
        let fd = self.open_file(file, OFlags::WRONLY)?;
        match rustix::io::write(&fd, value.as_bytes()) {
            Ok(_) => Ok(()),
            Err(error) => Err(CgroupError::Write {
                value: value.to_owned(),
                path: self.path().join(file),
                source: error.into(),
            }),
        }
    }

    /// Like [`write`](Place::write), but false where the kernel has no such file.
    pub(super) fn write_if_there(self, file: &str, value: &str) -> Result<bool, CgroupError> {
        match self.write(file, value) {
            Err(CgroupError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// A small file of counters.
    pub(super) fn read(self, file: &str) -> Result<Counters, CgroupError> {
        Counters::read(&self.open_file(file, OFlags::RDONLY)?, || self.path().join(file))
    }

    /// Like [`read`](Place::read), but `None` where the kernel has no such file.
    pub(super) fn read_if_there(self, file: &str) -> Result<Option<Counters>, CgroupError> {
        match self.read(file) {
            Err(CgroupError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub(super) fn malformed(self, file: &str, what: &'static str) -> CgroupError {
        CgroupError::Malformed { path: self.path().join(file), what }
    }

    pub(super) fn rmdir(self) -> Result<(), Errno> {
        unlinkat(&self.above.fd, self.name, AtFlags::REMOVEDIR)
    }
}

/// The text of a small cgroup file: one number, or lines of a word and a number.
pub(super) struct Counters {
    bytes: [u8; MAX_COUNTERS],
    len: usize,
}

impl Counters {
    /// Reads from the start of an open file, which the kernel then writes anew.
    pub(super) fn read(fd: &OwnedFd, path: impl FnOnce() -> PathBuf) -> Result<Counters, CgroupError> {
        let mut bytes = [0; MAX_COUNTERS];
        match rustix::io::pread(fd, &mut bytes[..], 0) {
            Ok(len) if len < MAX_COUNTERS => Ok(Counters { bytes, len }),
            // What is cut off could be what is asked for.
            Ok(_) => Err(CgroupError::Read { path: path(), source: std::io::ErrorKind::FileTooLarge.into() }),
            Err(error) => Err(CgroupError::Read { path: path(), source: error.into() }),
        }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.text().trim().parse().ok()
    }

    /// The number on the line that starts with the word `name`.
    pub(super) fn field(&self, name: &str) -> Option<u64> {
        self.text().lines().find_map(|line| {
            let (word, value) = line.split_once(' ')?;
            if word == name { value.trim().parse().ok() } else { None }
        })
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Counters {
        let mut bytes = [0; MAX_COUNTERS];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Counters { bytes, len: text.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_whole_words() {
        let counters = Counters::of("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        assert_eq!(counters.field("oom_kill"), Some(3));
        assert_eq!(counters.field("oom"), None);
        assert_eq!(Counters::of("17\n").number(), Some(17));
        assert_eq!(Counters::of("max\n").number(), None);
        assert_eq!(Counters::of("").number(), None);
    }

    #[test]
    fn errors_name_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        let error = dir.group("g").write("memory.max", "4096").unwrap_err().to_string();
        assert!(
            error.starts_with("cannot open ") && error.contains("/g/memory.max: No such file"),
            "{error}"
        );
        assert!(!dir.group("g").write_if_there("memory.max", "4096").unwrap());
        assert!(dir.group("g").read_if_there("pids.peak").unwrap().is_none());
    }
}
