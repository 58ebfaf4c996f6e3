//! A head start: init is cloned into its namespaces while the plan is still being made.
//!
//! Making namespaces is the longest part of a start (a network namespace alone takes half a millisecond) and
//! depends on little of the plan. So another thread does it; init then waits for its plan, and for everything
//! the plan refers to, on its control socket.

use super::live::Live;
use super::{SandboxError, init};
use crate::host::Host;
use crate::limits::cgroup::{self, Cgroup, CgroupHost, CgroupLimits, Oom, Version};
use crate::plan;
use crate::policy::{OnOom, Policy};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity, sched_yield};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use wardian_sys::caps;
use wardian_sys::spawn::{self, InitSpec};

/// A thread that is starting an init. Dropping it ends that init.
#[must_use = "dropping it undoes what it does"]
pub struct HeadStart(Option<JoinHandle<Result<Begun, SandboxError>>>);

/// An init that waits for its plan.
pub(super) struct Begun {
    pub(super) init: Live,
    pub(super) control: OwnedFd,
    /// Version 2, where init is born into its group; not limited yet.
    cgroup: Option<Cgroup>,
    namespaces: u64,
}

impl HeadStart {
    /// Begins; what goes wrong is told by the run that uses it.
    pub fn begin(host: &Host) -> HeadStart {
        /// Enough for reading what cgroups there are.
        const STACK_BYTES: usize = 256 << 10;
        let host = host.clone();
        let core = sched_getcpu();
        let begin = move || {
            leave(core);
            // Where init is not born into a group, it need not wait until groups are found.
            let cgroups = cgroup::may_be_unified().then(|| host.cgroups());
            Begun::now(plan::NAMESPACES, cgroups)
        };
        let thread = std::thread::Builder::new().name("wardian-start".into()).stack_size(STACK_BYTES);
        // Without a thread there is no head start; the run then begins by itself.
        let thread = thread.spawn(begin).ok();
        // It may be queued behind us: then it is its turn to leave.
        sched_yield();
        HeadStart(thread)
    }

    /// What was begun, if it is what the plan needs.
    pub(super) fn finish(
        mut self,
        namespaces: u64,
        cgroups: &CgroupHost,
    ) -> Option<Result<Begun, SandboxError>> {
        let begun = self.0.take()?.join().ok()?;
        let has_group = |begun: &Begun| begun.cgroup.is_some() || cgroups.version() != Some(Version::V2);
        match begun {
            Ok(begun) if begun.namespaces != namespaces || !has_group(&begun) => None,
            // What could not be begun is not what this plan wants.
            Err(_) if namespaces != plan::NAMESPACES => None,
            other => Some(other),
        }
    }
}

/// Goes to another core than this one, if there is any: the kernel may well have two threads take turns on one core while
/// another is idle. Whatever cannot be done leaves everything as it is.
fn leave(core: usize) {
    if sched_getcpu() != core {
        return;
    }
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut others = allowed;
    others.unset(core);
    if others.count() > 0
        && sched_setaffinity(None, &others).is_ok()
        && sched_setaffinity(None, &allowed).is_err()
    {
        // What is allowed has changed meanwhile; of all cores the kernel takes those that are.
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
        let _ = sched_setaffinity(None, &all);
    }
}

impl Drop for HeadStart {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            drop(thread.join());
        }
    }
}

impl Begun {
    /// Starts init, in a group of its own where that is version 2; returns when it has been executed.
    pub(super) fn now(namespaces: u64, cgroups: Option<&CgroupHost>) -> Result<Begun, SandboxError> {
        Begun::with(&caps::SET_UP, namespaces, cgroups)
    }

    /// As `now`; init keeps these capabilities in its user namespace.
    pub(super) fn with(
        capabilities: &[u32],
        namespaces: u64,
        cgroups: Option<&CgroupHost>,
    ) -> Result<Begun, SandboxError> {
        let unified = cgroups.filter(|cgroups| cgroups.version() == Some(Version::V2));
        let cgroup = unified.map(|cgroups| cgroups.create(&NO_LIMITS)).transpose()?;
        let (control, inits) = packet_pair()?;
        let spec = InitSpec {
            executable: init::executable()?,
            namespaces,
            cgroup: cgroup.as_ref().and_then(Cgroup::clone_into),
            capabilities,
            control: inits.as_fd(),
        };
        // Without a pid namespace init's death would leave the others alive: it is asked to end them.
        let lifeline = (namespaces == 0).then(|| control.try_clone()).transpose();
        let lifeline = lifeline.map_err(SandboxError::at("keep the sandbox's lifeline"))?;
        let init = Live::new(spawn::start_init(&spec)?, lifeline);
        Ok(Begun { init, control, cgroup, namespaces })
    }

    /// Limits the group that init was born into, if it was, and hands it out.
    pub(super) fn take_cgroup(&mut self, limits: &CgroupLimits) -> Result<Option<Cgroup>, SandboxError> {
        let Some(mut cgroup) = self.cgroup.take() else { return Ok(None) };
        // Init must not count against the guest.
        let processes = limits.processes.map(|guests| guests + 1);
        cgroup.limit(&CgroupLimits { processes, ..*limits })?;
        Ok(Some(cgroup))
    }
}

const NO_LIMITS: CgroupLimits =
    CgroupLimits { memory_bytes: None, swap_bytes: 0, processes: None, cpus: None, oom: Oom::One };

/// A policy's limits, as a cgroup has them.
pub(super) fn limits(policy: &Policy) -> CgroupLimits {
    let limits = &policy.limits;
    CgroupLimits {
        memory_bytes: Some(limits.memory.0),
        swap_bytes: 0,
        processes: Some(u64::from(limits.processes)),
        cpus: limits.cpus,
        oom: match limits.on_oom {
            OnOom::End => Oom::End,
            OnOom::One => Oom::One,
        },
    }
}

/// Two ends of a socket that keeps messages apart.
pub(super) fn packet_pair() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(SandboxError::at("make the socket to wardian-init"))
}
