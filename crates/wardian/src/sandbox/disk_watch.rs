//! Level `landlock`: the private directory is part of the host's file system, so what it holds is looked at.

use super::private::measure;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(50);
/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// Looks at one private directory again and again.
#[derive(Debug)]
pub(super) struct DiskWatch {
    top: OwnedFd,
    bytes: u64,
    files: u64,
    due: Instant,
}

impl DiskWatch {
    pub(super) fn new(top: OwnedFd, bytes: u64, files: u64, now: Instant) -> DiskWatch {
        DiskWatch { top, bytes, files, due: now + SHORTEST }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Bytes and files now; none if there are more files than allowed, or some that cannot be seen.
    pub(super) fn measure(&self) -> Option<(u64, u64)> {
        measure(self.top.as_fd(), self.files)
    }

    /// Looks if it is time, and says whether a limit is passed.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        if now < self.due {
            return false;
        }
        let found = self.measure();
        let cost = now.elapsed();
        self.due = now + SHORTEST.max(cost * SHARE);
        found.is_none_or(|(bytes, _)| bytes > self.bytes)
    }
}
