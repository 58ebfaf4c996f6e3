//! What the sandbox consumes: asked of its cgroup, or watched where there is none.

use super::SandboxError;
use super::begun;
use super::disk_watch::DiskWatch;
use super::outcome::Killed;
use crate::limits::cgroup::{CHARGED_BYTES, Cgroup, Controllers, Counts, CpuUsage, OomWatch, Version};
use crate::limits::watched::{Memory, WatchLimits, WatchSample, Watcher, tmpfs_bytes};
use crate::plan::Plan;
use crate::policy::OnOom;
use crate::report::{Source, Usage};
use rustix::event::PollFlags;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Watched processes multiply quickly.
const LONGEST_BETWEEN_FORKS: Duration = Duration::from_millis(10);
/// CPU time is looked at no more often than this.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// A sandbox's cgroup, or what watches it instead, and when to look again.
pub(super) struct Accounting {
    pub(super) cgroup: Option<Cgroup>,
    pub(super) controllers: Controllers,
    /// Level `landlock`: what its private directory holds is looked at.
    disk: Option<DiskWatch>,
    /// The most processes and threads, init included, where they are only watched.
    most_tasks: Option<u64>,
    pub(super) version: Option<Version>,
    /// Processes of ours that are born into the group.
    inits: u64,
    /// What was used before the program began.
    before: CpuUsage,
    /// Its group may have been another's, of which less than that may still be charged: nobody is told by the figure.
    memory_step: u64,
    limits: WatchLimits,
    /// Whether its network namespace is its own.
    has_network: bool,
    /// Bytes and files.
    disk_limits: Option<(u64, u64)>,
    watcher: Option<Watcher>,
    /// The guest, where it is not below init.
    beside: Option<u32>,
    oom: Option<OomWatch>,
    next_look: Option<Instant>,
    /// What the group counted, if it has gone before init.
    last: Option<Counts>,
    /// How often a process was refused before everything was killed: on version 1 killing refuses too.
    hits_before_kill: Option<u64>,
}

impl Accounting {
    pub(super) fn new(cgroup: Option<Cgroup>, plan: &Plan) -> Accounting {
        let limits = &plan.policy.limits;
        let wanted = limits.on_oom == OnOom::End;
        // Without the watch an out-of-memory kill is still seen when the program has ended.
        let oom = cgroup.as_ref().filter(|_| wanted).and_then(|cgroup| cgroup.oom_watch().ok());
        let controllers = if cgroup.is_some() { plan.cgroups.controllers() } else { Controllers::default() };
        // As root the guest has an id of its own, whose processes the kernel counts.
        let watches_tasks = plan.in_place.is_some() && !plan.root.own_ids && !controllers.pids;
        Accounting {
            disk: None,
            most_tasks: watches_tasks.then(|| u64::from(limits.processes) + 1),
            disk_limits: plan
                .in_place
                .as_ref()
                .filter(|in_place| in_place.writable)
                .map(|_| (limits.disk.0, limits.inodes)),
            controllers,
            version: plan.cgroups.version().filter(|_| cgroup.is_some()),
            // Version 2: init was born into the group.
            inits: u64::from(plan.cgroups.version() == Some(Version::V2)),
            before: CpuUsage::default(),
            memory_step: 1,
            cgroup,
            limits: WatchLimits {
                memory_bytes: limits.memory.0,
                cpu_us: limits.cpu_time.as_micros(),
                cores: u32::try_from(plan.cores.max(1)).unwrap_or(u32::MAX),
                open_files: limits.open_files,
            },
            has_network: plan.in_place.is_none(),
            watcher: None,
            beside: None,
            oom,
            next_look: None,
            last: None,
            hits_before_kill: None,
        }
    }

    /// For a slot that waits for its program: its init is not in its group, and making it is nobody's use.
    pub(super) fn of_slot(cgroup: Option<Cgroup>, plan: &Plan) -> Accounting {
        let before = cgroup.as_ref().and_then(|cgroup| cgroup.cpu_usage().ok()).unwrap_or_default();
        Accounting { inits: 0, before, memory_step: CHARGED_BYTES, ..Accounting::new(cgroup, plan) }
    }

    /// The guest of a slot is its zygote's child; what it loses becomes its init's.
    pub(super) fn guest_is(&mut self, pid: i32) {
        self.beside = u32::try_from(pid).ok();
    }

    /// Whether the number of processes is only watched.
    pub(super) fn watches_tasks(&self) -> bool {
        self.most_tasks.is_some()
    }

    /// A job may have less than its policy gives.
    pub(super) fn lower_limits(&mut self, plan: &Plan, processes: u32) -> Result<(), SandboxError> {
        let (before, limits) = (self.limits, &plan.policy.limits);
        self.limits.cpu_us = limits.cpu_time.as_micros();
        self.limits.memory_bytes = limits.memory.0;
        let same = before.memory_bytes == limits.memory.0 && processes == limits.processes;
        match &mut self.cgroup {
            Some(cgroup) if !same => Ok(cgroup.limit(&begun::limits(&plan.policy))?),
            _ => Ok(()),
        }
    }

    /// How far memory can be beyond its limit before that is noticed.
    pub(super) fn overshoot_bytes(&self) -> u64 {
        self.limits.overshoot_bytes()
    }

    /// Whether init is in the guest's own group.
    pub(super) fn holds_init(&self) -> bool {
        self.inits > 0
    }

    /// The descriptor that tells when memory has run out, and what to wait for.
    pub(super) fn oom_interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let flags = |watch: &OomWatch| {
            let priority = rustix::event::epoll::EventFlags::PRI;
            if watch.interest().contains(priority) { PollFlags::PRI } else { PollFlags::IN }
        };
        self.oom.as_ref().map(|watch| (watch.as_fd(), flags(watch)))
    }

    /// Whether the news is that memory has run out.
    pub(super) fn oom_news(&mut self) -> bool {
        self.oom.as_mut().is_some_and(|watch| watch.drain().unwrap_or(1) > 0)
    }

    /// The program is running from now on, below init; it writes to these file systems in memory.
    pub(super) fn start(
        &mut self,
        now: Instant,
        init: i32,
        tmpfs: &[&OwnedFd],
        private: Option<OwnedFd>,
    ) -> Result<(), SandboxError> {
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.guest_has_joined();
        }
        let in_place = private.is_some();
        self.disk =
            private.zip(self.disk_limits).map(|(top, (bytes, files))| DiskWatch::new(top, bytes, files, now));
        if !self.controllers.memory || !self.controllers.cpu_usage || self.most_tasks.is_some() {
            // A private directory of the host's own is no memory.
            let tmpfs = tmpfs.iter().filter(|_| !in_place).map(|fd| fd.try_clone());
            let tmpfs: Vec<_> =
                tmpfs.collect::<Result<_, _>>().map_err(SandboxError::at("watch its file systems"))?;
            let disk = move || tmpfs.iter().filter_map(|fd| tmpfs_bytes(fd).ok()).sum();
            let init = u32::try_from(init).unwrap_or(0);
            let watcher = Watcher::new(init, self.limits, disk);
            let failed = |error: crate::limits::watched::WatchError| std::io::Error::other(error);
            let mut watcher = watcher.map_err(failed).map_err(SandboxError::at("watch the sandbox"))?;
            if self.has_network {
                watcher.has_network_of_its_own();
            }
            if let Some(guest) = self.beside {
                // It may have ended already.
                let _ = watcher.beside(guest);
            }
            self.watcher = Some(watcher);
            self.next_look = Some(now);
        } else if self.cgroup.is_some() {
            self.next_look = Some(now + self.at_the_earliest(self.limits.cpu_us));
        }
        Ok(())
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next_look.into_iter().chain(self.disk.as_ref().map(DiskWatch::due)).min()
    }

    /// Looks if it is time, and says whether a limit is reached; `until` something else ends the run.
    pub(super) fn look(&mut self, now: Instant, until: Instant) -> Option<Killed> {
        if self.disk.as_mut().is_some_and(|disk| disk.is_full(now)) {
            return Some(Killed::Disk);
        }
        if self.next_look.is_none_or(|due| now < due) {
            return None;
        }
        match &mut self.watcher {
            Some(watcher) => {
                let Some(sample) = watcher.sample(until) else {
                    // Everybody has ended, and that is seen elsewhere.
                    self.next_look = None;
                    return None;
                };
                let longest = self.most_tasks.map_or(Duration::MAX, |_| LONGEST_BETWEEN_FORKS);
                self.next_look = Some(Instant::now() + watcher.next_look(&sample, longest));
                self.judge(sample)
            }
            None => self.look_at_cgroup(now),
        }
    }

    fn judge(&self, sample: WatchSample) -> Option<Killed> {
        let memory = sample.memory == Memory::Exceeded && !self.controllers.memory;
        if memory || !sample.complete {
            return Some(Killed::MemoryWatch);
        }
        if self.most_tasks.is_some_and(|most| sample.tasks > most) {
            return Some(Killed::Processes);
        }
        (sample.cpu_us >= self.limits.cpu_us).then_some(Killed::Cpu)
    }

    fn look_at_cgroup(&mut self, now: Instant) -> Option<Killed> {
        self.next_look = Some(now + SHORTEST_LOOK);
        let used = self.cgroup.as_ref()?.cpu_total_us().ok()?;
        let left = (self.limits.cpu_us + self.before.total_us).saturating_sub(used);
        if left == 0 {
            return Some(Killed::Cpu);
        }
        self.next_look = Some(now + self.at_the_earliest(left));
        None
    }

    /// How soon so much CPU time can be used up, all cores together.
    fn at_the_earliest(&self, left_us: u64) -> Duration {
        Duration::from_micros(left_us / u64::from(self.limits.cores)).max(SHORTEST_LOOK)
    }

    /// The guest has ended. If nobody else is left in its group, what that counted stays as it is, and is read while init
    /// ends; and unless it is used again it goes. (On version 2 init itself may be in it.)
    pub(super) fn settle(&mut self, is_used_again: bool) {
        let is_over = |cgroup: &Cgroup| matches!(cgroup.is_populated(), Ok(false));
        if self.inits > 0 || !self.cgroup.as_ref().is_some_and(is_over) {
            return;
        }
        self.last = self.cgroup.as_ref().map(Counts::of);
        if is_used_again {
            return;
        }
        // That it goes would be news, too.
        self.oom = None;
        self.next_look = self.next_look.filter(|_| self.watcher.is_some());
        // For the end of its mounts init waits for a thread of the kernel's, which may wait for this core.
        rustix::thread::sched_yield();
        self.cgroup = None;
    }

    /// What the group counted; everything inside must have ended.
    pub(super) fn counts(&self) -> Counts {
        let counts = self.last.or_else(|| self.cgroup.as_ref().map(Counts::of)).unwrap_or_default();
        Counts { process_limit_hits: self.hits_before_kill.or(counts.process_limit_hits), ..counts }
    }

    /// Kills everything in the group, or all that can be seen where there is none. Init finds whom this missed.
    pub(super) fn kill(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            self.hits_before_kill = self.hits_before_kill.or_else(|| cgroup.process_limit_hits().ok());
            let _ = cgroup.kill();
        } else if let Some(watcher) = &self.watcher {
            watcher.kill();
        }
    }

    /// The figures. `max_rss_bytes` is the largest of any reaped process.
    pub(super) fn fill(
        &self,
        counts: &Counts,
        usage: &mut Usage,
        sources: &mut BTreeMap<String, Source>,
        max_rss_bytes: u64,
    ) {
        let mut set = |name: &str, field: &mut Option<u64>, value: Option<u64>, source| {
            if value.is_some() {
                *field = value;
                sources.insert(name.to_owned(), source);
            }
        };
        if let Some((bytes, files)) = self.disk.as_ref().and_then(DiskWatch::measure) {
            set("disk_bytes", &mut usage.disk_bytes, Some(bytes), Source::Sampled);
            set("disk_inodes", &mut usage.disk_inodes, Some(files), Source::Sampled);
        }
        if let Some(peaks) = self.watcher.as_ref().map(Watcher::peaks) {
            // What one reaped process had at its peak, the kernel knows; together they may have had more.
            let memory = peaks.memory_bytes.max(max_rss_bytes);
            set("memory_peak_bytes", &mut usage.memory_peak_bytes, Some(memory), Source::Sampled);
            // Processes that nobody waits for (SIGCHLD ignored) leave no trace with init, but they were seen. How
            // their time divides into user and system is taken to be as that of the others.
            let (user, system) = (usage.cpu_user_us.unwrap_or(0), usage.cpu_system_us.unwrap_or(0));
            let unseen = peaks.cpu_us.saturating_sub(user + system);
            if unseen > 0 {
                let more =
                    u64::try_from(u128::from(unseen) * u128::from(user) / u128::from((user + system).max(1)));
                let more_user = more.unwrap_or(unseen);
                set("cpu_user_us", &mut usage.cpu_user_us, Some(user + more_user), Source::Sampled);
                let system = system + (unseen - more_user);
                set("cpu_system_us", &mut usage.cpu_system_us, Some(system), Source::Sampled);
            }
            // Init is one of those that were seen.
            let tasks = peaks.tasks.saturating_sub(1);
            set("processes_peak", &mut usage.processes_peak, Some(tasks), Source::Sampled);
        }
        let cpu = counts.cpu.map(|cpu| cpu.since(self.before));
        let peak = counts.processes_peak.map(|peak| peak.saturating_sub(self.inits));
        let memory = counts.memory_peak_bytes.map(|peak| peak.next_multiple_of(self.memory_step));
        set("cpu_user_us", &mut usage.cpu_user_us, cpu.map(|cpu| cpu.user_us), Source::Kernel);
        set("cpu_system_us", &mut usage.cpu_system_us, cpu.map(|cpu| cpu.system_us), Source::Kernel);
        set("memory_peak_bytes", &mut usage.memory_peak_bytes, memory, Source::Kernel);
        set("processes_peak", &mut usage.processes_peak, peak, Source::Kernel);
    }
}
