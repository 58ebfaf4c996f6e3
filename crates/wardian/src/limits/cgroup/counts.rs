//! What a group counted, once everybody in it has ended.

use super::{Cgroup, CpuUsage};

/// All that a report tells of a group. What could not be read is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// CPU time.
    pub cpu: Option<CpuUsage>,
    /// Most processes and threads at once.
    pub processes_peak: Option<u64>,
    /// Most memory ever in use.
    pub memory_peak_bytes: Option<u64>,
    /// Processes that were killed because memory ran out.
    pub oom_kills: Option<u64>,
    /// How often a process or thread was refused because there were too many.
    pub process_limit_hits: Option<u64>,
}

impl Counts {
    /// Reads all of it.
    pub fn of(cgroup: &Cgroup) -> Counts {
        Counts {
            cpu: cgroup.cpu_usage().ok(),
            processes_peak: cgroup.processes_peak().ok().flatten(),
            memory_peak_bytes: cgroup.memory_peak_bytes().ok().flatten(),
            oom_kills: cgroup.oom_kills().ok(),
            process_limit_hits: cgroup.process_limit_hits().ok(),
        }
    }
}
