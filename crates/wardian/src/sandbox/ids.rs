//! Host ids for sandboxes of root, leased across processes: one for set-up, and one for each guest.
//!
//! A lease is a lock on those bytes of an empty file that have the ids' numbers; the kernel drops it when its holder
//! ends, however that comes.

use super::SandboxError;
use rustix::fs::{Mode, OFlags, mkdir, open};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use wardian_sys::{Errno, file};

const DIRECTORY: &str = "/run/wardian";
const LEASES: &str = "/run/wardian/id-leases";

/// Host ids that nobody else has while this lives.
#[derive(Debug)]
pub(super) struct IdLease {
    _lock: OwnedFd,
    /// For set-up and init.
    pub(super) set_up: u32,
    /// The guest's, or the first of the guests'.
    pub(super) guest: u32,
}

/// Leases ids next to each other, for set-up and so many guests, of the `count` ids from `first`.
pub(super) fn lease(first: u32, count: u32, guests: u32) -> Result<IdLease, SandboxError> {
    let at = || format!("lock ids in {LEASES}");
    // Every lease has its own opening of the file: locks belong to openings.
    let leases = leases().map_err(SandboxError::at(at()))?;
    let size = 1 + guests;
    let places = count / size;
    // Processes start at different places, and each goes on where it was: seldom does one meet another.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start =
        std::process::id().wrapping_mul(2_654_435_761).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    for step in 0..places {
        let place = (start % places + step) % places;
        let set_up = first + place * size;
        match file::lock_bytes((&leases).into(), i64::from(set_up), i64::from(size)) {
            Ok(()) => return Ok(IdLease { _lock: leases, set_up, guest: set_up + 1 }),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(SandboxError::at(at())(error)),
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
    fn an_id_is_leased_once_at_a_time() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP an_id_is_leased_once_at_a_time: only root leases ids");
            return;
        }
        // Ids that no sandbox has.
        let (first, count) = (1_900_000_000, 8);
        let leases: Vec<_> = (0..4).map(|_| lease(first, count, 1).unwrap()).collect();
        let mut pairs: Vec<_> =
            leases.iter().map(|lease| (lease.set_up - first, lease.guest - first)).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, [(0, 1), (2, 3), (4, 5), (6, 7)]);
        assert!(matches!(lease(first, count, 1), Err(SandboxError::NoIds { .. })));
        drop(leases);
        let many = lease(first, count, 3).unwrap();
        assert_eq!(many.guest, many.set_up + 1);
        let held: Vec<_> = (0..2).map(|_| lease(first, count, 1).unwrap()).collect();
        let others: Vec<_> = held.iter().map(|lease| lease.set_up).collect();
        assert!(others.iter().all(|id| !(many.set_up..many.set_up + 4).contains(id)), "{others:?}");
        assert!(matches!(lease(first, count, 8), Err(SandboxError::NoIds { .. })));
    }
}
