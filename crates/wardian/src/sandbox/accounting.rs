//! What the sandbox consumes: asked of its cgroup, or watched where there is none.

use super::outcome::Killed;
use crate::limits::cgroup::{Cgroup, Controllers, OomWatch, Version};
use crate::plan::Plan;
use crate::policy::{Limits, OnOom};
use crate::report::{Source, Usage};
use rustix::event::PollFlags;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// CPU time is looked at no more often than this.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// A sandbox's cgroup, and when to look at it again.
pub(super) struct Accounting {
    pub(super) cgroup: Option<Cgroup>,
    pub(super) controllers: Controllers,
    pub(super) version: Option<Version>,
    oom: Option<OomWatch>,
    next_look: Option<Instant>,
    cores: u64,
}

impl Accounting {
    pub(super) fn new(cgroup: Option<Cgroup>, plan: &Plan) -> Accounting {
        let wanted = plan.policy.limits.on_oom == OnOom::End;
        // Without the watch an out-of-memory kill is still seen when the program has ended.
        let oom = cgroup.as_ref().filter(|_| wanted).and_then(|cgroup| cgroup.oom_watch().ok());
        Accounting {
            cgroup,
            controllers: plan.cgroups.controllers(),
            version: plan.cgroups.version(),
            oom,
            next_look: None,
            cores: plan.cores.max(1) as u64,
        }
    }

    /// The descriptor that tells when memory has run out, and what to wait for.
    pub(super) fn oom_interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let flags = |watch: &OomWatch| {
            if watch.interest().contains(rustix::event::epoll::EventFlags::PRI) {
                PollFlags::PRI
            } else {
                PollFlags::IN
            }
        };
        self.oom.as_ref().map(|watch| (watch.as_fd(), flags(watch)))
    }

    /// Whether the news is that memory has run out.
    pub(super) fn oom_news(&mut self) -> bool {
        self.oom.as_mut().is_some_and(|watch| watch.drain().unwrap_or(1) > 0)
    }

    /// The program is running from now on.
    pub(super) fn start(&mut self, now: Instant, limits: &Limits) {
        self.next_look = Some(now + self.at_the_earliest(limits.cpu_time.as_micros()));
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next_look
    }

    /// Looks if it is time, and says whether a limit is reached.
    pub(super) fn look(&mut self, now: Instant, limits: &Limits) -> Option<Killed> {
        if self.next_look.is_none_or(|due| now < due) {
            return None;
        }
        let used = self.cgroup.as_ref()?.cpu_total_us().ok()?;
        let left = limits.cpu_time.as_micros().saturating_sub(used);
        if left == 0 {
            return Some(Killed::Cpu);
        }
        self.next_look = Some(now + self.at_the_earliest(left));
        None
    }

    /// How soon so much CPU time can be used up, all cores together.
    fn at_the_earliest(&self, left_us: u64) -> Duration {
        Duration::from_micros(left_us / self.cores).max(SHORTEST_LOOK)
    }

    /// Whether the kernel has killed for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        self.cgroup.as_ref().and_then(|cgroup| cgroup.oom_kills().ok()).unwrap_or(0)
    }

    /// How often a process or thread was refused.
    pub(super) fn process_limit_hits(&self) -> u64 {
        self.cgroup.as_ref().and_then(|cgroup| cgroup.process_limit_hits().ok()).unwrap_or(0)
    }

    /// The figures that the kernel counted; everything inside must have ended.
    pub(super) fn fill(&self, usage: &mut Usage, sources: &mut BTreeMap<String, Source>) {
        let Some(cgroup) = &self.cgroup else { return };
        let mut set = |name: &str, field: &mut Option<u64>, value: Option<u64>| {
            if value.is_some() {
                *field = value;
                sources.insert(name.to_owned(), Source::Kernel);
            }
        };
        let cpu = cgroup.cpu_usage().ok();
        set("cpu_user_us", &mut usage.cpu_user_us, cpu.map(|cpu| cpu.user_us));
        set("cpu_system_us", &mut usage.cpu_system_us, cpu.map(|cpu| cpu.system_us));
        set("memory_peak_bytes", &mut usage.memory_peak_bytes, cgroup.memory_peak_bytes().ok().flatten());
        set("processes_peak", &mut usage.processes_peak, cgroup.processes_peak().ok().flatten());
    }
}
