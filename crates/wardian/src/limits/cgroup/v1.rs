//! Version 1: one hierarchy a controller, or several controllers mounted together.
//!
//! Kernel documentation: `Documentation/admin-guide/cgroup-v1/{memory,cpuacct,pids}.rst`, `sched-bwc.rst`.

use super::dir::{Dir, Place};
use super::group::{Group, is_spotless, lock};
use super::kept::{Kept, Room};
use super::limits::PERIOD_US;
use super::locate::Map;
use super::oom::OomWatch;
use super::{CgroupLimits, Controllers, Counts, CpuThrottled, CpuUsage, Swap};
use crate::limits::CgroupError;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// The hierarchies that we use; each index is into `dirs`, and co-mounted controllers share one.
#[derive(Debug)]
pub(super) struct Hierarchies {
    dirs: Vec<Dir>,
    memory: Option<usize>,
    pids: Option<usize>,
    cpuacct: Option<usize>,
    cpu: Option<usize>,
}

impl Hierarchies {
    /// Our own group in each. `memory` and `pids` must be there.
    pub(super) fn locate(map: &Map) -> Result<Hierarchies, CgroupError> {
        let mut dirs: Vec<Dir> = Vec::with_capacity(4);
        let mut add = |controller| -> Result<usize, CgroupError> {
            let dir = map.v1(controller)?;
            let known = dirs.iter().position(|known| known.path() == dir.path());
            Ok(known.unwrap_or_else(|| {
                dirs.push(dir);
                dirs.len() - 1
            }))
        };
        let memory = Some(add("memory")?);
        let pids = Some(add("pids")?);
        let (cpuacct, cpu) = (add("cpuacct").ok(), add("cpu").ok());
        Ok(Hierarchies { dirs, memory, pids, cpuacct, cpu })
    }

    pub(super) fn controllers(&self) -> Controllers {
        Controllers {
            memory: self.memory.is_some(),
            pids: self.pids.is_some(),
            cpu: self.cpu.is_some(),
            cpu_usage: self.cpuacct.is_some(),
        }
    }

    /// The hierarchy whose directories carry the lock: made first, removed last.
    pub(super) fn primary(&self) -> &Dir {
        &self.dirs[0]
    }

    /// Those without locks.
    pub(super) fn others(&self) -> &[Dir] {
        &self.dirs[1..]
    }

    pub(super) fn dirs(&self) -> &[Dir] {
        &self.dirs
    }

    fn missing(&self, controller: &'static str) -> CgroupError {
        CgroupError::NoController { controller, path: self.primary().path().to_owned() }
    }

    /// Makes the group in every hierarchy that is needed, sets the limits and opens what is used later.
    pub(super) fn create(
        self: &Arc<Self>,
        name: String,
        limits: &CgroupLimits,
        quota_us: Option<u64>,
    ) -> Result<V1Group, CgroupError> {
        let mut group = V1Group {
            host: Arc::clone(self),
            name,
            made: Vec::with_capacity(4),
            join: Vec::new(),
            join_room: None,
            kept: Kept::default(),
            swap: Swap::Unavailable,
            lock: None,
        };
        match group.fill(limits, quota_us) {
            Ok(()) => Ok(group),
            Err(error) => {
                // The first error is the one to tell; nothing has joined the group yet.
                let _ = group.rmdir();
                Err(error)
            }
        }
    }

    /// Removes what a dead owner left, the primary directory last; its processes are killed.
    pub(super) fn sweep(&self, name: &str) -> Result<(), CgroupError> {
        self.dirs.iter().rev().try_for_each(|dir| remove_with_members(dir.group(name)))
    }
}

/// One group, in several hierarchies.
#[derive(Debug)]
pub(super) struct V1Group {
    host: Arc<Hierarchies>,
    name: String,
    /// Where it has been made.
    made: Vec<usize>,
    join: Vec<OwnedFd>,
    /// Where they stay open when the guest has joined.
    join_room: Option<Room>,
    kept: Kept,
    swap: Swap,
    /// Held as long as the group is; see [`gc`](super::gc()).
    lock: Option<OwnedFd>,
}

impl V1Group {
    fn fill(&mut self, limits: &CgroupLimits, quota_us: Option<u64>) -> Result<(), CgroupError> {
        let host = Arc::clone(&self.host);
        if quota_us.is_some() && host.cpu.is_none() {
            return Err(host.missing("cpu"));
        }
        for (index, dir) in host.dirs.iter().enumerate() {
            let for_quota_only = host.cpu == Some(index) && host.cpuacct != Some(index);
            if for_quota_only && quota_us.is_none() {
                continue;
            }
            let place = dir.group(&self.name);
            place.make()?;
            self.made.push(index);
            if index == 0 {
                self.lock = Some(lock(place)?);
            }
        }
        self.open_join_files()?;
        self.limit(limits, quota_us)
    }

    fn open_join_files(&mut self) -> Result<(), CgroupError> {
        let open =
            |index: &usize| self.host.dirs[*index].group(&self.name).open_file("tasks", OFlags::WRONLY);
        self.join = self.made.iter().map(open).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Memory with swap may not be less than memory, so memory is limited first. Kernel memory counts as
    /// memory since Linux 4.5.
    fn limit_memory(&mut self, limits: &CgroupLimits) -> Result<(), CgroupError> {
        let Some(bytes) = limits.memory_bytes else { return Ok(()) };
        let place = self.at(self.host.memory, "memory")?;
        place.write("memory.limit_in_bytes", &bytes.to_string())?;
        let with_swap = bytes.saturating_add(limits.swap_bytes).to_string();
        let enforced = place.write_if_there("memory.memsw.limit_in_bytes", &with_swap)?;
        if !enforced && limits.swap_bytes == 0 {
            // Keeps the group's own reclaim from swapping; the machine's may still do it.
            place.write("memory.swappiness", "0")?;
        }
        if let Some(sockets) = limits.sockets_bytes {
            // Without this they are counted for nobody.
            place.write("memory.kmem.tcp.limit_in_bytes", &sockets.to_string())?;
        }
        self.swap = if enforced { Swap::Enforced } else { Swap::Unavailable };
        Ok(())
    }

    fn at(&self, index: Option<usize>, controller: &'static str) -> Result<Place<'_>, CgroupError> {
        match index.and_then(|index| self.host.dirs.get(index)) {
            Some(dir) => Ok(dir.group(&self.name)),
            None => Err(self.host.missing(controller)),
        }
    }

    fn pids(&self) -> Result<Place<'_>, CgroupError> {
        self.at(self.host.pids, "pids")
    }

    fn memory(&self) -> Result<Place<'_>, CgroupError> {
        self.at(self.host.memory, "memory")
    }

    fn cpuacct(&self) -> Result<Place<'_>, CgroupError> {
        self.at(self.host.cpuacct, "cpuacct")
    }
}

impl Group for V1Group {
    fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        self.host.primary().group(&self.name).path()
    }

    fn swap(&self) -> Swap {
        self.swap
    }

    fn limit(&mut self, limits: &CgroupLimits, quota_us: Option<u64>) -> Result<(), CgroupError> {
        self.limit_memory(limits)?;
        if let Some(processes) = limits.processes {
            self.pids()?.write("pids.max", &processes.to_string())?;
        }
        if let Some(quota) = quota_us {
            let place = self.at(self.host.cpu, "cpu")?;
            place.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            place.write("cpu.cfs_quota_us", &quota.to_string())?;
        }
        Ok(())
    }

    fn join_files(&self) -> &[OwnedFd] {
        &self.join
    }

    fn guest_has_joined(&mut self) {
        self.join_room = self.join_room.take().or_else(|| Room::take(self.join.len()));
        if self.join_room.is_none() {
            self.join = Vec::new();
        }
        if let Ok(place) = self.memory() {
            self.kept.open_ahead(place, &["memory.max_usage_in_bytes", "memory.oom_control"]);
        }
        if let Ok(place) = self.pids() {
            self.kept.open_ahead(place, &["pids.current", "pids.peak", "pids.events"]);
        }
        if let Ok(place) = self.cpuacct() {
            self.kept.open_ahead(place, &["cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys"]);
        }
    }

    fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn procs_file(&self) -> Result<Option<OwnedFd>, CgroupError> {
        Ok(None)
    }

    fn cpu_total_us(&self) -> Result<u64, CgroupError> {
        self.kept.number(self.cpuacct()?, "cpuacct.usage").map(|ns| ns / 1000)
    }

    /// The total is exact, user and system are counted by clock ticks: their ratio divides the total, as the
    /// kernel does for `times(2)`.
    fn cpu_usage(&self) -> Result<CpuUsage, CgroupError> {
        let place = self.cpuacct()?;
        let user = self.kept.number(place, "cpuacct.usage_user")?;
        let system = self.kept.number(place, "cpuacct.usage_sys")?;
        Ok(CpuUsage::divided(self.cpu_total_us()?, user, system))
    }

    fn cpu_throttled(&self) -> Result<Option<CpuThrottled>, CgroupError> {
        if self.host.cpu.is_none_or(|index| !self.made.contains(&index)) {
            return Ok(None);
        }
        let stat = self.kept.read(self.at(self.host.cpu, "cpu")?, "cpu.stat")?;
        Ok(stat
            .field("nr_throttled")
            .zip(stat.field("throttled_time"))
            .map(|(periods, ns)| CpuThrottled { periods, time_us: ns / 1000 }))
    }

    fn memory_current_bytes(&self) -> Result<u64, CgroupError> {
        self.kept.number(self.memory()?, "memory.usage_in_bytes")
    }

    fn memory_left_bytes(&self) -> Result<u64, CgroupError> {
        let place = self.memory()?;
        let kernel = self.kept.read_if_there(place, "memory.kmem.usage_in_bytes")?;
        let Some(kernel) = kernel.and_then(|kernel| kernel.number()) else {
            return self.memory_current_bytes();
        };
        let stat = self.kept.read(place, "memory.stat")?;
        // Without swap accounting there is no such line.
        let user = ["cache", "rss", "swap"].iter().filter_map(|name| stat.field(name)).sum::<u64>();
        Ok(kernel + user)
    }

    fn memory_peak_bytes(&self) -> Result<Option<u64>, CgroupError> {
        self.kept.number(self.memory()?, "memory.max_usage_in_bytes").map(Some)
    }

    fn oom_kills(&self) -> Result<u64, CgroupError> {
        let place = self.memory()?;
        let control = self.kept.read(place, "memory.oom_control")?;
        control.field("oom_kill").ok_or_else(|| place.malformed("memory.oom_control", "`oom_kill` line"))
    }

    fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        let place = self.memory()?;
        let path = place.path().join("memory.oom_control");
        let control = place.open_file("memory.oom_control", OFlags::RDONLY)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| CgroupError::Watch { path: path.clone(), source: error.into() })?;
        let request = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        self.kept.write(place, "cgroup.event_control", &request)?;
        Ok(OomWatch::eventfd(event, path))
    }

    fn processes_peak(&self) -> Result<Option<u64>, CgroupError> {
        Ok(self.kept.read_if_there(self.pids()?, "pids.peak")?.and_then(|peak| peak.number()))
    }

    fn process_limit_hits(&self) -> Result<u64, CgroupError> {
        let place = self.pids()?;
        let events = self.kept.read(place, "pids.events")?;
        events.field("max").ok_or_else(|| place.malformed("pids.events", "`max` line"))
    }

    /// Not from `cgroup.procs`, of which version 1 may show a list that is up to a second old.
    fn is_populated(&self) -> Result<bool, CgroupError> {
        self.kept.number(self.pids()?, "pids.current").map(|current| current > 0)
    }

    fn kill(&self) -> Result<(), CgroupError> {
        let place = self.pids()?;
        // From now on nothing can fork, so that one pass over the members finds all of them.
        place.write("pids.max", "0")?;
        kill_members(place);
        Ok(())
    }

    fn renew(&mut self, counts: &Counts) -> Result<bool, CgroupError> {
        if !is_spotless(self, counts)? {
            return Ok(false);
        }
        self.kept.write(self.memory()?, "memory.max_usage_in_bytes", "0")?;
        if self.host.cpuacct.is_some() {
            self.kept.write(self.cpuacct()?, "cpuacct.usage", "0")?;
        }
        if self.join.is_empty() {
            self.open_join_files()?;
        }
        Ok(true)
    }

    fn rmdir(&mut self) -> Result<(), CgroupError> {
        while let Some(index) = self.made.last() {
            let place = self.host.dirs[*index].group(&self.name);
            super::group::remove(|| place.rmdir(), || drop(self.kill()))
                .map_err(|source| CgroupError::Remove { path: place.path(), source: source.into() })?;
            self.made.pop();
        }
        Ok(())
    }
}

/// Removes a directory of a dead owner; its processes are killed.
pub(super) fn remove_with_members(place: Place<'_>) -> Result<(), CgroupError> {
    super::group::remove(|| place.rmdir(), || kill_members(place))
        .map_err(|source| CgroupError::Remove { path: place.path(), source: source.into() })
}

/// Sends SIGKILL to each process of a group. A pid that was read may be another process by now: the pidfd
/// pins one, and only then it is asked which group it is in.
fn kill_members(place: Place<'_>) {
    let Ok(list) = place.open_file("cgroup.procs", OFlags::RDONLY) else { return };
    let Ok(text) = std::io::read_to_string(std::fs::File::from(list)) else { return };
    let name = place.path();
    let Some(name) = name.file_name().and_then(|name| name.to_str()) else { return };
    let end = format!("/{name}");
    // 0 is a process that our pid namespace does not show.
    for pid in text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)) {
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let Ok(groups) = std::fs::read_to_string(format!("/proc/{pid}/cgroup")) else { continue };
        if groups.lines().any(|line| line.ends_with(&end)) {
            // ESRCH: it has ended by itself.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}
