//! A descriptor that becomes ready when memory has run out.

use super::dir::Counters;
use crate::limits::CgroupError;
use rustix::event::epoll::EventFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Tells when a group's memory has run out; to be waited for with [`interest`](OomWatch::interest).
///
/// Version 1 tells *before* it kills: at the first news [`Cgroup::oom_kills`](super::Cgroup::oom_kills) may
/// still be 0. Version 2 tells up to 10 ms after it (the kernel's rate limit).
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    kind: Kind,
    path: PathBuf,
}

#[derive(Debug)]
enum Kind {
    /// An eventfd that `cgroup.event_control` knows.
    Eventfd,
    /// `memory.events`, whose `oom_kill` was this when last read.
    Events(u64),
}

impl OomWatch {
    pub(super) fn eventfd(fd: OwnedFd, path: PathBuf) -> OomWatch {
        OomWatch { fd, kind: Kind::Eventfd, path }
    }

    /// Reads once: a file of the kernel's that was never read counts as changed.
    pub(super) fn events(fd: OwnedFd, path: PathBuf) -> Result<OomWatch, CgroupError> {
        let mut watch = OomWatch { fd, kind: Kind::Events(0), path };
        watch.drain()?;
        Ok(watch)
    }

    /// What to wait for with epoll (level-triggered): `PRI` for a file of version 2, `IN` for version 1.
    pub fn interest(&self) -> EventFlags {
        match self.kind {
            Kind::Eventfd => EventFlags::IN,
            Kind::Events(_) => EventFlags::PRI,
        }
    }

    /// Takes the news, so that the descriptor is no longer ready: how often memory ran out (version 1) or how
    /// many processes were killed for it (version 2) since the last call. 0 where there was other news, such as
    /// memory that was reclaimed in time.
    pub fn drain(&mut self) -> Result<u64, CgroupError> {
        match &mut self.kind {
            Kind::Eventfd => {
                let mut count = [0; 8];
                match rustix::io::read(&self.fd, &mut count) {
                    Ok(_) => Ok(u64::from_ne_bytes(count)),
                    Err(rustix::io::Errno::AGAIN) => Ok(0),
                    Err(error) => Err(CgroupError::Read { path: self.path.clone(), source: error.into() }),
                }
            }
            Kind::Events(seen) => {
                let now =
                    Counters::read(&self.fd, || self.path.clone())?.field("oom_kill").ok_or_else(|| {
                        CgroupError::Malformed { path: self.path.clone(), what: "`oom_kill` line" }
                    })?;
                Ok(now.saturating_sub(std::mem::replace(seen, now)))
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
