//! Host ids for sandboxes of root: two each, leased across processes.
//!
//! A lease is a lock on a file whose name says which pair; the kernel drops it when its holder ends,
//! however that comes. Lock files are never removed: a process might hold a lock on a removed one.

use super::SandboxError;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdir, open, openat};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

const DIRECTORY: &str = "/run/wardian";
const LEASES: &str = "/run/wardian/ids";

/// Two host ids that nobody else has while this lives.
#[derive(Debug)]
pub(super) struct IdLease {
    _lock: OwnedFd,
    /// For set-up and init.
    pub(super) set_up: u32,
    /// For the guest.
    pub(super) guest: u32,
}

/// Leases a pair of the `count` ids from `first`.
pub(super) fn lease(first: u32, count: u32) -> Result<IdLease, SandboxError> {
    let directory =
        directory().map_err(SandboxError::at(format!("open {LEASES}, where leased ids are locked")))?;
    let pairs = (count / 2).max(1);
    // Processes start at different places, and each goes on where it was: seldom does one meet another.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(2_654_435_761) % pairs;
    for _ in 0..pairs {
        let pair = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % pairs;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let step = || format!("open the lock of id pair {pair} in {LEASES}");
        let set_up = first + pair * 2;
        let lock = openat(&directory, set_up.to_string(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| SandboxError::at(step())(error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(IdLease { _lock: lock, set_up, guest: set_up + 1 }),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(SandboxError::at(step())(error)),
        }
    }
    Err(SandboxError::NoIds { first, end: u64::from(first) + u64::from(count) })
}

fn directory() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match open(LEASES, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            for path in [DIRECTORY, LEASES] {
                match mkdir(path, Mode::RWXU) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            open(LEASES, flags, Mode::empty())
        }
        answer => answer,
    }
}
