//! What holds data that belongs to no process: sockets and pipes.

use super::tree::{MAX_ENTRIES, MAX_FILE_BYTES, Proc};
use crate::limits::stat::Stat;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::HashSet;
use std::time::Instant;
use wardian_sys::process::{Common, have_in_common};

/// What processes hold, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) sockets: u64,
    pub(super) pipes: u64,
    /// Descriptors that cannot be looked at, whatever they are.
    pub(super) unknown: u64,
}

impl Proc {
    /// The sockets of the network namespace that a process is in. Those that no descriptor leads to count too, as long as
    /// they hold memory: not accepted yet, on their way to another process, closed with their data in another's queue.
    /// `None` where the kernel does not say.
    pub(super) fn sockets_of_network(&self, pid: u32) -> Option<u64> {
        let text = self.read(&format!("{pid}/net/sockstat"), MAX_FILE_BYTES)?;
        let text = String::from_utf8_lossy(&text);
        text.lines().find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse().ok())
    }

    /// How many descriptors a process holds; `most` where that cannot be seen.
    pub(super) fn descriptors(&self, stat: &Stat, most: u64) -> u64 {
        self.descriptor_tables(stat).iter().map(|directory| self.descriptors_in(directory, most)).sum()
    }

    fn descriptors_in(&self, directory: &str, most: u64) -> u64 {
        let size = rustix::fs::statat(&self.dir, directory, AtFlags::empty()).map(|stat| stat.st_size);
        match size.map(u64::try_from) {
            Err(error) if is_gone(error) => 0,
            Err(_) => self.unless_ending(directory, most),
            Ok(Ok(size)) if size > 0 => size,
            // Before Linux 6.2 the directory does not say.
            Ok(_) => match self.list(directory, MAX_ENTRIES) {
                Ok(numbers) => numbers.len() as u64,
                Err(error) if is_gone(error) => 0,
                Err(_) => self.unless_ending(directory, most),
            },
        }
    }

    /// A process that has given its memory back at its end is closed to us for the moment in which it closes its
    /// descriptors, too.
    fn unless_ending(&self, directory: &str, count: u64) -> u64 {
        let statm = self.read(&directory.replace("/fd", "/statm"), MAX_FILE_BYTES);
        if statm.is_none_or(|text| text.starts_with(b"0 ")) { 0 } else { count }
    }

    /// The sockets and pipes that processes hold; `None` if that is not known by `until`.
    ///
    /// A process that executes a program which it may not read closes its descriptors to us, not their number.
    pub(super) fn queues<'a>(
        &self,
        processes: impl Iterator<Item = &'a Stat>,
        most: u64,
        until: Instant,
    ) -> Option<Queues> {
        let mut seen = HashSet::new();
        let mut queues = Queues::default();
        for directory in processes.flat_map(|stat| self.descriptor_tables(stat)) {
            if Instant::now() >= until {
                return None;
            }
            match self.list(&directory, MAX_ENTRIES) {
                Ok(numbers) => self.add_queues(&directory, &numbers, &mut seen, &mut queues),
                Err(error) if is_gone(error) => {}
                Err(_) => {
                    queues.unknown += self.unless_ending(&directory, self.descriptors_in(&directory, most));
                }
            }
        }
        Some(queues)
    }

    fn add_queues(
        &self,
        directory: &str,
        numbers: &[u32],
        seen: &mut HashSet<std::ffi::CString>,
        queues: &mut Queues,
    ) {
        for number in numbers {
            let link = rustix::fs::readlinkat(&self.dir, format!("{directory}/{number}"), Vec::new());
            let link = match link {
                Ok(link) => link,
                Err(error) if is_gone(error) => continue,
                Err(_) => {
                    queues.unknown += self.unless_ending(directory, 1);
                    continue;
                }
            };
            let kind = match link.as_bytes() {
                [b's', b'o', b'c', b'k', b'e', b't', b':', ..] => &mut queues.sockets,
                [b'p', b'i', b'p', b'e', b':', ..] => &mut queues.pipes,
                _ => continue,
            };
            if seen.insert(link) {
                *kind += 1;
            }
        }
    }

    /// A thread may have descriptors of its own.
    fn descriptor_tables(&self, stat: &Stat) -> Vec<String> {
        if stat.threads < 2 {
            return vec![format!("{}/fd", stat.pid)];
        }
        let first = stat.pid.cast_signed();
        let has_its_own = |thread: &u32| {
            let same = have_in_common(first, thread.cast_signed(), Common::Descriptors);
            *thread == stat.pid || same != Ok(true)
        };
        let threads = self.numbers_in(&format!("{}/task", stat.pid), MAX_ENTRIES);
        let threads = threads.iter().filter(|thread| has_its_own(thread));
        threads.map(|thread| format!("{}/task/{thread}/fd", stat.pid)).collect()
    }
}

/// Whether an error says that a process, or its descriptor, is there no more.
fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    fn python(code: &str) -> Option<Child> {
        let mut command = Command::new("python3");
        let child = command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok();
        if child.is_none() {
            println!("SKIP: there is no python3");
        }
        child
    }

    fn hear(child: &mut Child) {
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }

    #[test]
    fn sockets_and_pipes_are_found_once_each() {
        let proc = Proc::open().unwrap();
        // Both processes hold the same pipe and the same two sockets.
        let code = "import os, socket, sys, time\n\
                    print(flush=True)\n\
                    sys.stdin.readline()\n\
                    held = os.pipe(), socket.socketpair()\n\
                    if os.fork() == 0: time.sleep(100)\n\
                    print(flush=True)\n\
                    time.sleep(100)";
        let Some(mut child) = python(code) else { return };
        let soon = Instant::now() + std::time::Duration::from_secs(60);
        let look = |child: &mut Child| {
            hear(child);
            let tree = proc.tree(proc.stat(child.id()).unwrap(), None, &HashMap::new());
            let held: u64 = tree.processes.iter().map(|stat| proc.descriptors(stat, 1000)).sum();
            let late = proc.queues(tree.processes.iter(), 1000, Instant::now());
            assert_eq!(late, None);
            let queues = proc.queues(tree.processes.iter(), 1000, soon).unwrap();
            (tree, held, queues)
        };
        let (_, held_before, before) = look(&mut child);
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\n").unwrap();
        let (tree, held, queues) = look(&mut child);
        for stat in tree.processes.iter().filter(|stat| stat.pid != child.id()) {
            let pid = i32::try_from(stat.pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((queues.sockets, queues.pipes), (before.sockets + 2, before.pipes + 1));
        assert_eq!(held, 2 * (held_before + 4));
        assert_eq!(queues.unknown, 0);
    }

    #[test]
    fn descriptors_that_cannot_be_looked_at_are_counted() {
        if rustix::process::geteuid().is_root() {
            println!("SKIP: root may look at everybody's");
            return;
        }
        // Undumpable, as after executing a file without read permission.
        let code = "import ctypes, os, socket, time\n\
                    held = [socket.socketpair() for _ in range(20)]\n\
                    ctypes.CDLL(None).prctl(4, 0)\n\
                    print(flush=True)\n\
                    time.sleep(100)";
        let Some(mut child) = python(code) else { return };
        hear(&mut child);
        let proc = Proc::open().unwrap();
        let stat = proc.stat(child.id()).unwrap();
        let soon = Instant::now() + std::time::Duration::from_secs(60);
        let (held, queues) = (proc.descriptors(&stat, 1000), proc.queues([&stat].into_iter(), 1000, soon));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((43..=1000).contains(&held), "{held}");
        assert_eq!(queues, Some(Queues { unknown: held, ..Queues::default() }));
    }

    #[test]
    fn sockets_count_by_their_network() {
        let proc = Proc::open().unwrap();
        let before = proc.sockets_of_network(std::process::id()).unwrap();
        let pairs: Vec<_> = (0..500).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
        let after = proc.sockets_of_network(std::process::id()).unwrap();
        drop(pairs);
        // Others may come and go meanwhile.
        assert!(after >= before + 800, "{before} {after}");
    }
}
