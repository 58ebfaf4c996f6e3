//! What both versions of a group can do.

use super::dir::Place;
use super::oom::OomWatch;
use super::{CHARGED_BYTES, CgroupLimits, Counts, CpuThrottled, CpuUsage, LEFT_BYTES, Swap};
use crate::limits::CgroupError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fmt::Debug;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a group is asked to go away. The kernel takes a task out of its group somewhat after it has told
/// the parent of its end.
const PATIENCE: Duration = Duration::from_millis(500);

/// One group, whichever version; the methods are those of [`Cgroup`](super::Cgroup).
pub(super) trait Group: Debug + Send + Sync {
    fn name(&self) -> &str;
    fn path(&self) -> PathBuf;
    fn swap(&self) -> Swap;
    /// `quota_us` is what `limits` says about cores.
    fn limit(&mut self, limits: &CgroupLimits, quota_us: Option<u64>) -> Result<(), CgroupError>;
    fn join_files(&self) -> &[OwnedFd];
    fn guest_has_joined(&mut self);
    fn clone_into(&self) -> Option<BorrowedFd<'_>>;
    fn procs_file(&self) -> Result<Option<OwnedFd>, CgroupError>;
    fn cpu_total_us(&self) -> Result<u64, CgroupError>;
    fn cpu_usage(&self) -> Result<CpuUsage, CgroupError>;
    fn cpu_throttled(&self) -> Result<Option<CpuThrottled>, CgroupError>;
    fn memory_current_bytes(&self) -> Result<u64, CgroupError>;
    fn memory_left_bytes(&self) -> Result<u64, CgroupError>;
    fn memory_peak_bytes(&self) -> Result<Option<u64>, CgroupError>;
    fn oom_kills(&self) -> Result<u64, CgroupError>;
    fn oom_watch(&self) -> Result<OomWatch, CgroupError>;
    fn processes_peak(&self) -> Result<Option<u64>, CgroupError>;
    fn process_limit_hits(&self) -> Result<u64, CgroupError>;
    fn is_populated(&self) -> Result<bool, CgroupError>;
    fn kill(&self) -> Result<(), CgroupError>;
    /// Makes it what a new one would be; false where that cannot be.
    fn renew(&mut self, counts: &Counts) -> Result<bool, CgroupError>;
    fn rmdir(&mut self) -> Result<(), CgroupError>;
}

/// Opens a group's directory and locks it: a group is its owner's as long as the descriptor is open.
pub(super) fn lock(place: Place<'_>) -> Result<OwnedFd, CgroupError> {
    let fd = place.open()?;
    flock(&fd, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| CgroupError::Lock { path: place.path(), source: error.into() })?;
    Ok(fd)
}

/// Whether a group shows nothing of what was in it, and its counters can be those of another run.
pub(super) fn is_spotless(group: &dyn Group, counts: &Counts) -> Result<bool, CgroupError> {
    Ok(counts.processes_peak.is_none_or(|peak| peak <= 1)
        && counts.process_limit_hits == Some(0)
        && counts.oom_kills == Some(0)
        && !group.is_populated()?
        && group.cpu_throttled()?.is_none_or(|throttled| throttled.periods == 0)
        && group.memory_current_bytes()? <= CHARGED_BYTES
        && group.memory_left_bytes()? <= LEFT_BYTES)
}

/// Removes a directory; what lives there is killed at the first refusal. A directory that is gone is well.
pub(super) fn remove(mut rmdir: impl FnMut() -> Result<(), Errno>, kill: impl Fn()) -> Result<(), Errno> {
    let started = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        match rmdir() {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if started.elapsed() < PATIENCE => {
                // The end of the last process may be a moment away: asking is cheaper than killing.
                if pause > Duration::from_micros(100) {
                    kill();
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn removal_is_patient_but_not_forever() {
        let (tries, kills) = (Cell::new(0), Cell::new(0));
        let busy_twice = || {
            tries.set(tries.get() + 1);
            if tries.get() > 4 { Ok(()) } else { Err(Errno::BUSY) }
        };
        remove(busy_twice, || kills.set(kills.get() + 1)).unwrap();
        assert_eq!((tries.get(), kills.get()), (5, 2));

        let started = Instant::now();
        assert_eq!(remove(|| Err(Errno::BUSY), || ()), Err(Errno::BUSY));
        assert!(started.elapsed() >= PATIENCE && started.elapsed() < PATIENCE * 4);
        assert_eq!(remove(|| Err(Errno::NOENT), || ()), Ok(()));
        assert_eq!(remove(|| Err(Errno::ACCESS), || ()), Err(Errno::ACCESS));
    }
}
