//! Who a group belongs to: its name says it, and a lock on its directory proves it.
//!
//! Neither does alone: a pid says nothing in another pid namespace, and version 1 has a lock in one hierarchy only.

use crate::limits::CgroupError;
use crate::limits::slurp::slurp;
use crate::limits::stat::Stat;
use rustix::fs::{CWD, stat};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

const PREFIX: &str = "wardian-";
/// More than `/proc/<pid>/stat` has.
const MAX_BYTES: usize = 4096;

/// A process, told apart from every other that had or will have its pid: as long as the kernel runs, and so its cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    start: u64,
    /// Inode of the pid namespace in which `pid` is its number; 0 if `/proc` shows another one's.
    namespace: u64,
}

impl Owner {
    /// Ourselves.
    pub(super) fn current() -> Result<Owner, CgroupError> {
        let (own, namespace) = ("/proc/self/stat", "/proc/self/ns/pid");
        let read_error =
            |path: &str, error: Errno| CgroupError::Read { path: PathBuf::from(path), source: error.into() };
        let text = slurp(CWD, own, MAX_BYTES, MAX_BYTES).map_err(|error| read_error(own, error))?;
        let parsed = Stat::parse(&text)
            .ok_or_else(|| CgroupError::Malformed { path: own.into(), what: "start time" })?;
        let shows_ours = u32::try_from(getpid().as_raw_nonzero().get()) == Ok(parsed.pid);
        let namespace = match shows_ours {
            true => stat(namespace).map_err(|error| read_error(namespace, error))?.st_ino,
            false => 0,
        };
        Ok(Owner { pid: parsed.pid, start: parsed.start, namespace })
    }

    /// A name for a group that this process has not used before.
    pub(super) fn next_name(&self) -> String {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}{}-{}-{}-{sequence}", self.pid, self.start, self.namespace)
    }

    /// The owner of a group of that name; `None` for names that are not ours.
    pub(super) fn of_name(name: &str) -> Option<Owner> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let owner = Owner {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            namespace: parts.next()?.parse().ok()?,
        };
        let _sequence: u64 = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(owner)
    }

    /// Whether that process runs now, as far as our `/proc` shows. What cannot be read counts as alive.
    pub(super) fn is_alive(&self) -> bool {
        match slurp(CWD, &format!("/proc/{}/stat", self.pid), MAX_BYTES, MAX_BYTES) {
            Ok(text) => Stat::parse(&text).is_none_or(|stat| stat.start == self.start && !stat.has_ended()),
            // ESRCH: it ended between opening and reading.
            Err(Errno::NOENT | Errno::SRCH) => false,
            Err(_) => true,
        }
    }

    /// Whether nobody has that pid in our own pid namespace, and it was a number of this one: what seems dead for another
    /// reason (`/proc` may hide it, a start time is another one in another time namespace) may be alive.
    pub(super) fn is_surely_dead(&self, here: &Owner) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        self.namespace != 0
            && self.namespace == here.namespace
            && pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }
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
        assert!(owner.is_alive() && !owner.is_surely_dead(&owner));
        for foreign in [
            "wardian-supervisor",
            "wardian-1-2-4026531836",
            "wardian-1-2-4026531836-4-5",
            "wardian-x-2-4026531836-4",
            "wardian--2-4026531836-4",
            "wardian-1-2-0123abcd-4",
            "docker-1-2-4026531836-4",
            "",
        ] {
            assert_eq!(Owner::of_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let here = Owner::current().unwrap();
        let reused = Owner { start: here.start + 1, ..here.clone() };
        assert!(!reused.is_alive());
        assert!(!reused.is_surely_dead(&here), "in another time namespace it may be this one");
    }

    #[test]
    fn a_pid_says_something_in_its_own_namespace_only() {
        let here = Owner::current().unwrap();
        // Above what the kernel gives.
        let nobody = Owner { pid: 1 << 23, ..here.clone() };
        assert!(!nobody.is_alive() && nobody.is_surely_dead(&here));
        let elsewhere = Owner { namespace: here.namespace + 1, ..nobody.clone() };
        let unknown = Owner { namespace: 0, ..nobody };
        assert!(!elsewhere.is_surely_dead(&here) && !unknown.is_surely_dead(&unknown));
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
        let owner = Owner { pid: child.id(), start: stat.start, ..here };
        assert!(!owner.is_alive());
        child.wait().unwrap();
    }
}
