//! Version 2: one hierarchy, whose controllers each group hands down to the groups below it.
//!
//! Kernel documentation: `Documentation/admin-guide/cgroup-v2.rst`.

use super::delegated::{self, LEAF, PASSES};
use super::dir::{Counters, Dir, Place};
use super::group::{Group, is_spotless, lock, remove};
use super::kept::Kept;
use super::limits::PERIOD_US;
use super::locate::Map;
use super::oom::OomWatch;
use super::{CgroupLimits, Controllers, Counts, CpuThrottled, CpuUsage, Oom, Swap};
use crate::limits::CgroupError;
use rustix::fs::OFlags;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The group below which sandboxes get theirs.
#[derive(Debug)]
pub(super) struct Hierarchy {
    dir: Dir,
    controllers: Controllers,
    /// What it hands down by now.
    enabled: Mutex<Enabled>,
}

/// What our own group hands down, as far as we know.
#[derive(Debug, Default)]
struct Enabled {
    controllers: Controllers,
    /// The lock by which we take part; without it others may change everything.
    lock: Option<OwnedFd>,
}

impl Hierarchy {
    /// Reads which controllers there are; `memory` and `pids` must be.
    pub(super) fn locate(map: &Map) -> Result<Hierarchy, CgroupError> {
        let mut dir = map.v2()?;
        if dir.path().ends_with(LEAF)
            && let Some(above) = dir.path().parent()
        {
            dir = Dir::open(above)?;
        }
        Hierarchy::of(dir)
    }

    fn of(dir: Dir) -> Result<Hierarchy, CgroupError> {
        let here = dir.group("");
        let controllers = listed(here.read("cgroup.controllers")?.text());
        for (there, controller) in [(controllers.memory, "memory"), (controllers.pids, "pids")] {
            if !there {
                return Err(CgroupError::NoController { controller, path: dir.path().to_owned() });
            }
        }
        Ok(Hierarchy { dir, controllers, enabled: Mutex::default() })
    }

    pub(super) fn controllers(&self) -> Controllers {
        self.controllers
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Hands down what is needed and not handed down yet, once in the life of our own group.
    fn enable(&self, cpu: bool) -> Result<(), CgroupError> {
        let mut state = self.enabled.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lock.is_none() {
            state.lock = Some(delegated::enter(&self.dir)?);
            state.controllers = listed(self.dir.group("").read("cgroup.subtree_control")?.text());
        }
        let enabled = &mut state.controllers;
        let wanted =
            [("+memory", enabled.memory, true), ("+pids", enabled.pids, true), ("+cpu", enabled.cpu, cpu)];
        let missing: Vec<&str> =
            wanted.iter().filter(|(_, there, wanted)| *wanted && !there).map(|(name, ..)| *name).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if cpu && !self.controllers.cpu {
            return Err(CgroupError::NoController { controller: "cpu", path: self.dir.path().to_owned() });
        }
        self.hand_down(&missing.join(" "))?;
        *enabled = Controllers { memory: true, pids: true, cpu: cpu || enabled.cpu, cpu_usage: true };
        Ok(())
    }

    /// `EBUSY` says that our own group has processes (only the hierarchy's root may): they move to a leaf.
    fn hand_down(&self, change: &str) -> Result<(), CgroupError> {
        let here = self.dir.group("");
        let mut left = PASSES;
        loop {
            match here.write("cgroup.subtree_control", change) {
                Err(CgroupError::Write { source, .. })
                    if source.kind() == ErrorKind::ResourceBusy && left > 0 =>
                {
                    left -= 1;
                    delegated::move_to_leaf(&self.dir)?;
                }
                other => return other,
            }
        }
    }

    /// Makes the group, sets the limits and opens what is used later.
    pub(super) fn create(
        self: &Arc<Self>,
        name: String,
        limits: &CgroupLimits,
        quota_us: Option<u64>,
    ) -> Result<V2Group, CgroupError> {
        self.enable(quota_us.is_some())?;
        let place = self.dir.group(&name);
        place.make()?;
        let filled = lock(place).and_then(|lock| {
            let (host, name, kept) = (Arc::clone(self), name.clone(), Kept::default());
            let mut group = V2Group { host, name, lock, kept, peak: None, swap: Swap::Unavailable };
            group.limit(limits, quota_us)?;
            Ok(group)
        });
        // The first error is the one to tell; nothing has joined the group yet.
        filled.inspect_err(|_| {
            let _ = place.rmdir();
        })
    }

    /// Removes what a dead owner left; its processes are killed.
    pub(super) fn sweep(&self, name: &str) -> Result<(), CgroupError> {
        let place = self.dir.group(name);
        remove(|| place.rmdir(), || drop(place.write("cgroup.kill", "1")))
            .map_err(|source| CgroupError::Remove { path: place.path(), source: source.into() })
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        let state = self.enabled.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = &state.lock {
            // Nobody is left to tell; the next one to leave tries again.
            let _ = delegated::leave(&self.dir, lock);
        }
    }
}

/// `cpuset cpu io memory pids`. CPU time is counted by every group, controller or not.
fn listed(names: &str) -> Controllers {
    let has = |wanted| names.split_ascii_whitespace().any(|name| name == wanted);
    Controllers { memory: has("memory"), pids: has("pids"), cpu: has("cpu"), cpu_usage: true }
}

/// One group.
#[derive(Debug)]
pub(super) struct V2Group {
    host: Arc<Hierarchy>,
    name: String,
    /// The group's directory: proves whose it is, and is what `CLONE_INTO_CGROUP` takes.
    lock: OwnedFd,
    kept: Kept,
    /// Tells the peak since the group was renewed.
    peak: Option<OwnedFd>,
    swap: Swap,
}

impl V2Group {
    fn place(&self) -> Place<'_> {
        self.host.dir.group(&self.name)
    }

    fn cpu_stat(&self) -> Result<Counters, CgroupError> {
        self.kept.read(self.place(), "cpu.stat")
    }

    fn field(&self, counters: &Counters, file: &str, name: &'static str) -> Result<u64, CgroupError> {
        counters.field(name).ok_or_else(|| self.place().malformed(file, name))
    }
}

impl Group for V2Group {
    fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        self.place().path()
    }

    fn swap(&self) -> Swap {
        self.swap
    }

    fn limit(&mut self, limits: &CgroupLimits, quota_us: Option<u64>) -> Result<(), CgroupError> {
        self.host.enable(quota_us.is_some())?;
        let place = self.host.dir.group(&self.name);
        if let Some(bytes) = limits.memory_bytes {
            place.write("memory.max", &bytes.to_string())?;
            let enforced = place.write_if_there("memory.swap.max", &limits.swap_bytes.to_string())?;
            self.swap = if enforced { Swap::Enforced } else { Swap::Unavailable };
        }
        if limits.oom == Oom::End {
            place.write("memory.oom.group", "1")?;
        }
        if let Some(processes) = limits.processes {
            place.write("pids.max", &processes.to_string())?;
        }
        if let Some(quota) = quota_us {
            place.write("cpu.max", &format!("{quota} {PERIOD_US}"))?;
        }
        Ok(())
    }

    fn join_files(&self) -> &[OwnedFd] {
        &[]
    }

    fn guest_has_joined(&mut self) {
        const NAMES: [&str; 6] =
            ["cpu.stat", "memory.peak", "memory.events", "pids.peak", "pids.events", "cgroup.events"];
        self.kept.open_ahead(self.place(), &NAMES);
    }

    fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        Some(self.lock.as_fd())
    }

    fn procs_file(&self) -> Result<Option<OwnedFd>, CgroupError> {
        self.place().open_file("cgroup.procs", OFlags::WRONLY).map(Some)
    }

    fn cpu_total_us(&self) -> Result<u64, CgroupError> {
        self.field(&self.cpu_stat()?, "cpu.stat", "usage_usec")
    }

    fn cpu_usage(&self) -> Result<CpuUsage, CgroupError> {
        let stat = self.cpu_stat()?;
        let field = |name| self.field(&stat, "cpu.stat", name);
        Ok(CpuUsage {
            user_us: field("user_usec")?,
            system_us: field("system_usec")?,
            total_us: field("usage_usec")?,
        })
    }

    fn cpu_throttled(&self) -> Result<Option<CpuThrottled>, CgroupError> {
        let stat = self.cpu_stat()?;
        let throttled = stat.field("nr_throttled").zip(stat.field("throttled_usec"));
        Ok(throttled.map(|(periods, time_us)| CpuThrottled { periods, time_us }))
    }

    fn memory_current_bytes(&self) -> Result<u64, CgroupError> {
        self.kept.number(self.place(), "memory.current")
    }

    fn memory_left_bytes(&self) -> Result<u64, CgroupError> {
        let stat = self.kept.read(self.place(), "memory.stat")?;
        let field = |name| self.field(&stat, "memory.stat", name);
        let swap =
            self.kept.read_if_there(self.place(), "memory.swap.current")?.and_then(|swap| swap.number());
        Ok(field("anon")? + field("file")? + field("kernel")? + swap.unwrap_or(0))
    }

    fn memory_peak_bytes(&self) -> Result<Option<u64>, CgroupError> {
        if let Some(peak) = &self.peak {
            return Counters::read(peak, || self.place().path().join("memory.peak"))
                .map(|peak| peak.number());
        }
        Ok(self.kept.read_if_there(self.place(), "memory.peak")?.and_then(|peak| peak.number()))
    }

    fn oom_kills(&self) -> Result<u64, CgroupError> {
        self.field(&self.kept.read(self.place(), "memory.events")?, "memory.events", "oom_kill")
    }

    fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        let place = self.place();
        OomWatch::events(
            place.open_file("memory.events", OFlags::RDONLY)?,
            place.path().join("memory.events"),
        )
    }

    fn processes_peak(&self) -> Result<Option<u64>, CgroupError> {
        Ok(self.kept.read_if_there(self.place(), "pids.peak")?.and_then(|peak| peak.number()))
    }

    fn process_limit_hits(&self) -> Result<u64, CgroupError> {
        self.field(&self.kept.read(self.place(), "pids.events")?, "pids.events", "max")
    }

    fn is_populated(&self) -> Result<bool, CgroupError> {
        Ok(self.field(&self.kept.read(self.place(), "cgroup.events")?, "cgroup.events", "populated")? != 0)
    }

    fn kill(&self) -> Result<(), CgroupError> {
        self.place().write("cgroup.kill", "1")
    }

    fn renew(&mut self, counts: &Counts) -> Result<bool, CgroupError> {
        if !is_spotless(self, counts)? {
            return Ok(false);
        }
        // Since Linux 6.12 a descriptor of it can be told to begin anew, whatever is written.
        let peak = match self.place().open_file("memory.peak", OFlags::RDWR) {
            Err(CgroupError::Open { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(true),
            peak => peak?,
        };
        let renewed = rustix::io::write(&peak, b"renew").is_ok();
        self.peak = Some(peak).filter(|_| renewed);
        Ok(renewed)
    }

    fn rmdir(&mut self) -> Result<(), CgroupError> {
        let place = self.place();
        remove(|| place.rmdir(), || drop(self.kill()))
            .map_err(|source| CgroupError::Remove { path: place.path(), source: source.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::{Command, Stdio};

    fn fill(directory: &Path, files: &[(&str, &str)]) {
        std::fs::create_dir_all(directory).unwrap();
        for (name, content) in files {
            std::fs::write(directory.join(name), content).unwrap();
        }
    }

    fn group(host: Arc<Hierarchy>, name: &str) -> V2Group {
        let lock = lock(host.dir.group(name)).unwrap();
        V2Group {
            host: Arc::clone(&host),
            name: name.to_owned(),
            lock,
            kept: Kept::default(),
            peak: None,
            swap: Swap::Enforced,
        }
    }

    #[test]
    fn controllers_must_be_there() {
        let scratch = tempfile::tempdir().unwrap();
        fill(
            scratch.path(),
            &[("cgroup.controllers", "cpuset io memory\n"), ("cgroup.subtree_control", "\n")],
        );
        let error = Hierarchy::of(Dir::open(scratch.path()).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("cannot use cgroup controller `pids`: /"), "{error}");
        assert!(error.hint().unwrap().contains("Delegate=yes"));
    }

    #[test]
    fn only_what_is_missing_is_handed_down() {
        let scratch = tempfile::tempdir().unwrap();
        let control = scratch.path().join("cgroup.subtree_control");
        fill(
            scratch.path(),
            &[("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "pids")],
        );
        let host = Hierarchy::of(Dir::open(scratch.path()).unwrap()).unwrap();
        host.enable(false).unwrap();
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "+memory");
        host.enable(true).unwrap();
        assert_eq!(std::fs::read_to_string(&control).unwrap(), "+cpuory");
        std::fs::remove_file(&control).unwrap();
        host.enable(true).unwrap();
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let scratch = tempfile::tempdir().unwrap();
        let files = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max"];
        fill(
            scratch.path(),
            &[("cgroup.controllers", "cpu memory pids"), ("cgroup.subtree_control", "cpu memory pids")],
        );
        fill(&scratch.path().join("g"), &files.map(|name| (name, "")));
        fill(&scratch.path().join("g"), &[("cpu.stat", "")]);
        let mut group = group(Arc::new(Hierarchy::of(Dir::open(scratch.path()).unwrap()).unwrap()), "g");
        let limits = CgroupLimits {
            memory_bytes: Some(4096),
            processes: Some(7),
            cpus: Some(0.5),
            ..CgroupLimits::default()
        };
        group.limit(&limits, Some(50_000)).unwrap();
        assert_eq!(group.swap(), Swap::Enforced);
        let written = files.map(|name| std::fs::read_to_string(scratch.path().join("g").join(name)).unwrap());
        assert_eq!(written, ["4096", "0", "1", "7", "50000 100000"]);
        std::fs::remove_file(scratch.path().join("g/memory.swap.max")).unwrap();
        group.limit(&limits, None).unwrap();
        assert_eq!(group.swap(), Swap::Unavailable);
        std::fs::remove_file(scratch.path().join("g/pids.max")).unwrap();
        assert!(group.limit(&limits, None).is_err());
    }

    #[test]
    fn counters_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        let above = [("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "\n")];
        fill(scratch.path(), &above);
        let files = [
            (
                "cpu.stat",
                "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 2\nnr_throttled 1\nthrottled_usec 70\n",
            ),
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n"),
            ("memory.current", "12288\n"),
            ("memory.peak", "16384\n"),
            ("pids.events", "max 5\n"),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
            ("cgroup.kill", ""),
        ];
        fill(&scratch.path().join("g"), &files);
        let host = Arc::new(Hierarchy::of(Dir::open(scratch.path()).unwrap()).unwrap());
        let group = group(host, "g");
        assert_eq!(group.cpu_usage().unwrap(), CpuUsage { user_us: 600, system_us: 300, total_us: 900 });
        assert_eq!(group.cpu_total_us().unwrap(), 900);
        assert_eq!(group.cpu_throttled().unwrap(), Some(CpuThrottled { periods: 1, time_us: 70 }));
        assert_eq!((group.oom_kills().unwrap(), group.process_limit_hits().unwrap()), (3, 5));
        assert_eq!(group.memory_current_bytes().unwrap(), 12288);
        assert_eq!(
            (group.memory_peak_bytes().unwrap(), group.processes_peak().unwrap()),
            (Some(16384), None)
        );
        assert!(group.is_populated().unwrap() && group.clone_into().is_some());
        let mut watch = group.oom_watch().unwrap();
        assert_eq!(watch.drain().unwrap(), 0);
        std::fs::write(scratch.path().join("g/memory.events"), "oom_kill 5\n").unwrap();
        assert_eq!(watch.drain().unwrap(), 2);
        std::fs::write(scratch.path().join("g/memory.events"), "max 5\n").unwrap();
        assert!(group.oom_kills().unwrap_err().to_string().ends_with("/g/memory.events: it has no oom_kill"));
    }

    /// On a hybrid host the version 2 hierarchy has no controllers, but it counts and kills all the same.
    #[test]
    fn a_real_group_dies_with_all_that_is_in_it() {
        let made = Map::read().and_then(|map| map.v2()).and_then(|dir| {
            let name = format!("wardian-test-{}", std::process::id());
            dir.group(&name).make()?;
            Ok((dir, name))
        });
        let (dir, name) = match made {
            Ok(made) => made,
            Err(error) => {
                println!("SKIP: {error}");
                return;
            }
        };
        let controllers = Controllers::default();
        let host = Arc::new(Hierarchy { dir, controllers, enabled: Mutex::default() });
        let mut group = group(host, &name);
        let join =
            format!("echo 0 > {}/cgroup.procs || exit 99; sleep 100 & sleep 100", group.path().display());
        let mut child = Command::new("/bin/sh").args(["-c", &join]).stdin(Stdio::null()).spawn().unwrap();
        let started = std::time::Instant::now();
        while !group.is_populated().unwrap() && started.elapsed().as_secs() < 10 {
            std::thread::yield_now();
        }
        assert!(group.is_populated().unwrap());
        group.rmdir().unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
        assert!(!group.path().exists());
    }
}
