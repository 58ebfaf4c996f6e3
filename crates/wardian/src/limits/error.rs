//! Why a cgroup cannot be found, made, read or removed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What went wrong with a cgroup; the text names the step, the file and the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A file or directory cannot be opened.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// What was opened.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file does not take a value.
    #[error("cannot write {value} to {}: {source}", path.display())]
    Write {
        /// What was written.
        value: String,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group cannot be made.
    #[error("cannot create cgroup {}: {source}", path.display())]
    Create {
        /// The group's directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group cannot be marked as ours.
    #[error("cannot lock cgroup {}: {source}", path.display())]
    Lock {
        /// The group's directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group does not go away.
    #[error("cannot remove cgroup {}: {source}", path.display())]
    Remove {
        /// The group's directory.
        path: PathBuf,
        /// The kernel's answer: `EBUSY` while a process lives in it.
        source: io::Error,
    },
    /// The kernel does not tell us when memory runs out.
    #[error("cannot watch {}: {source}", path.display())]
    Watch {
        /// The file to be watched.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("cannot understand {}: it has no {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// The group that we are in has no such controller.
    #[error("cannot use cgroup controller `{controller}`: {} does not have it", path.display())]
    NoController {
        /// `memory`, `pids`, `cpu` or `cpuacct`.
        controller: &'static str,
        /// The group that we are in, or `/proc/self/cgroup` where it is in no hierarchy at all.
        path: PathBuf,
    },
    /// No mount shows the group that we are in.
    #[error("cannot find a cgroup {version} file system: no mount shows our own group")]
    NotMounted {
        /// `v1` or `v2`.
        version: &'static str,
    },
    /// The caller did not want cgroups.
    #[error("cgroup {version} is switched off")]
    Capped {
        /// `v1` or `v2`.
        version: &'static str,
    },
    /// Neither version can be used.
    #[error("no usable cgroup: v2: {v2}; v1: {v1}")]
    Neither {
        /// Why not version 2.
        v2: Box<CgroupError>,
        /// Why not version 1.
        v1: Box<CgroupError>,
    },
    /// There is no usable cgroup, as was found out before.
    #[error(transparent)]
    Unusable(Arc<CgroupError>),
    /// A limit that no kernel can enforce.
    #[error("cannot limit {what} to {value}: it must be {must}")]
    BadLimit {
        /// What was to be limited.
        what: &'static str,
        /// To what.
        value: String,
        /// What it must be.
        must: &'static str,
    },
}

const DELEGATE: &str = "ask systemd for a cgroup of your own: `systemd-run --user --scope -p Delegate=yes \
                        wardian …`, or `Delegate=yes` under [Service] in the unit";
const CONTAINER: &str = "the container's cgroup file system cannot be written: start the container with its own \
                         cgroup namespace (`--cgroupns=private`) and /sys/fs/cgroup mounted rw";

/// A systemd of the user's own hands nothing of version 1 down.
const VERSION_1: &str = "the controllers here are those of cgroup v1, which systemd hands to no user: boot with \
                         systemd.unified_cgroup_hierarchy=1, or let root make a group in each and give it to this user";

impl CgroupError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CgroupError::Open { source, .. }
            | CgroupError::Create { source, .. }
            | CgroupError::Lock { source, .. }
            | CgroupError::Write { source, .. } => write_hint(source),
            CgroupError::NoController { .. } => Some(DELEGATE.into()),
            CgroupError::NotMounted { .. } => Some(CONTAINER.into()),
            CgroupError::Remove { path, .. } => {
                Some(format!("see which processes are in {}/cgroup.procs, then `wardian gc`", path.display()))
            }
            CgroupError::Neither { v2, v1 } => match **v1 {
                CgroupError::NotMounted { .. } | CgroupError::Capped { .. } => v2.hint(),
                CgroupError::Create { ref source, .. } if is_refused_to_a_user(source) => {
                    Some(VERSION_1.into())
                }
                _ => v1.hint(),
            },
            CgroupError::Unusable(reason) => reason.hint(),
            _ => None,
        }
    }
}

fn is_refused_to_a_user(source: &io::Error) -> bool {
    source.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root()
}

fn write_hint(source: &io::Error) -> Option<String> {
    use io::ErrorKind as Kind;
    match source.kind() {
        Kind::PermissionDenied if rustix::process::geteuid().is_root() => Some(CONTAINER.into()),
        Kind::PermissionDenied => Some(DELEGATE.into()),
        Kind::ReadOnlyFilesystem => Some(CONTAINER.into()),
        Kind::ResourceBusy => {
            Some(format!("other processes share our cgroup and cannot be moved; {DELEGATE}"))
        }
        Kind::InvalidInput => Some("a group above ours may allow less: give wardian a smaller limit".into()),
        Kind::StorageFull | Kind::WouldBlock => {
            Some("there are too many cgroups: `wardian gc` removes those that a killed wardian left".into())
        }
        _ => crate::host::remedy(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(errno: rustix::io::Errno) -> CgroupError {
        CgroupError::Write {
            value: "4096".into(),
            path: "/sys/fs/cgroup/x/memory.max".into(),
            source: errno.into(),
        }
    }

    #[test]
    fn errors_say_step_object_and_cause() {
        let text = write(rustix::io::Errno::ACCESS).to_string();
        assert_eq!(text, "cannot write 4096 to /sys/fs/cgroup/x/memory.max: Permission denied (os error 13)");
    }

    #[test]
    fn the_reason_that_matters_gives_the_hint() {
        let neither =
            |v1| CgroupError::Neither { v2: Box::new(write(rustix::io::Errno::BUSY)), v1: Box::new(v1) };
        let only_v2 = neither(CgroupError::NotMounted { version: "v1" });
        assert!(only_v2.hint().unwrap().starts_with("other processes share our cgroup"));
        let unusable = CgroupError::Unusable(Arc::new(neither(write(rustix::io::Errno::ROFS))));
        assert!(unusable.hint().unwrap().contains("--cgroupns=private"));
        assert!(unusable.to_string().starts_with("no usable cgroup: v2: cannot write 4096"));
        assert!(write(rustix::io::Errno::IO).hint().is_none());
    }
}
