//! A group's files that stay open: opening one takes longer than reading it, and a group that is used again is read again.

use super::dir::{Counters, Place};
use crate::limits::CgroupError;
use rustix::fs::OFlags;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files by name and by what they were opened for; none if the kernel has no such file.
type Files = Vec<(&'static str, OFlags, Option<OwnedFd>)>;

/// The files of one group that have been used.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Files>);

impl Kept {
    /// As [`Place::read`].
    pub(super) fn read(&self, place: Place<'_>, file: &'static str) -> Result<Counters, CgroupError> {
        let missing =
            || CgroupError::Open { path: place.path().join(file), source: ErrorKind::NotFound.into() };
        self.read_if_there(place, file)?.ok_or_else(missing)
    }

    /// As [`Place::read_if_there`].
    pub(super) fn read_if_there(
        &self,
        place: Place<'_>,
        file: &'static str,
    ) -> Result<Option<Counters>, CgroupError> {
        let mut files = self.files();
        let Some(fd) = open(&mut files, place, file, OFlags::RDONLY)? else { return Ok(None) };
        Counters::read(fd, || place.path().join(file)).map(Some)
    }

    /// A file that holds one number.
    pub(super) fn number(&self, place: Place<'_>, file: &'static str) -> Result<u64, CgroupError> {
        self.read(place, file)?.number().ok_or_else(|| place.malformed(file, "number"))
    }

    /// As [`Place::write`].
    pub(super) fn write(&self, place: Place<'_>, file: &'static str, value: &str) -> Result<(), CgroupError> {
        let mut files = self.files();
        let path = || place.path().join(file);
        let missing = || CgroupError::Open { path: path(), source: ErrorKind::NotFound.into() };
        let fd = open(&mut files, place, file, OFlags::WRONLY)?.ok_or_else(missing)?;
        match rustix::io::pwrite(fd, value.as_bytes(), 0) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(CgroupError::Write { value: value.to_owned(), path: path(), source: error.into() })
            }
        }
    }

    /// Opens what will be read. What cannot be opened is for the one who reads it to tell.
    pub(super) fn open_ahead(&self, place: Place<'_>, names: &[&'static str]) {
        let mut files = self.files();
        for file in names {
            let _ = open(&mut files, place, file, OFlags::RDONLY);
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open<'a>(
    files: &'a mut Files,
    place: Place<'_>,
    file: &'static str,
    flags: OFlags,
) -> Result<Option<&'a OwnedFd>, CgroupError> {
    let known = files.iter().position(|(name, for_what, _)| *name == file && *for_what == flags);
    let index = match known {
        Some(index) => index,
        None => {
            let opened = match place.open_file(file, flags) {
                Err(CgroupError::Open { source, .. }) if source.kind() == ErrorKind::NotFound => None,
                opened => Some(opened?),
            };
            files.push((file, flags, opened));
            files.len() - 1
        }
    };
    Ok(files.get(index).and_then(|(.., fd)| fd.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::cgroup::dir::Dir;
    use std::fs;

    #[test]
    fn a_file_is_opened_once_and_read_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        let place = dir.group("");
        let file = scratch.path().join("pids.current");
        fs::write(&file, "17\n").unwrap();
        let kept = Kept::default();
        assert_eq!(kept.number(place, "pids.current").unwrap(), 17);
        fs::write(&file, "4\n").unwrap();
        assert_eq!(kept.number(place, "pids.current").unwrap(), 4);
        kept.write(place, "pids.current", "5\n").unwrap();
        assert_eq!(kept.number(place, "pids.current").unwrap(), 5);
        fs::remove_file(&file).unwrap();
        assert_eq!(kept.number(place, "pids.current").unwrap(), 5);
    }

    #[test]
    fn what_is_missing_is_missed() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        let kept = Kept::default();
        kept.open_ahead(dir.group("g"), &["pids.peak"]);
        assert!(kept.read_if_there(dir.group("g"), "pids.peak").unwrap().is_none());
        let error = kept.read(dir.group("g"), "pids.peak").err().unwrap().to_string();
        assert!(error.starts_with("cannot open ") && error.contains("/g/pids.peak: "), "{error}");
    }
}
