//! What a group may consume.

use crate::limits::CgroupError;

/// The length of time within which a quota of CPU time is used up.
pub(super) const PERIOD_US: u64 = 100_000;
/// The kernel refuses a smaller quota.
const MIN_QUOTA_US: f64 = 1000.0;

/// What happens when a group's memory runs out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oom {
    /// The kernel kills all of it (version 2). On version 1 it kills one process, and the rest is up to
    /// whoever waits for [`Cgroup::oom_watch`](super::Cgroup::oom_watch).
    #[default]
    End,
    /// The kernel kills one process.
    One,
}

/// Whether the limit on swap holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The kernel enforces it.
    Enforced,
    /// The kernel counts no swap by group, or memory is not limited at all.
    Unavailable,
}

/// What a group may consume; `None` is as much as the groups above it may.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CgroupLimits {
    /// Memory, page cache, tmpfs and kernel memory included.
    pub memory_bytes: Option<u64>,
    /// Swap beyond that; only with `memory_bytes`.
    pub swap_bytes: u64,
    /// Buffers of internet sockets, where version 1 counts them beside memory; version 2 counts them in it.
    pub sockets_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Cores at once. As many as we may run on, or more, set no limit.
    pub cpus: Option<f64>,
    /// What happens when memory runs out.
    pub oom: Oom,
}

impl CgroupLimits {
    /// The CPU time per period, if it is a limit at all.
    pub(super) fn quota_us(&self) -> Result<Option<u64>, CgroupError> {
        let Some(cpus) = self.cpus else { return Ok(None) };
        if !(cpus.is_finite() && cpus > 0.0) {
            let (value, must) = (cpus.to_string(), "a number above 0");
            return Err(CgroupError::BadLimit { what: "cores", value, must });
        }
        let cores = rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |set| set.count());
        if cpus >= f64::from(cores) {
            return Ok(None);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and below 2^32 cores"
        )]
        let quota = (cpus * PERIOD_US as f64).max(MIN_QUOTA_US).round() as u64;
        Ok(Some(quota))
    }
}
