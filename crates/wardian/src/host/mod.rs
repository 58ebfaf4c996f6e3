//! The host: what this machine's kernel and our rights can enforce.
//!
//! [`Host::detect`] is what a run needs to know, and costs a few system calls. Whether the layers really
//! hold is shown by doing: [`Host::examine`], which is what `wardian doctor` prints.

mod cap;
mod examination;
mod probe;
pub(crate) mod refused;

pub use cap::{Cap, CapError};
pub use examination::{EXAMINATION_SCHEMA, Examination, Finding, LandlockLevel, PythonFound, Status};
pub use refused::remedy;

use crate::limits::cgroup::{self, CgroupHost};
use rustix::process::geteuid;
use std::sync::{Arc, OnceLock};

/// What this machine's kernel and our rights can enforce.
#[derive(Clone, Debug)]
pub struct Host {
    /// As whom we run.
    pub privilege: Privilege,
    /// Landlock's ABI; 0 where there is none.
    pub landlock_abi: u32,
    /// Whether refused system calls can be observed.
    pub notify: bool,
    /// The CPUs we may use.
    pub cpus: Vec<usize>,
    /// Looked for when they are first asked about: a head start does that beside the planning.
    cgroups: Arc<OnceLock<CgroupHost>>,
    cgroup_cap: cgroup::Cap,
}

/// As whom we run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// As root: sandboxes get host ids of their own.
    Root,
    /// As an ordinary user: sandboxes run under our id.
    User,
}

impl Host {
    /// Asks the kernel the few things that every run depends on.
    pub fn detect() -> Host {
        Host::detect_with(Cap::default())
    }

    /// As [`detect`](Host::detect), of a host that is taken for less than it is.
    pub fn detect_with(cap: Cap) -> Host {
        Host {
            privilege: if geteuid().is_root() { Privilege::Root } else { Privilege::User },
            landlock_abi: landlock_abi(cap),
            notify: !cap.no_notify,
            cpus: cpus(),
            cgroups: Arc::default(),
            cgroup_cap: cap.cgroup,
        }
    }

    /// The cgroups we may use.
    pub fn cgroups(&self) -> &CgroupHost {
        self.cgroups.get_or_init(|| CgroupHost::locate(self.cgroup_cap))
    }
}

fn landlock_abi(cap: Cap) -> u32 {
    let abi = wardian_sys::landlock::abi().unwrap_or(0);
    cap.landlock.map_or(abi, |most| abi.min(most))
}

fn cpus() -> Vec<usize> {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        Err(_) => vec![0],
    }
}
