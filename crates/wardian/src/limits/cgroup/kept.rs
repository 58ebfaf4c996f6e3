//! A group's files that stay open: opening one takes longer than reading it, and a group that is used again is read again.

use super::dir::{Counters, Place};
use crate::limits::CgroupError;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// All of them together, in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many may be: descriptors are for those who cannot do without.
fn most_open() -> usize {
    /// Of those that the process may have, when it is first asked.
    const SHARE: u64 = 8;
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        usize::try_from(limit / SHARE).unwrap_or(usize::MAX)
    })
}

/// Room for some that stay open.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    pub(super) fn take(count: usize) -> Option<Room> {
        // Given back at once if it is too much.
        let room = Room(count);
        (OPEN.fetch_add(count, Ordering::Relaxed) + count <= most_open()).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        OPEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Files by name and by what they were opened for; none if the kernel has no such file.
type Files = Vec<(&'static str, OFlags, Option<(OwnedFd, Room)>)>;

/// The files of one group that have been used.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Files>);

impl Kept {
    /// As [`Place::read`].
    pub(super) fn read(&self, place: Place<'_>, file: &'static str) -> Result<Counters, CgroupError> {
        self.read_if_there(place, file)?.ok_or_else(|| missing(place, file))
    }

    /// As [`Place::read_if_there`].
    pub(super) fn read_if_there(
        &self,
        place: Place<'_>,
        file: &'static str,
    ) -> Result<Option<Counters>, CgroupError> {
        let read = |fd: &OwnedFd| Counters::read(fd, || place.path().join(file));
        self.with(place, file, OFlags::RDONLY, read)?.transpose()
    }

    /// A file that holds one number.
    pub(super) fn number(&self, place: Place<'_>, file: &'static str) -> Result<u64, CgroupError> {
        self.read(place, file)?.number().ok_or_else(|| place.malformed(file, "number"))
    }

    /// As [`Place::write`].
    pub(super) fn write(&self, place: Place<'_>, file: &'static str, value: &str) -> Result<(), CgroupError> {
        let written =
            self.with(place, file, OFlags::WRONLY, |fd| rustix::io::pwrite(fd, value.as_bytes(), 0));
        match written? {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(CgroupError::Write {
                value: value.to_owned(),
                path: place.path().join(file),
                source: error.into(),
            }),
            None => Err(missing(place, file)),
        }
    }

    /// Opens what will be read. What cannot be opened is for the one who reads it to tell.
    pub(super) fn open_ahead(&self, place: Place<'_>, names: &[&'static str]) {
        for file in names {
            let _ = self.with(place, file, OFlags::RDONLY, |_| ());
        }
    }

    /// Does something with a file, which stays open if there is room; none where the kernel has no such file.
    fn with<T>(
        &self,
        place: Place<'_>,
        file: &'static str,
        flags: OFlags,
        act: impl FnOnce(&OwnedFd) -> T,
    ) -> Result<Option<T>, CgroupError> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = files.iter().find(|(name, for_what, _)| *name == file && *for_what == flags);
        if let Some((.., fd)) = known {
            return Ok(fd.as_ref().map(|(fd, _)| act(fd)));
        }
        let opened = match place.open_file(file, flags) {
            Err(CgroupError::Open { source, .. }) if source.kind() == ErrorKind::NotFound => {
                files.push((file, flags, None));
                return Ok(None);
            }
            opened => opened?,
        };
        let answer = act(&opened);
        if let Some(room) = Room::take(1) {
            files.push((file, flags, Some((opened, room))));
        }
        Ok(Some(answer))
    }
}

fn missing(place: Place<'_>, file: &str) -> CgroupError {
    CgroupError::Open { path: place.path().join(file), source: Errno::NOENT.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::cgroup::dir::Dir;
    use std::fs;

    /// One takes all the room.
    static ROOM: Mutex<()> = Mutex::new(());

    #[test]
    fn where_descriptors_are_scarce_nothing_stays_open() {
        let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = tempfile::tempdir().unwrap();
        let dir = Dir::open(scratch.path()).unwrap();
        let file = scratch.path().join("pids.current");
        fs::write(&file, "17\n").unwrap();
        let all: Vec<Room> = std::iter::from_fn(|| Room::take(1)).collect();
        assert!(all.len() <= most_open());
        let kept = Kept::default();
        assert_eq!(kept.number(dir.group(""), "pids.current").unwrap(), 17);
        fs::remove_file(&file).unwrap();
        assert!(kept.number(dir.group(""), "pids.current").is_err());
        drop(all);
        assert!(Room::take(1).is_some());
    }

    #[test]
    fn a_file_is_opened_once_and_read_anew() {
        let _alone = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
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
