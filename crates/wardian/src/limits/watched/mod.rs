//! Limits without a cgroup: we look now and then, and somebody else acts on what we saw.
//!
//! This level is called *watched*, never enforced. Between two looks a program can take more than it may:
//! at most [`WatchLimits::overshoot_bytes`] of memory and the time of one interval on each of its cores, plus
//! the time that a look takes. Of the kernel's memory on its behalf page tables are seen, and sockets and pipes by
//! their number, each as full as it can be; locks, mappings, and the like are not seen at all. CPU time of processes
//! that live and die between two looks, under a parent that ignores `SIGCHLD`, is estimated.

mod busy;
mod memory;
mod queues;
mod tally;
mod tree;
mod walk;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally::{Tally, Times};
use tree::Proc;
use walk::Walker;

use super::stat::Stat;

/// How fast one core can fill memory, at the most: zeroing runs at a few GiB/s, and faults come on top.
const GROWTH_BYTES_PER_SECOND: u64 = 4 << 30;
/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(2);
/// The longest: a wall limit or a cancellation is noticed elsewhere, so nothing waits for it.
const LONGEST: Duration = Duration::from_millis(100);
/// While processes vanish whose CPU time may be lost, how far two looks are apart at most.
const ALERT: Duration = Duration::from_millis(10);
/// After a look that found too much memory, the next one that may confirm it: a look takes its time, and what one process
/// gives back meanwhile another may take.
const CONFIRM: Duration = Duration::from_millis(5);
/// What a sandbox may consume, and how fast it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Memory, files in scratch space included.
    pub memory_bytes: u64,
    /// CPU time of all processes.
    pub cpu_us: u64,
    /// Cores that the sandbox is pinned to.
    pub cores: u32,
    /// Descriptors that a process may have open.
    pub open_files: u64,
}

impl WatchLimits {
    /// How far memory can be beyond its limit when that is noticed.
    pub fn overshoot_bytes(&self) -> u64 {
        self.growth_bytes(SHORTEST + CONFIRM)
    }

    fn growth_bytes(&self, time: Duration) -> u64 {
        let per_second = u128::from(GROWTH_BYTES_PER_SECOND) * u128::from(self.cores.max(1));
        u64::try_from(per_second * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// Whether memory is beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is not.
    Within,
    /// It seems so; the next look will tell.
    Suspected,
    /// It is.
    Exceeded,
}

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchSample {
    /// CPU time so far, of the living and the dead.
    pub cpu_us: u64,
    /// Memory now: never less than the truth, and when that was too much, close to it.
    pub memory_bytes: u64,
    /// What that means; within the limit as long as it is not known what is shared.
    pub memory: Memory,
    /// Bytes in scratch space, part of `memory_bytes`.
    pub disk_bytes: u64,
    /// Processes and threads, the root included; one that has ended counts until it is waited for.
    pub tasks: u64,
    /// False when there were more processes than one look takes in, or when nothing could be looked at for a second (no
    /// descriptors left, no memory): then nothing here is an upper bound, and the run has to end.
    pub complete: bool,
    /// How long the look took.
    pub cost: Duration,
}

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchPeaks {
    /// CPU time up to the last look.
    pub cpu_us: u64,
    /// Most memory; while far below the limit, pages that are shared count more than once.
    pub memory_bytes: u64,
    /// Most processes and threads.
    pub tasks: u64,
}

/// Why a sandbox cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// There is no `/proc`.
    #[error("cannot open /proc: {0}")]
    Proc(#[source] std::io::Error),
    /// The root of the tree is gone, or hidden from us.
    #[error("cannot see process {pid} in /proc")]
    Gone {
        /// Its pid.
        pid: u32,
    },
}

/// Looks at one sandbox again and again.
pub struct Watcher {
    proc: Arc<Proc>,
    root: Stat,
    /// Another process with all below it.
    beside: Option<Stat>,
    limits: WatchLimits,
    disk: Box<dyn FnMut() -> u64 + Send>,
    socket_bytes: u64,
    has_network: bool,
    tally: Tally,
    last_look: Instant,
    /// As soon as it is needed.
    walker: Option<Walker>,
    peaks: WatchPeaks,
    suspected_at: Option<Instant>,
    /// Since when it may be too much.
    doubted_at: Option<Instant>,
    /// Since when we cannot look.
    blind_since: Option<Instant>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("root", &self.root)
            .field("peaks", &self.peaks)
            .finish_non_exhaustive()
    }
}

impl Watcher {
    /// Watches the process `root`, whose pid is one of ours and which is pid 1 of its own namespace (so that no
    /// descendant can leave its tree). `disk` tells how many bytes its file systems in memory have; see [`tmpfs_bytes`].
    pub fn new(
        root: u32,
        limits: WatchLimits,
        disk: impl FnMut() -> u64 + Send + 'static,
    ) -> Result<Watcher, WatchError> {
        let proc = Arc::new(Proc::open().map_err(|error| WatchError::Proc(error.into()))?);
        let root = proc.stat(root).ok_or(WatchError::Gone { pid: root })?;
        let (tally, peaks) = (Tally::default(), WatchPeaks::default());
        Ok(Watcher {
            proc,
            root,
            beside: None,
            limits,
            disk: Box::new(disk),
            socket_bytes: memory::socket_bytes(),
            has_network: false,
            tally,
            last_look: Instant::now(),
            walker: None,
            peaks,
            suspected_at: None,
            doubted_at: None,
            blind_since: None,
        })
    }

    /// The root is in a network namespace that only those below it are in: its sockets are all theirs.
    pub fn has_network_of_its_own(&mut self) {
        self.has_network = true;
    }

    /// Watches `pid` and all below it too, which is in the root's pid namespace but not below the root, so that what
    /// loses its parent comes to be. Time that it has used so far does not count.
    pub fn beside(&mut self, pid: u32) -> Result<(), WatchError> {
        let stat = self.proc.stat(pid).ok_or(WatchError::Gone { pid })?;
        self.tally.start_with(&times(&self.proc, &stat));
        self.beside = Some(stat);
        Ok(())
    }

    /// Looks once; `None` when the root has ended, and with it everything below. What is not known of memory by `until`
    /// stays unknown, and within the limit.
    pub fn sample(&mut self, until: Instant) -> Option<WatchSample> {
        let started = Instant::now();
        let found = self.proc.stat(self.root.pid).filter(|stat| stat.start == self.root.start);
        let root = match found {
            Some(root) if root.has_ended() && root.threads < 2 => return None,
            Some(root) => root,
            None if self.proc.has_failed() => self.root,
            None => return None,
        };
        let same = |known: &Stat| self.proc.stat(known.pid).filter(|stat| stat.start == known.start);
        self.beside = self.beside.as_ref().and_then(same);
        let tree = self.proc.tree(root, self.beside, &self.tally.known());
        let times: Vec<Times> = tree.processes.iter().map(|stat| times(&self.proc, stat)).collect();
        let since = started.duration_since(std::mem::replace(&mut self.last_look, started));
        let since_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let crowd = self.proc.crowd(self.limits.cores, times.iter().map(|times| times.wanting).sum());
        let cpu_us = (self.tally.add(&times, since_ns, crowd) / 1000).max(self.peaks.cpu_us);
        let disk_bytes = (self.disk)();
        let (memory_bytes, memory) = self.look_at_memory(&tree.processes, disk_bytes, started, until);
        let tasks = tree.processes.iter().map(|stat| stat.threads.max(1)).sum();
        self.peaks.cpu_us = cpu_us;
        self.peaks.tasks = self.peaks.tasks.max(tasks);
        let complete = tree.complete && self.can_see(started);
        let cost = started.elapsed();
        Some(WatchSample { cpu_us, memory_bytes, memory, disk_bytes, tasks, complete, cost })
    }

    /// Whether nothing but processes that come and go has kept us from looking, or not for long.
    fn can_see(&mut self, now: Instant) -> bool {
        const PATIENCE: Duration = Duration::from_secs(1);
        if self.proc.take_failure().is_none() {
            self.blind_since = None;
            return true;
        }
        now.duration_since(*self.blind_since.get_or_insert(now)) < PATIENCE
    }

    /// Kills all below the root at nearly one moment, but for those that come into being meanwhile.
    pub fn kill(&self) {
        let Some(root) = self.proc.stat(self.root.pid) else { return };
        let tree = self.proc.tree(root, self.beside, &self.tally.known());
        for stat in tree.processes.iter().filter(|stat| stat.pid != self.root.pid) {
            let pid = i32::try_from(stat.pid).ok().and_then(Pid::from_raw);
            let Some(Ok(pidfd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { continue };
            // Its number may have become another's before it was opened, and cannot any more.
            if self.proc.stat(stat.pid).is_some_and(|now| now.start == stat.start) {
                // It may have ended.
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
    }

    /// The most that was seen so far.
    pub fn peaks(&self) -> WatchPeaks {
        self.peaks
    }

    /// When to look again, and not later than this: at no moment that a program could know.
    pub fn next_look(&self, sample: &WatchSample, at_the_latest: Duration) -> Duration {
        let interval = self.next_interval(sample);
        if sample.memory == Memory::Suspected {
            return interval;
        }
        jittered(interval.min(at_the_latest)).max(sample.cost)
    }

    /// When to look again: before a limit can be passed, and never so often that looking takes more than half
    /// of a core.
    fn next_interval(&self, sample: &WatchSample) -> Duration {
        if sample.memory == Memory::Suspected {
            return CONFIRM;
        }
        let room = self.limits.memory_bytes.saturating_sub(sample.memory_bytes);
        let per_millisecond = self.limits.growth_bytes(Duration::from_millis(1));
        let memory = Duration::from_millis(room / per_millisecond.max(1));
        let cpu_us = self.limits.cpu_us.saturating_sub(sample.cpu_us) / u64::from(self.limits.cores.max(1));
        let longest = if self.tally.is_alert() { ALERT } else { LONGEST };
        memory.min(Duration::from_micros(cpu_us)).clamp(SHORTEST, longest).max(sample.cost)
    }
}

/// A part of the interval, at least half: a program that knew when it is looked at could rest then.
fn jittered(interval: Duration) -> Duration {
    let mut byte = [0u8];
    // Without randomness, which every kernel has by now, it is all of it.
    let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK);
    interval - interval * u32::from(byte[0]) / 512
}

/// The kernel shows time in clock ticks, rounded down; of a single thread it also tells nanoseconds.
fn times(proc: &Proc, stat: &Stat) -> Times {
    let ns = |ticks: u64| {
        let per_second = u128::from(clock_ticks_per_second().max(1));
        u64::try_from(u128::from(ticks) * 1_000_000_000 / per_second).unwrap_or(u64::MAX)
    };
    let exact = if stat.threads < 2 { proc.ran_ns(stat.pid).unwrap_or(0) } else { 0 };
    Times {
        pid: stat.pid,
        start: stat.start,
        own_ns: ns(stat.own_ticks).max(exact),
        waited_ns: ns(stat.waited_ticks),
        wanting: proc.wanting(stat),
    }
}

/// Processes and threads of a user on this machine, as far as `/proc` shows them.
pub(crate) fn tasks_of(uid: u32) -> u64 {
    Proc::open().map_or(0, |proc| proc.tasks_of(uid))
}

/// Bytes in use on the file system that `directory` is on.
pub fn tmpfs_bytes(directory: impl AsFd) -> std::io::Result<u64> {
    let stat = rustix::fs::fstatvfs(directory)?;
    Ok(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    const MIB: u64 = 1 << 20;
    const LIMITS: WatchLimits =
        WatchLimits { memory_bytes: 1 << 40, cpu_us: 60_000_000, cores: 2, open_files: 1024 };

    /// A shell that says a line when it is ready and ends when its input does.
    fn shell(script: &str) -> Child {
        let script = format!("{script}\necho; read line");
        let mut child = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    fn watch(child: &Child, limits: WatchLimits) -> Watcher {
        Watcher::new(child.id(), limits, || 0).unwrap()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// The first look that knows what is shared.
    fn look(watcher: &mut Watcher) -> WatchSample {
        loop {
            let sample = watcher.sample(later()).unwrap();
            if sample.memory != Memory::Within || sample.memory_bytes <= watcher.limits.memory_bytes {
                return sample;
            }
        }
    }

    fn end(mut child: Child) {
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn cpu_time_of_children_is_counted_once() {
        let count = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let child = shell(&format!("sh -c '{count}'; {count}"));
        let mut watcher = watch(&child, LIMITS);
        let first = watcher.sample(later()).unwrap();
        let again = watcher.sample(later()).unwrap();
        assert!(first.cpu_us > 50_000, "{first:?}");
        assert!(again.cpu_us - first.cpu_us < 20_000, "{first:?} {again:?}");
        assert_eq!((first.tasks, first.complete), (1, true));
        end(child);
        assert_eq!(watcher.sample(later()), None);
        assert_eq!(watcher.peaks().tasks, 1);
    }

    #[test]
    fn too_much_memory_is_suspected_and_then_known() {
        let double = "x=aaaaaaaaaaaaaaaa; while [ ${#x} -lt 16777216 ]; do x=$x$x; done";
        let child = shell(double);
        let mut watcher = watch(&child, WatchLimits { memory_bytes: 12 * MIB, ..LIMITS });
        let first = look(&mut watcher);
        assert!(first.memory_bytes > 16 * MIB, "{first:?}");
        assert_eq!(first.memory, Memory::Suspected);
        assert_eq!(watcher.next_interval(&first), CONFIRM);
        assert_eq!(watcher.next_look(&first, LONGEST), CONFIRM);
        // The walk that is asked next may have begun before that.
        let looks = std::iter::repeat_with(|| {
            std::thread::sleep(CONFIRM);
            look(&mut watcher).memory
        });
        let known = looks.take(10).find(|memory| *memory != Memory::Suspected);
        assert_eq!(known, Some(Memory::Exceeded));
        assert_eq!(watch(&child, LIMITS).sample(later()).unwrap().memory, Memory::Within);
        end(child);
    }

    #[test]
    fn pages_that_are_shared_count_once_when_it_matters() {
        let double = "x=aaaaaaaaaaaaaaaa; while [ ${#x} -lt 16777216 ]; do x=$x$x; done";
        // Four children with their parent's memory: five times the sum, once the truth.
        let child = shell(&format!("{double}; exec 3<&0; for i in 1 2 3 4; do (read line <&3) & done"));
        let loose = watch(&child, LIMITS).sample(later()).unwrap().memory_bytes;
        assert!(loose > 80 * MIB, "{loose}");
        let strict = WatchLimits { memory_bytes: 60 * MIB, ..LIMITS };
        let close = look(&mut watch(&child, strict));
        assert!(close.memory_bytes <= 60 * MIB && close.memory == Memory::Within, "{close:?}");
        // Nobody is told of a limit that was passed before there was time to see that it was not.
        let mut watcher = watch(&child, strict);
        let late = watcher.sample(Instant::now()).unwrap();
        assert!(late.memory_bytes > 80 * MIB && late.memory == Memory::Within, "{late:?}");
        assert_eq!(watcher.peaks().memory_bytes, 0);
        end(child);
    }

    #[test]
    fn whoever_is_below_is_killed_and_the_root_is_not() {
        let mut child = shell("sh -c 'sleep 100 & sleep 100' & sleep 0.2");
        let watcher = watch(&child, LIMITS);
        let root = watcher.root;
        let alive = || {
            let tree = watcher.proc.tree(root, None, &watcher.tally.known());
            tree.processes.iter().filter(|stat| !stat.has_ended()).count()
        };
        assert!(alive() >= 4, "{}", alive());
        watcher.kill();
        let started = Instant::now();
        while alive() > 1 && started.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(alive(), 1);
        assert_eq!(child.try_wait().unwrap(), None);
        end(child);
    }

    #[test]
    fn scratch_space_is_memory() {
        let child = shell("");
        let limits = WatchLimits { memory_bytes: 64 * MIB, ..LIMITS };
        let mut watcher = Watcher::new(child.id(), limits, || 64 * MIB).unwrap();
        let sample = look(&mut watcher);
        assert_eq!((sample.memory, sample.disk_bytes), (Memory::Suspected, 64 * MIB));
        end(child);
    }

    #[test]
    fn the_interval_shrinks_towards_a_limit() {
        let child = shell("");
        let limits = WatchLimits { memory_bytes: 1024 * MIB, cpu_us: 1_000_000, ..LIMITS };
        let watcher = watch(&child, limits);
        let at = |memory_bytes, cpu_us| {
            let sample = WatchSample {
                cpu_us,
                memory_bytes,
                memory: Memory::Within,
                disk_bytes: 0,
                tasks: 1,
                complete: true,
                cost: Duration::ZERO,
            };
            watcher.next_interval(&sample)
        };
        assert_eq!(at(0, 0), LONGEST);
        assert!(at(900 * MIB, 0) < Duration::from_millis(20));
        assert_eq!(at(1024 * MIB, 0), SHORTEST);
        assert_eq!(at(0, 980_000), Duration::from_millis(10));
        assert_eq!(at(0, 5_000_000), SHORTEST);
        let parts = (0..100).map(|_| jittered(LONGEST)).collect::<Vec<_>>();
        assert!(parts.iter().all(|part| (LONGEST / 2..=LONGEST).contains(part)), "{parts:?}");
        assert!(parts.iter().any(|part| *part < LONGEST * 3 / 4), "{parts:?}");
        assert_eq!(limits.overshoot_bytes(), 2 * 4096 * MIB * 7 / 1000);
        end(child);
    }

    #[test]
    fn used_bytes_of_a_file_system() {
        let directory = std::fs::File::open("/proc").unwrap();
        assert_eq!(tmpfs_bytes(&directory).unwrap(), 0);
        let directory = std::fs::File::open("/dev").unwrap();
        assert!(tmpfs_bytes(&directory).is_ok());
    }
}
