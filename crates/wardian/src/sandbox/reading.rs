//! What a cgroup's counters say when everybody in it has ended.

use crate::limits::cgroup::{Cgroup, CpuUsage};

/// What could not be read is nothing, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    pub(super) cpu: Option<CpuUsage>,
    pub(super) processes_peak: Option<u64>,
    pub(super) memory_peak_bytes: Option<u64>,
    pub(super) oom_kills: u64,
    pub(super) process_limit_hits: u64,
}

impl Reading {
    pub(super) fn of(cgroup: &Cgroup) -> Reading {
        Reading {
            cpu: cgroup.cpu_usage().ok(),
            processes_peak: cgroup.processes_peak().ok().flatten(),
            memory_peak_bytes: cgroup.memory_peak_bytes().ok().flatten(),
            oom_kills: cgroup.oom_kills().unwrap_or(0),
            process_limit_hits: cgroup.process_limit_hits().unwrap_or(0),
        }
    }
}
