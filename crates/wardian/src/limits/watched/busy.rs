//! Who wants a processor at this moment, and how much of one there is for each.

use super::tree::{MAX_ENTRIES, MAX_FILE_BYTES, Proc};
use crate::limits::stat::Stat;

/// One processor.
pub(super) const WHOLE: u64 = 1000;
/// The most threads of one process that are asked; the others are taken to be busy.
const MAX_ASKED: usize = 256;

/// What tasks there are for how many processors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// Processors that the sandbox may use.
    pub(super) cores: u64,
    /// Tasks of others that run or wait for one of these, in thousandths.
    pub(super) others: u64,
}

impl Proc {
    /// Threads of a process that run, or wait for a processor: the kernel does not tell which.
    pub(super) fn wanting(&self, stat: &Stat) -> u64 {
        if stat.threads < 2 {
            return u64::from(stat.state == b'R');
        }
        let threads = self.numbers_in(&format!("{}/task", stat.pid), MAX_ENTRIES);
        let asked = threads.iter().take(MAX_ASKED).filter(|thread| self.thread_wants(stat.pid, **thread));
        (asked.count() + threads.len().saturating_sub(MAX_ASKED)) as u64
    }

    fn thread_wants(&self, pid: u32, thread: u32) -> bool {
        let stat = self.read(&format!("{pid}/task/{thread}/stat"), MAX_FILE_BYTES);
        stat.and_then(|text| Stat::parse(&text)).is_some_and(|stat| stat.state == b'R')
    }

    /// `ours` of all tasks that want a processor, and ourselves, are no others.
    pub(super) fn crowd(&self, cores: u32, ours: u64) -> Crowd {
        let cores = u64::from(cores.max(1));
        let all = self.read("loadavg", MAX_FILE_BYTES).and_then(|text| runnable(&text)).unwrap_or(0);
        let others = all.saturating_sub(ours.saturating_add(1));
        // They are taken to be spread over the whole machine.
        Crowd { cores, others: others.saturating_mul(WHOLE).saturating_mul(cores) / self.online.max(cores) }
    }
}

/// The fourth field of `/proc/loadavg`: tasks that want a processor, and all.
fn runnable(loadavg: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(loadavg).ok()?;
    text.split_ascii_whitespace().nth(3)?.split('/').next()?.parse().ok()
}

/// Processors that are online; 0 if that is not to be known.
pub(super) fn online() -> u64 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let length = |range: &str| -> Option<u64> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    text.trim().split(',').filter_map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn the_kernel_writes_it_so() {
        assert_eq!(runnable(b"0.20 0.18 0.12 3/480 11206\n"), Some(3));
        assert_eq!(runnable(b"0.20"), None);
        assert!(online() >= 1);
        let proc = Proc::open().unwrap();
        assert_eq!(proc.crowd(2, u64::MAX).others, 0);
        assert_eq!(proc.crowd(0, 0).cores, 1);
    }

    #[test]
    fn who_sleeps_wants_none() {
        let proc = Proc::open().unwrap();
        let wanting = |command: &str| {
            let mut child =
                Command::new("/bin/sh").args(["-c", command]).stdin(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(200));
            let wanting = proc.wanting(&proc.stat(child.id()).unwrap());
            child.kill().unwrap();
            child.wait().unwrap();
            wanting
        };
        assert_eq!(wanting("while :; do :; done"), 1);
        assert_eq!(wanting("read line"), 0);
        // This thread wants one, as it asks.
        assert!(proc.wanting(&proc.stat(std::process::id()).unwrap()) >= 1);
    }
}
