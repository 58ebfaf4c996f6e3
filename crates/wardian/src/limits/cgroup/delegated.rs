//! A delegated subtree of version 2: entered by whoever needs it first, put back by whoever leaves it last.
//!
//! A group that hands controllers down may have no processes of its own, and none can enter it: neither the shell that
//! was there before, nor a second wardian that somebody starts there. So everybody in it moves to a leaf, and when the
//! last wardian is done the controllers are taken back, everybody returns and the leaf goes.
//!
//! Every wardian at work holds a shared lock on the group's directory; who gets it alone is the last.

use super::dir::{Dir, Place};
use super::gc::names;
use crate::limits::CgroupError;
use rustix::fs::{FlockOperation, flock};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

/// Where the processes of our own group go.
pub(super) const LEAF: &str = "wardian-supervisor";
/// How often new processes may appear in a group while we empty it.
pub(super) const PASSES: usize = 8;
/// What we hand down, as it is taken back.
const OURS: [(&str, &str); 3] = [("cpu", "-cpu"), ("memory", "-memory"), ("pids", "-pids")];

/// Takes part in the use of a group; waits while somebody puts it back.
pub(super) fn enter(dir: &Dir) -> Result<OwnedFd, CgroupError> {
    let here = dir.group("");
    let shared = here.open()?;
    flock(&shared, FlockOperation::LockShared)
        .map_err(|error| CgroupError::Lock { path: here.path(), source: error.into() })?;
    Ok(shared)
}

/// Puts a group back as it was if nobody else uses it, and wardian alone has changed it.
pub(super) fn leave(dir: &Dir, shared: &OwnedFd) -> Result<(), CgroupError> {
    let (here, leaf) = (dir.group(""), dir.group(LEAF));
    if leaf.read_if_there("cgroup.procs")?.is_none()
        || flock(shared, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        return Ok(());
    }
    let on = here.read("cgroup.subtree_control")?;
    let is_ours = |name: &str| OURS.iter().any(|(ours, _)| *ours == name);
    let only_ours = on.text().split_ascii_whitespace().all(is_ours);
    // Groups of others, or of a wardian that was killed, would lose their limits.
    if !only_ours || names(dir)?.iter().any(|name| name != LEAF) {
        return Ok(());
    }
    let has = |wanted: &str| on.text().split_ascii_whitespace().any(|name| name == wanted);
    let back: Vec<&str> = OURS.iter().filter(|(name, _)| has(name)).map(|(_, back)| *back).collect();
    if !back.is_empty() {
        here.write("cgroup.subtree_control", &back.join(" "))?;
    }
    for _ in 0..PASSES {
        move_all(leaf, here)?;
        match leaf.rmdir() {
            // A process has been started there meanwhile.
            Err(rustix::io::Errno::BUSY) => {}
            Ok(()) => break,
            Err(error) => return Err(CgroupError::Remove { path: leaf.path(), source: error.into() }),
        }
    }
    Ok(())
}

/// Makes the leaf, unless it is there, and moves everybody into it.
pub(super) fn move_to_leaf(dir: &Dir) -> Result<(), CgroupError> {
    let leaf = dir.group(LEAF);
    match leaf.make() {
        Err(CgroupError::Create { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
        other => other?,
    }
    move_all(dir.group(""), leaf)
}

fn move_all(from: Place<'_>, to: Place<'_>) -> Result<(), CgroupError> {
    let path = from.path().join("cgroup.procs");
    let members = std::fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
    for pid in members.lines() {
        match to.write("cgroup.procs", pid) {
            Err(CgroupError::Write { source, .. }) if is_gone(&source) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_gone(source: &std::io::Error) -> bool {
    source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_last_to_leave_takes_controllers_back() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at(LEAF)).unwrap();
        let files = [
            ("cgroup.procs", ""),
            ("cgroup.subtree_control", "memory pids"),
            ("wardian-supervisor/cgroup.procs", "1\n"),
        ];
        for (name, content) in files {
            fs::write(at(name), content).unwrap();
        }
        let dir = Dir::open(scratch.path()).unwrap();
        let (first, second) = (enter(&dir).unwrap(), enter(&dir).unwrap());
        leave(&dir, &first).unwrap();
        let control = || fs::read_to_string(at("cgroup.subtree_control")).unwrap();
        assert_eq!(control(), "memory pids", "somebody else is there");
        drop(first);
        fs::create_dir(at("other")).unwrap();
        leave(&dir, &second).unwrap();
        assert_eq!(control(), "memory pids", "another group needs them");
        fs::remove_dir(at("other")).unwrap();
        // Here the leaf's files are real, and keep it from going.
        leave(&dir, &second).unwrap_err();
        assert_eq!(control(), "-memory -pids");
        assert_eq!(fs::read_to_string(at("cgroup.procs")).unwrap(), "1");
    }
}
