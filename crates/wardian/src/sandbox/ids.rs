//! Host ids for sandboxes of root: two each, leased across processes.
//!
//! A lease is a lock on the byte of an empty file that has the number of the pair; the kernel drops it when its
//! holder ends, however that comes.

use super::SandboxError;
use rustix::fs::{Mode, OFlags, mkdir, open};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use wardian_sys::{Errno, file};

const DIRECTORY: &str = "/run/wardian";
const LEASES: &str = "/run/wardian/id-leases";

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
    let step = || format!("lock an id pair in {LEASES}");
    // Every lease has its own opening of the file: locks belong to openings.
    let leases = leases().map_err(SandboxError::at(step()))?;
    let pairs = (count / 2).max(1);
    // Processes start at different places, and each goes on where it was: seldom does one meet another.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(2_654_435_761) % pairs;
    for _ in 0..pairs {
        let pair = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % pairs;
        let set_up = first + pair * 2;
        match file::lock_byte((&leases).into(), i64::from(set_up)) {
            Ok(()) => return Ok(IdLease { _lock: leases, set_up, guest: set_up + 1 }),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(SandboxError::at(step())(error)),
        }
    }
    Err(SandboxError::NoIds { first, end: u64::from(first) + u64::from(count) })
}

fn leases() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = || open(LEASES, flags, Mode::RUSR | Mode::WUSR);
    match open() {
        Err(rustix::io::Errno::NOENT) => match mkdir(DIRECTORY, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_leased_once_at_a_time() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP a_pair_is_leased_once_at_a_time: only root leases ids");
            return;
        }
        // Ids that no sandbox has.
        let (first, count) = (1_900_000_000, 8);
        let leases: Vec<_> = (0..4).map(|_| lease(first, count).unwrap()).collect();
        let mut pairs: Vec<_> =
            leases.iter().map(|lease| (lease.set_up - first, lease.guest - first)).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [(0, 1), (2, 3), (4, 5), (6, 7)]);
        assert!(matches!(lease(first, count), Err(SandboxError::NoIds { .. })));
        drop(leases);
        assert!(lease(first, count).is_ok());
    }
}
