//! What a run leaves behind: processes, mounts, cgroup directories.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Watches the descendants of a process while it runs.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Trace, u64)>,
}

/// What a run may hold before its wardian is killed: no limit of these tests is near it.
const CEILING: u64 = 3 << 30;

/// The processes that were seen.
#[derive(Default)]
pub struct Trace {
    /// Process ids with their start in clock ticks.
    processes: BTreeMap<u32, u64>,
    /// Process namespaces, by inode, with when each was last seen, in clock ticks since boot.
    namespaces: BTreeMap<String, u64>,
}

impl Sampler {
    /// Watches what is below `pid`.
    pub fn start(pid: u32) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut trace = Trace::default();
            let mut own_memory = 0;
            let started = Instant::now();
            while !seen.load(Ordering::Relaxed) && is_alive(pid) {
                if trace.look(pid) > CEILING {
                    // Seen on hosts without a working memory limit: better a failed test than a dead machine.
                    let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
                }
                own_memory = own_memory.max(high_water(pid));
                sleep(Duration::from_millis(if started.elapsed().as_millis() < 200 { 4 } else { 20 }));
            }
            (trace, own_memory)
        });
        Sampler { stop, thread }
    }

    /// What was seen, and the largest resident memory of the process itself.
    pub fn stop(self) -> (Trace, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Trace {
    /// Looks once; the resident memory of all below, in bytes, shared pages counted each time.
    fn look(&mut self, pid: u32) -> u64 {
        let mut memory = 0;
        let mut visited = 0;
        let own = fs::read_link("/proc/self/ns/pid").unwrap();
        let now = ticks_now();
        let mut queue = vec![pid];
        // A fork bomb's children are too many to look at each; their namespace tells them all.
        while let Some(parent) = queue.pop()
            && visited < 200
        {
            for child in children(parent) {
                let Some(start) = start_ticks(child) else { continue };
                visited += 1;
                memory += resident(child);
                self.processes.insert(child, start);
                if let Ok(namespace) = fs::read_link(format!("/proc/{child}/ns/pid"))
                    && namespace != own
                {
                    self.namespaces.insert(namespace.to_string_lossy().into_owned(), now);
                }
                queue.push(child);
            }
        }
        memory
    }

    /// Fails if a process that was seen, or one of its namespaces, lives on after `grace`.
    pub fn check_processes_gone(&self, grace: Duration) {
        self.wait_for_none(grace, |_| true);
    }

    /// The same after wardian itself was killed: what is dead then waits for the machine's init, not for us.
    pub fn check_processes_dead(&self, grace: Duration) {
        self.wait_for_none(grace, |description| !description.contains(") Z "));
    }

    fn wait_for_none(&self, grace: Duration, counts: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        loop {
            let mut left = self.left();
            left.retain(|description| counts(description));
            if left.is_empty() {
                return;
            }
            assert!(begin.elapsed() < grace, "processes left {grace:?} after the end: {left:?}");
            sleep(Duration::from_millis(5));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = vec![];
        for (pid, start) in &self.processes {
            if start_ticks(*pid) == Some(*start) {
                left.push(describe(*pid));
            }
        }
        for pid in all_processes() {
            // A namespace's inode number is given to the next sandbox at once, while this one's files are collected
            // say; its init, without which no namespace is, then starts after we last saw ours.
            let seen = fs::read_link(format!("/proc/{pid}/ns/pid"))
                .ok()
                .and_then(|namespace| self.namespaces.get(&*namespace.to_string_lossy()));
            if seen.is_some_and(|seen| start_ticks(pid).is_some_and(|start| start + 2 < *seen)) {
                left.push(describe(pid));
            }
        }
        left
    }
}

fn describe(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.chars().take(60).collect()
}

/// The children of all threads of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return vec![] };
    let mut all = vec![];
    for task in tasks.flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(list.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    all
}

fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process's start in clock ticks since boot, unless it is gone; a zombie still holds its place.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a process runs: one that nobody has waited for yet does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn ticks_now() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let (seconds, rest) = uptime.split_once('.').unwrap();
    seconds.parse::<u64>().unwrap() * 100 + rest[..2].parse::<u64>().unwrap()
}

fn resident(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn high_water(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Fails if a sandbox's mount shows in our own mount namespace.
pub fn check_no_mounts() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left: Vec<_> = mounts.lines().filter(|line| line.contains("wardian")).collect();
    assert!(left.is_empty(), "mounts left: {left:?}");
}

/// The cgroup directories that belong to the wardian of this process id.
pub fn groups(pid: u32) -> Vec<String> {
    let mut found = vec![];
    walk(Path::new("/sys/fs/cgroup"), &format!("wardian-{pid}-"), 0, &mut found);
    found
}

fn walk(directory: &Path, prefix: &str, depth: u32, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path().display().to_string());
        } else if depth < 8 {
            walk(&entry.path(), prefix, depth + 1, found);
        }
    }
}

/// Fails if a cgroup directory of this process is left.
pub fn check_no_groups(pid: u32) {
    let left = groups(pid);
    assert!(left.is_empty(), "cgroup directories left: {left:?}");
}

/// Fails if a process whose command line has this mark lives on after `grace`.
pub fn check_mark_gone(mark: &str, grace: Duration) {
    let begin = Instant::now();
    loop {
        let left: Vec<_> =
            all_processes().into_iter().filter(|pid| marked(*pid, mark)).map(describe).collect();
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed() < grace, "left {grace:?} after the kill: {left:?}");
        sleep(Duration::from_millis(5));
    }
}

fn marked(pid: u32, mark: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.windows(mark.len()).any(|window| window == mark.as_bytes())
}

/// The host's id of the program below this wardian: of the deepest process there is.
pub fn guest_owner(pid: u32) -> Option<u32> {
    let mut last = None;
    let mut queue = children(pid);
    while let Some(child) = queue.pop() {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let owner = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
        last = owner.or(last);
        queue = children(child);
    }
    last
}
