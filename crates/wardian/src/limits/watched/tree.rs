//! The processes below one process, as `/proc` shows them while they come and go.

use crate::limits::slurp::slurp;
use crate::limits::stat::Stat;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// The most processes, and the most threads, that one look takes in. `RLIMIT_NPROC` keeps a sandbox far below.
pub(super) const MAX_ENTRIES: usize = 32_768;
/// The most that is read of one list of children.
const MAX_CHILDREN_BYTES: usize = 512 << 10;
/// The most that is read of any other file; `smaps_rollup` has about 1 KiB.
pub(super) const MAX_FILE_BYTES: usize = 4096;
/// The most that is read of `status`, in which a process's groups come before its memory.
const MAX_STATUS_BYTES: usize = 1 << 20;

/// What was found at one look.
#[derive(Debug)]
pub(super) struct Tree {
    /// The root first. A process that ended while we looked may be among them or not.
    pub(super) processes: Vec<Stat>,
    /// False when there were more than are taken in.
    pub(super) complete: bool,
}

/// What a process has in memory and swap, in bytes; without what belongs to a file system in memory, which counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Resident {
    /// Its pages, those that it shares with others included.
    pub(super) pages: u64,
    /// Those of them that are no file's.
    pub(super) anonymous: u64,
    /// Its page tables, which are nobody else's.
    pub(super) tables: u64,
}

impl Resident {
    /// From `/proc/<pid>/status`, whose lines no name of a program can forge: line breaks in it are escaped.
    fn parse(status: &[u8]) -> Resident {
        let text = String::from_utf8_lossy(status);
        let bytes = |name: &str| {
            let kib = text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next());
            kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
        };
        let anonymous = bytes("RssAnon:").saturating_add(bytes("VmSwap:"));
        Resident { pages: anonymous.saturating_add(bytes("RssFile:")), anonymous, tables: bytes("VmPTE:") }
    }

    /// What is there whoever else shares it.
    pub(super) fn at_least(self) -> u64 {
        self.anonymous.saturating_add(self.tables)
    }

    pub(super) fn bytes(self) -> u64 {
        self.pages.saturating_add(self.tables)
    }
}

/// What a walk of a process's page tables came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proportion {
    /// Bytes in memory or swapped out, each shared page divided among those that share it; without what belongs to a file
    /// system in memory.
    Bytes(u64),
    /// The process has ended.
    Gone,
    /// We may not look.
    Hidden,
}

impl Proportion {
    /// From `/proc/<pid>/smaps_rollup`.
    fn parse(rollup: &[u8]) -> Option<u64> {
        let text = String::from_utf8_lossy(rollup);
        let kib = |name: &str| -> Option<u64> {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next())?.parse().ok()
        };
        let pages = kib("Pss:")?.saturating_sub(kib("Pss_Shmem:").unwrap_or(0));
        pages.checked_add(kib("SwapPss:").unwrap_or(0))?.checked_mul(1024)
    }
}

/// `/proc`, held open.
#[derive(Debug)]
pub(super) struct Proc {
    pub(super) dir: OwnedFd,
    /// Processors of the machine.
    pub(super) online: u64,
    /// Whether the kernel lists the children of a thread (`CONFIG_PROC_CHILDREN`).
    has_children: bool,
    /// The last error that says nothing of the process that was asked for, but of us; 0 if there was none.
    failed: AtomicI32,
}

impl Proc {
    pub(super) fn open() -> Result<Proc, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open("/proc", flags, Mode::empty())?;
        let mut proc =
            Proc { dir, online: super::busy::online(), has_children: true, failed: AtomicI32::new(0) };
        proc.has_children = proc.read("thread-self/children", MAX_CHILDREN_BYTES).is_some();
        Ok(proc)
    }

    #[cfg(test)]
    pub(super) fn without_children(self) -> Proc {
        Proc { has_children: false, ..self }
    }

    /// The file's content, `None` when it or its process is gone or hidden.
    pub(super) fn read(&self, file: &str, most: usize) -> Option<Vec<u8>> {
        self.note(slurp(&self.dir, file, MAX_FILE_BYTES, most)).ok()
    }

    fn note<T>(&self, answer: Result<T, Errno>) -> Result<T, Errno> {
        if let Err(error) = &answer
            && !matches!(*error, Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM)
        {
            self.failed.store(error.raw_os_error(), Ordering::Relaxed);
        }
        answer
    }

    /// Whether something could not be read since [`Proc::take_failure`] was called.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) != 0
    }

    /// Why something could not be read since this was last asked (no descriptors, no memory): who then looks gone may be
    /// there.
    pub(super) fn take_failure(&self) -> Option<Errno> {
        match self.failed.swap(0, Ordering::Relaxed) {
            0 => None,
            error => Some(Errno::from_raw_os_error(error)),
        }
    }

    pub(super) fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::parse(&self.read(&format!("{pid}/stat"), MAX_FILE_BYTES)?)
    }

    /// Time on a CPU of the thread that gave a process its pid, in nanoseconds.
    pub(super) fn ran_ns(&self, pid: u32) -> Option<u64> {
        first_number(&self.read(&format!("{pid}/schedstat"), MAX_FILE_BYTES)?)
    }

    /// What a process has in memory.
    pub(super) fn resident(&self, stat: &Stat) -> Resident {
        self.of_live_thread(stat, |thread| {
            Some(Resident::parse(&self.read(&format!("{thread}/status"), MAX_STATUS_BYTES)?))
        })
        .unwrap_or_default()
    }

    /// Walks all page tables of a process, and waits for whoever changes its mappings.
    pub(super) fn proportion(&self, stat: &Stat) -> Proportion {
        let rollup = |thread: &str| self.read(&format!("{thread}/smaps_rollup"), MAX_FILE_BYTES);
        match self.of_live_thread(stat, |thread| Proportion::parse(&rollup(thread)?)) {
            Some(bytes) => Proportion::Bytes(bytes),
            None if self.is_there(stat) => Proportion::Hidden,
            None => Proportion::Gone,
        }
    }

    /// Whether a process has not ended, nor ends: then it has given its memory back.
    pub(super) fn is_there(&self, stat: &Stat) -> bool {
        let now = self.stat(stat.pid).filter(|now| now.start == stat.start);
        now.is_some_and(|now| self.resident(&now) != Resident::default())
    }

    /// A process whose first thread has ended shows no memory under its own pid, while its other threads may
    /// hold any amount: those are asked.
    fn of_live_thread<T: Ord + Default>(&self, stat: &Stat, ask: impl Fn(&str) -> Option<T>) -> Option<T> {
        if !stat.has_ended() {
            return ask(&stat.pid.to_string());
        }
        if stat.threads < 2 {
            return Some(T::default());
        }
        let threads = self.numbers_in(&format!("{}/task", stat.pid), MAX_ENTRIES);
        threads.iter().filter_map(|thread| ask(&format!("{}/task/{thread}", stat.pid))).max()
    }

    /// The names in a directory that are numbers; none if it is gone or closed to us.
    pub(super) fn numbers_in(&self, directory: &str, most: usize) -> Vec<u32> {
        self.list(directory, most).unwrap_or_default()
    }

    pub(super) fn list(&self, directory: &str, most: usize) -> Result<Vec<u32>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut numbers = Vec::new();
        let fd = self.note(openat(&self.dir, directory, flags, Mode::empty()))?;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&fd, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            if let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
                numbers.push(number);
                if numbers.len() > most {
                    break;
                }
            }
        }
        Ok(numbers)
    }

    /// Processes and threads of one user.
    pub(super) fn tasks_of(&self, uid: u32) -> u64 {
        let is_theirs = |pid: &u32| {
            let stat = rustix::fs::statat(&self.dir, pid.to_string(), AtFlags::empty());
            stat.is_ok_and(|stat| stat.st_uid == uid)
        };
        let pids = self.numbers_in(".", MAX_ENTRIES).into_iter().filter(is_theirs);
        pids.filter_map(|pid| self.stat(pid)).map(|stat| stat.threads.max(1)).sum()
    }

    /// All processes below `root` and below `beside`, and those of `known` that still are the same.
    ///
    /// Lists of children may miss one while another ends, and a process that loses its parent moves to another
    /// list. What was in the tree once never leaves it alive (the root is pid 1 of its namespace), so what was
    /// known is asked for by its pid.
    pub(super) fn tree(&self, root: Stat, beside: Option<Stat>, known: &HashMap<u32, u64>) -> Tree {
        let roots = || std::iter::once(root).chain(beside);
        let mut found = if self.has_children { self.descend(roots()) } else { self.scan(roots()) };
        let seen: HashSet<u32> = found.processes.iter().map(|stat| stat.pid).collect();
        for (pid, start) in known.iter().filter(|(pid, _)| !seen.contains(pid)) {
            if found.processes.len() >= MAX_ENTRIES {
                found.complete = false;
                break;
            }
            found.processes.extend(self.stat(*pid).filter(|stat| stat.start == *start));
        }
        found
    }

    fn descend(&self, roots: impl Iterator<Item = Stat>) -> Tree {
        let mut tree = Tree { processes: roots.collect(), complete: true };
        let mut seen: HashSet<u32> = tree.processes.iter().map(|stat| stat.pid).collect();
        let mut threads = 0;
        let mut next = 0;
        while let Some(stat) = tree.processes.get(next).copied() {
            next += 1;
            for child in self.children(&stat, &mut threads) {
                if tree.processes.len() >= MAX_ENTRIES || threads > MAX_ENTRIES {
                    tree.complete = false;
                    return tree;
                }
                // A pid that was reused meanwhile has a parent outside the tree.
                let is_ours = |stat: &Stat| seen.contains(&stat.parent);
                if !seen.contains(&child)
                    && let Some(stat) = self.stat(child).filter(is_ours)
                {
                    seen.insert(child);
                    tree.processes.push(stat);
                }
            }
        }
        tree
    }

    /// The children of all threads of a process: each thread has a list of its own.
    fn children(&self, stat: &Stat, threads: &mut usize) -> Vec<u32> {
        let list =
            |thread: u32| self.read(&format!("{}/task/{thread}/children", stat.pid), MAX_CHILDREN_BYTES);
        let tids = if stat.threads < 2 {
            vec![stat.pid]
        } else {
            self.numbers_in(&format!("{}/task", stat.pid), MAX_ENTRIES)
        };
        *threads += tids.len();
        let lists = tids.into_iter().filter_map(list);
        lists.flat_map(|list| numbers(&list)).collect()
    }

    /// Without lists of children, every process of the machine is asked for its parent.
    fn scan(&self, roots: impl Iterator<Item = Stat>) -> Tree {
        let pids = self.numbers_in(".", MAX_ENTRIES);
        let complete = pids.len() <= MAX_ENTRIES;
        let mut by_parent: HashMap<u32, Vec<Stat>> = HashMap::new();
        for stat in pids.into_iter().filter_map(|pid| self.stat(pid)) {
            by_parent.entry(stat.parent).or_default().push(stat);
        }
        let mut tree = Tree { processes: roots.collect(), complete };
        let mut next = 0;
        while let Some(stat) = tree.processes.get(next) {
            // Removed: the pids of a tree that changes meanwhile could form a ring.
            let children = by_parent.remove(&stat.pid).unwrap_or_default();
            tree.processes.extend(children);
            next += 1;
        }
        tree
    }
}

fn first_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

fn numbers(list: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(list);
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    #[test]
    fn grandchildren_are_found_both_ways() {
        // The inner shell gives itself a name that looks like the end of its own line.
        let script =
            "sh -c 'printf \") Z 1 1\\n\" > /proc/$$/comm; sleep 100 & sleep 100 & echo; wait' & wait";
        let mut shell = Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let proc = Proc::open().unwrap();
        let root = proc.stat(shell.id()).unwrap();
        let mut descended = proc.tree(root, None, &HashMap::new());
        let mut scanned = proc.without_children().tree(root, None, &HashMap::new());
        descended.processes.sort_by_key(|stat| stat.pid);
        scanned.processes.sort_by_key(|stat| stat.pid);
        let pids = |tree: &Tree| tree.processes.iter().map(|stat| stat.pid).collect::<Vec<_>>();
        assert_eq!(pids(&descended), pids(&scanned));
        assert_eq!(descended.processes.len(), 4);
        assert!(descended.complete && scanned.complete);
        assert!(descended.processes.iter().all(|stat| !stat.has_ended()));
        for stat in descended.processes.iter().filter(|stat| stat.pid != shell.id()) {
            let pid = i32::try_from(stat.pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.kill().unwrap();
        shell.wait().unwrap();
    }

    #[test]
    fn what_was_known_and_is_another_now_is_left_out() {
        let proc = Proc::open().unwrap();
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let root = proc.stat(child.id()).unwrap();
        let here = proc.stat(std::process::id()).unwrap();
        let with = |start| proc.tree(root, None, &HashMap::from([(here.pid, start)])).processes.len();
        assert_eq!(with(here.start), 2, "the same process is asked for by its pid");
        assert_eq!(with(here.start + 1), 1);
        child.kill().unwrap();
        let zombie = loop {
            let stat = proc.stat(child.id()).unwrap();
            if stat.has_ended() {
                break stat;
            }
        };
        assert_eq!(proc.resident(&zombie), Resident::default());
        child.wait().unwrap();
        assert_eq!(proc.stat(child.id()).filter(|stat| stat.start == root.start), None);
    }

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let proc = Proc::open().unwrap();
        let own = proc.stat(std::process::id()).unwrap();
        let Resident { pages, anonymous, tables } = proc.resident(&own);
        let Proportion::Bytes(proportional) = proc.proportion(&own) else { panic!("it cannot be read") };
        assert!(proportional > 0 && proportional < pages * 2, "{proportional} {pages}");
        assert!(tables > 0 && tables < pages, "{tables} {pages}");
        assert!(anonymous > 0 && anonymous < pages, "{anonymous} {pages}");
        assert!(proc.is_there(&own) && !proc.is_there(&Stat { start: own.start + 1, ..own }));
        assert!(proc.ran_ns(own.pid).is_some());
    }

    #[test]
    fn what_is_swapped_out_counts() {
        let status = b"VmRSS:\t  175 kB\nRssAnon:\t   80 kB\nRssFile:\t   20 kB\nRssShmem:\t   75 kB\nVmPTE:\t 8 kB\nVmSwap:\t  50 kB\n";
        let resident = Resident { pages: 150 << 10, anonymous: 130 << 10, tables: 8 << 10 };
        assert_eq!(Resident::parse(status), resident);
        let rollup =
            b"00400000-7ffc0000 ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss: 120 kB\nPss_Dirty: 9 kB\n\
            Pss_Anon: 50 kB\nPss_File: 10 kB\nPss_Shmem: 60 kB\nSwapPss: 5 kB\n";
        assert_eq!(Proportion::parse(rollup), Some(65 << 10));
    }

    #[test]
    fn that_we_cannot_look_is_not_that_nobody_is_there() {
        let proc = Proc::open().unwrap();
        assert_eq!(proc.stat(u32::MAX), None);
        assert_eq!(proc.take_failure(), None);
        // `/proc` itself can be opened and not read.
        assert_eq!(proc.read(".", 10), None);
        assert_eq!(proc.take_failure(), Some(Errno::ISDIR));
        assert_eq!(proc.take_failure(), None);
    }

    #[test]
    fn threads_without_their_first_one_cannot_hide_memory() {
        let code = "import ctypes, threading, time\n\
                    def hold():\n  held = b'x' * (64 << 20)\n  print(flush=True)\n  time.sleep(100)\n\
                    threading.Thread(target=hold).start()\n\
                    ctypes.CDLL(None).pthread_exit(0)";
        let Ok(mut child) = Command::new("python3").args(["-c", code]).stdout(Stdio::piped()).spawn() else {
            println!("SKIP: there is no python3");
            return;
        };
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let proc = Proc::open().unwrap();
        let started = Instant::now();
        let stat = loop {
            let stat = proc.stat(child.id()).unwrap();
            if stat.has_ended() || started.elapsed().as_secs() > 10 {
                break stat;
            }
        };
        let resident = proc.resident(&stat).pages;
        let proportional = proc.proportion(&stat);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(stat.has_ended() && stat.threads == 2, "{stat:?}");
        assert!(resident > 64 << 20, "{resident}");
        assert!(matches!(proportional, Proportion::Bytes(65_000_000..)), "{proportional:?}");
    }
}
