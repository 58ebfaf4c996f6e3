//! Who a group belongs to: its name says it, and a lock on its directory proves it.

use crate::limits::CgroupError;
use crate::limits::slurp::slurp;
use crate::limits::stat::Stat;
use rustix::fs::CWD;
use rustix::io::Errno;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

const PREFIX: &str = "wardian-";
/// More than `stat` and `boot_id` have.
const MAX_BYTES: usize = 4096;

/// A process, told apart from every other that had or will have its pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    start: u64,
    boot: String,
}

impl Owner {
    /// Ourselves.
    pub(super) fn current() -> Result<Owner, CgroupError> {
        let stat = "/proc/self/stat";
        let boot = "/proc/sys/kernel/random/boot_id";
        let text = read(stat)?;
        let parsed = Stat::parse(&text)
            .ok_or_else(|| CgroupError::Malformed { path: stat.into(), what: "start time" })?;
        let id = read(boot)?;
        let id = id
            .get(..8)
            .and_then(|id| std::str::from_utf8(id).ok())
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or_else(|| CgroupError::Malformed { path: boot.into(), what: "boot id" })?;
        Ok(Owner { pid: parsed.pid, start: parsed.start, boot: id.to_owned() })
    }

    /// A name for a group that this process has not used before.
    pub(super) fn next_name(&self) -> String {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{}-{}-{}-{sequence}", self.pid, self.start, self.boot)
    }

    /// The owner of a group of that name; `None` for names that are not ours.
    pub(super) fn of_name(name: &str) -> Option<Owner> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let owner = Owner {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            boot: parts.next().filter(|boot| boot.len() == 8)?.to_owned(),
        };
        let _sequence: u64 = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(owner)
    }

    /// Whether that process runs now, as far as our `/proc` shows. What cannot be read counts as alive.
    pub(super) fn is_alive(&self, current_boot: &Owner) -> bool {
        if self.boot != current_boot.boot {
            return false;
        }
        match slurp(CWD, &format!("/proc/{}/stat", self.pid), MAX_BYTES, MAX_BYTES) {
            Ok(text) => Stat::parse(&text).is_none_or(|stat| stat.start == self.start && !stat.has_ended()),
            // ESRCH: it ended between opening and reading.
            Err(Errno::NOENT | Errno::SRCH) => false,
            Err(_) => true,
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, CgroupError> {
    slurp(CWD, path, MAX_BYTES, MAX_BYTES)
        .map_err(|error| CgroupError::Read { path: PathBuf::from(path), source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_they_are() {
        let owner = Owner::current().unwrap();
        let (one, two) = (owner.next_name(), owner.next_name());
        assert_ne!(one, two);
        assert_eq!(Owner::of_name(&one), Some(owner.clone()));
        assert!(owner.is_alive(&owner));
        for foreign in [
            "wardian-supervisor",
            "wardian-1-2-0123abcd",
            "wardian-1-2-0123abcd-4-5",
            "wardian-x-2-0123abcd-4",
            "wardian--2-0123abcd-4",
            "docker-1-2-0123abcd-4",
            "",
        ] {
            assert_eq!(Owner::of_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let here = Owner::current().unwrap();
        assert!(!Owner { start: here.start + 1, ..here.clone() }.is_alive(&here));
        assert!(!Owner { boot: "00000000".into(), ..here.clone() }.is_alive(&here));
        assert!(!Owner { pid: u32::MAX, ..here.clone() }.is_alive(&here));
    }

    #[test]
    fn a_zombie_owns_nothing() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let path = format!("/proc/{}/stat", child.id());
        let started = std::time::Instant::now();
        let stat = loop {
            let stat = Stat::parse(&std::fs::read(&path).unwrap()).unwrap();
            if stat.has_ended() || started.elapsed().as_secs() > 10 {
                break stat;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        };
        let here = Owner::current().unwrap();
        let owner = Owner { pid: child.id(), start: stat.start, boot: here.boot.clone() };
        assert!(!owner.is_alive(&here));
        child.wait().unwrap();
    }
}
