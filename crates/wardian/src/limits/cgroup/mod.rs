//! Groups of processes that the kernel limits and counts: version 2 where it can be used, else version 1.
//!
//! [`CgroupHost`] is our own group, below which every sandbox gets a [`Cgroup`]. A group is named after its
//! owner, `wardian-<pid>-<start time>-<pid namespace>-<number>`, who holds a lock on its directory; [`gc()`] removes
//! those whose owner was killed.
//!
//! On version 2 a sandbox is born into its group ([`Cgroup::clone_into`]); on version 1 a process joins by
//! writing `0` to each of [`Cgroup::join_files`], which takes 40 µs where a pid, or `cgroup.procs`, would take
//! milliseconds (a grace period of the kernel's).

mod counts;
mod delegated;
mod dir;
mod gc;
mod group;
mod host;
mod kept;
mod limits;
mod locate;
mod oom;
mod owner;
mod v1;
mod v2;

pub use counts::Counts;
pub use gc::{GcReport, gc};
pub use host::{Cap, CgroupHost, Controllers, Version};
pub use limits::{CgroupLimits, Oom, Swap};
pub(crate) use locate::may_be_unified;
pub use oom::OomWatch;

use super::CgroupError;
use group::Group;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// CPU time of all processes that are or were in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In user mode.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// Both; exact, while its division may be an estimate.
    pub total_us: u64,
}

impl CpuUsage {
    /// What has been used since an earlier reading. The total is exact; each reading's division is an estimate of its own.
    #[must_use]
    pub fn since(self, before: CpuUsage) -> CpuUsage {
        let user = self.user_us.saturating_sub(before.user_us);
        let system = self.system_us.saturating_sub(before.system_us);
        CpuUsage::divided(self.total_us.saturating_sub(before.total_us), user, system)
    }

    /// A total, divided as these two are to each other.
    fn divided(total_us: u64, user: u64, system: u64) -> CpuUsage {
        let sum = u128::from(user) + u128::from(system);
        let share = (u128::from(total_us) * u128::from(user)).checked_div(sum);
        let user_us = share.map_or(total_us, |share| u64::try_from(share).unwrap_or(total_us));
        CpuUsage { user_us, system_us: total_us - user_us, total_us }
    }
}

/// The most that may be left in a group that is used again: what the kernel keeps for any process for a while (an empty
/// Python program leaves half of it), and what the next one would not notice.
pub const LEFT_BYTES: u64 = 128 << 10;

/// The most that may be charged to it, with what the kernel charges in advance, 256 KiB on each core where a group runs, and
/// gives back when memory is short (`MEMCG_CHARGE_BATCH`): how far a peak may be from the truth.
pub const CHARGED_BYTES: u64 = 1 << 20;

/// How much a quota of cores held a group up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuThrottled {
    /// Periods of 100 ms in which the quota was used up.
    pub periods: u64,
    /// Time that runnable threads waited, added up over cores.
    pub time_us: u64,
}

/// The group of one sandbox. It goes when this value does, and with it whatever still runs inside.
///
/// Every counter stays right after the last process has died.
#[derive(Debug)]
pub struct Cgroup {
    group: Box<dyn Group>,
    removed: bool,
    /// Whether its limits are no longer those that it was made with.
    altered: AtomicBool,
}

impl Cgroup {
    /// The name of its directory.
    pub fn name(&self) -> &str {
        self.group.name()
    }

    /// Its directory; on version 1 the one of the first hierarchy.
    pub fn path(&self) -> PathBuf {
        self.group.path()
    }

    /// Limits it anew. Fails when any limit that is asked for cannot be set.
    pub fn limit(&mut self, limits: &CgroupLimits) -> Result<(), CgroupError> {
        self.altered.store(true, Ordering::Relaxed);
        self.group.limit(limits, limits.quota_us()?)
    }

    /// Makes it what a new group would be, if it is empty and nothing that was in it can be told from its counters or
    /// would be taken for what the next is: no process but one at a time, none killed or refused, no memory left beyond
    /// [`LEFT_BYTES`] (the names of files that were looked for in vain stay charged), its limits never changed. Otherwise
    /// it goes. `counts` have been read since everybody ended.
    ///
    /// Saves most of the 400 µs that a new group and the kernel's removal of an old one take.
    pub fn renew(mut self, counts: &Counts) -> Option<Cgroup> {
        let is_as_made = !self.altered.load(Ordering::Relaxed);
        let renewed = is_as_made && matches!(self.group.renew(counts), Ok(true));
        renewed.then_some(self)
    }

    /// Whether the limit on swap holds.
    pub fn swap(&self) -> Swap {
        self.group.swap()
    }

    /// Version 1: files open for writing, to each of which a single-threaded process that is to join writes
    /// `0`. Empty on version 2.
    pub fn join_files(&self) -> &[OwnedFd] {
        self.group.join_files()
    }

    /// Nobody needs [`join_files`](Cgroup::join_files) any more, until it is [renewed](Cgroup::renew): they are closed if
    /// descriptors are scarce; and what is asked for at the end is opened ahead, which takes longer than to read it.
    pub fn guest_has_joined(&mut self) {
        self.group.guest_has_joined();
    }

    /// Version 2: the directory, for `CLONE_INTO_CGROUP`.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.group.clone_into()
    }

    /// Version 2: a file, open for writing, to which a process that is to move in writes `0`. None on version 1.
    pub fn procs_file(&self) -> Result<Option<OwnedFd>, CgroupError> {
        self.group.procs_file()
    }

    /// CPU time so far, in microseconds: one system call. A running thread may be a clock tick ahead of it.
    pub fn cpu_total_us(&self) -> Result<u64, CgroupError> {
        self.group.cpu_total_us()
    }

    /// CPU time so far, by mode.
    pub fn cpu_usage(&self) -> Result<CpuUsage, CgroupError> {
        self.group.cpu_usage()
    }

    /// What the limit on cores did; `None` where there is none.
    pub fn cpu_throttled(&self) -> Result<Option<CpuThrottled>, CgroupError> {
        self.group.cpu_throttled()
    }

    /// Memory in use now.
    pub fn memory_current_bytes(&self) -> Result<u64, CgroupError> {
        self.group.memory_current_bytes()
    }

    /// Memory in use, without what the kernel has charged in advance.
    pub fn memory_left_bytes(&self) -> Result<u64, CgroupError> {
        self.group.memory_left_bytes()
    }

    /// Most memory ever in use; `None` on version 2 before Linux 5.19.
    pub fn memory_peak_bytes(&self) -> Result<Option<u64>, CgroupError> {
        self.group.memory_peak_bytes()
    }

    /// Processes that were killed because memory ran out, here or in the whole machine.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        self.group.oom_kills()
    }

    /// A descriptor that becomes ready when memory runs out.
    pub fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        self.group.oom_watch()
    }

    /// Most processes and threads at once; `None` before Linux 6.1.
    pub fn processes_peak(&self) -> Result<Option<u64>, CgroupError> {
        self.group.processes_peak()
    }

    /// How often a process or thread was refused because there were too many.
    pub fn process_limit_hits(&self) -> Result<u64, CgroupError> {
        self.group.process_limit_hits()
    }

    /// Whether anything lives in it; on version 1 an ended process counts until its parent has waited for it.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        self.group.is_populated()
    }

    /// Kills every process in it, and lets none start a new one (version 1 forever, version 2 during the call).
    /// Returns before they have ended.
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.altered.store(true, Ordering::Relaxed);
        self.group.kill()
    }

    /// Removes it, and kills what is still inside. Waits for at most half a second; a group that does not go
    /// then is left to [`gc()`].
    pub fn remove(mut self) -> Result<(), CgroupError> {
        self.removed = true;
        self.group.rmdir()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.removed {
            // Nobody is left to tell: the next start's sweep finds what stays.
            let _ = self.group.rmdir();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_divided_as_the_ticks_say() {
        assert_eq!(CpuUsage::divided(1000, 3, 1), CpuUsage { user_us: 750, system_us: 250, total_us: 1000 });
        assert_eq!(CpuUsage::divided(1000, 0, 0), CpuUsage { user_us: 1000, system_us: 0, total_us: 1000 });
        assert_eq!(CpuUsage::divided(0, 5, 5), CpuUsage { user_us: 0, system_us: 0, total_us: 0 });
        let most = CpuUsage::divided(u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(most.user_us + most.system_us, u64::MAX);
    }

    #[test]
    fn a_difference_is_of_totals() {
        let usage = |user_us, system_us| CpuUsage { user_us, system_us, total_us: user_us + system_us };
        assert_eq!(usage(30, 30).since(usage(10, 20)), CpuUsage { user_us: 20, system_us: 10, total_us: 30 });
        // The estimate has changed its mind.
        assert_eq!(
            usage(0, 1100).since(usage(1000, 0)),
            CpuUsage { user_us: 0, system_us: 100, total_us: 100 }
        );
        assert_eq!(usage(5, 5).since(usage(5, 5)), usage(0, 0));
        assert_eq!(usage(0, 0).since(usage(5, 5)), usage(0, 0));
    }
}
