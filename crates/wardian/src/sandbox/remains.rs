//! What there is of a sandbox when every process of it is gone: nobody needs to wait until that goes, too.

use super::zygote::Zygote;
use crate::limits::cgroup::{Cgroup, Counts};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Goes when it is dropped.
pub(crate) struct Remains {
    mounts: Option<Mounts>,
    /// With what it has counted.
    cgroup: Option<(Cgroup, Counts)>,
    /// Of a slot: its cgroup may serve another one.
    zygote: Option<Arc<Zygote>>,
}

impl Remains {
    pub(super) fn new(
        mounts: Option<Mounts>,
        cgroup: Option<(Cgroup, Counts)>,
        zygote: Option<Arc<Zygote>>,
    ) -> Remains {
        Remains { mounts, cgroup, zygote }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // First, since what its files took in memory is charged to the cgroup.
        drop(self.mounts.take());
        if let (Some((cgroup, counts)), Some(zygote)) = (self.cgroup.take(), &self.zygote) {
            zygote.keep_cgroup(cgroup, &counts);
        }
    }
}

/// Keeps a mount namespace. The last process that leaves one unmounts everything, and waits until no processor looks at
/// that any more (an RCU grace period): longer than a short program runs.
pub(super) struct Mounts {
    _namespace: OwnedFd,
}

impl Mounts {
    /// Those of a live process; none if we may not look at it, and whoever waits for its end waits longer then.
    pub(super) fn of(pid: i32) -> Option<Mounts> {
        let namespace = File::open(format!("/proc/{pid}/ns/mnt")).ok()?;
        Some(Mounts { _namespace: namespace.into() })
    }
}
