//! An init that has been started: it makes its namespaces, waits for the plan's first half and executes it.

use super::error::OPEN_TREE;
use super::handover::{Half, packet_pair};
use super::ids::{self, IdLease};
use super::live::Live;
use super::{SandboxError, init, owner};
use crate::limits::cgroup::{Cgroup, CgroupHost, CgroupLimits, Oom, Version};
use crate::plan::{HostTree, RootPlan, Steps};
use crate::policy::{Identity, Network, OnOom, Policy};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use wardian_init::{Opening, STEPS, Seat};
use wardian_sys::spawn::{self, InitSpec};
use wardian_sys::{caps, clone};

/// An init that waits for the plan, or for the rest of it.
pub(super) struct Begun {
    pub(super) init: Live,
    pub(super) control: OwnedFd,
    /// Version 2, where init is born into its group; not limited yet.
    cgroup: Option<Cgroup>,
    namespaces: u64,
    set_up: Option<SetUp>,
}

/// What came of sending the plan's first half.
pub(super) struct SetUp {
    /// Whose plan's.
    steps: Arc<Steps>,
    pub(super) ids: Option<IdLease>,
    /// The first seat of the second half.
    pub(super) next: Seat,
}

impl Begun {
    /// Starts init, in a group of its own where that is version 2; returns while it is still being executed, and entering
    /// its namespaces.
    pub(super) fn now(namespaces: u64, cgroups: Option<&CgroupHost>) -> Result<Begun, SandboxError> {
        let own_rights = namespaces & clone::NEWUSER != 0;
        Begun::begin(&caps::SET_UP, own_rights, namespaces, cgroups)
    }

    /// Starts an init that keeps these capabilities in its user namespace; returns when it has been executed, or killed.
    pub(super) fn with(
        capabilities: &[u32],
        namespaces: u64,
        cgroups: Option<&CgroupHost>,
    ) -> Result<Begun, SandboxError> {
        let mut begun = Begun::begin(capabilities, false, namespaces, cgroups)?;
        begun.init.wait_until_executed()?;
        Ok(begun)
    }

    fn begin(
        capabilities: &[u32],
        locks_down: bool,
        namespaces: u64,
        cgroups: Option<&CgroupHost>,
    ) -> Result<Begun, SandboxError> {
        let unified = cgroups.filter(|cgroups| cgroups.version() == Some(Version::V2));
        let cgroup = unified.map(|cgroups| cgroups.create(&NO_LIMITS)).transpose()?;
        let (control, inits) = packet_pair()?;
        let born_into = namespaces & (clone::NEWUSER | clone::NEWPID);
        let opening = Opening { namespaces: namespaces & !born_into, locks_down };
        rustix::io::write(&control, &opening.encode())
            .map_err(SandboxError::at("tell wardian-init its namespaces"))?;
        let spec = InitSpec {
            executable: init::executable()?,
            namespaces: born_into,
            cgroup: cgroup.as_ref().and_then(Cgroup::clone_into),
            capabilities,
            control: inits.as_fd(),
        };
        // Without a pid namespace init's death would leave the others alive: it is asked to end them.
        let lifeline = (namespaces == 0).then(|| control.try_clone()).transpose();
        let lifeline = lifeline.map_err(SandboxError::at("keep the sandbox's lifeline"))?;
        let init = Live::new(spawn::start_init(&spec)?, lifeline);
        Ok(Begun { init, control, cgroup, namespaces, set_up: None })
    }

    /// Whether it is an init for this plan, or can still be one.
    pub(super) fn suits(&self, root: &RootPlan) -> bool {
        self.namespaces == root.namespaces
            && self.set_up.as_ref().is_none_or(|set_up| Arc::ptr_eq(&set_up.steps, &root.steps))
    }

    /// Whether it was born into a group, if it had to be.
    pub(super) fn has_group(&self, cgroups: &CgroupHost) -> bool {
        self.cgroup.is_some() || cgroups.version() != Some(Version::V2)
    }

    /// Has the plan's first half executed.
    pub(super) fn set_up(&mut self, root: &RootPlan, identity: &Identity) -> Result<(), SandboxError> {
        self.set_up = Some(self.sent_root(root, identity)?);
        Ok(())
    }

    /// What came of that; if it has not been asked for yet, it is now.
    pub(super) fn take_set_up(
        &mut self,
        root: &RootPlan,
        identity: &Identity,
    ) -> Result<SetUp, SandboxError> {
        match self.set_up.take() {
            Some(set_up) => Ok(set_up),
            None => self.sent_root(root, identity),
        }
    }

    fn sent_root(&mut self, root: &RootPlan, identity: &Identity) -> Result<SetUp, SandboxError> {
        let ids = if root.own_ids {
            let (first, count) = identity.uid_range;
            Some(ids::lease(first, count, 1)?)
        } else {
            None
        };
        // Whoever is mapped to user 0 while it executes something has all rights afterwards.
        self.init.wait_until_executed()?;
        if self.namespaces != 0 {
            map_ids(self.init.pid(), identity, ids.as_ref())?;
        }
        let next = self.send_root(root, ids.as_ref().map(|ids| ids.guest))?;
        Ok(SetUp { steps: Arc::clone(&root.steps), ids, next })
    }

    /// Sends the plan's first half; answers the first seat of the second.
    pub(super) fn send_root(&self, root: &RootPlan, guest: Option<u32>) -> Result<Seat, SandboxError> {
        let trees = root.trees.iter().map(|tree| open_tree(tree, guest)).collect::<Result<Vec<_>, _>>()?;
        let mut half = Half::at(STEPS);
        for input in &root.inputs {
            half.add(input.fd());
        }
        for copy in root.copies.iter() {
            half.add(copy);
        }
        for tree in &trees {
            half.add(tree);
        }
        let next = half.next();
        half.send(&self.control, "wardian-steps", &root.steps.encoded().to_bytes())?;
        Ok(next)
    }

    /// The guest's group: on version 2 the one that init was born into, limited now; on version 1 a new one, which the guest
    /// joins.
    pub(super) fn take_cgroup(
        &mut self,
        cgroups: &CgroupHost,
        limits: &CgroupLimits,
    ) -> Result<Option<Cgroup>, SandboxError> {
        if cgroups.version() == Some(Version::V1) {
            return Ok(Some(cgroups.create(limits)?));
        }
        let Some(mut cgroup) = self.cgroup.take() else { return Ok(None) };
        // Init must not count against the guest.
        let processes = limits.processes.map(|guests| guests + 1);
        cgroup.limit(&CgroupLimits { processes, ..*limits })?;
        Ok(Some(cgroup))
    }
}

const NO_LIMITS: CgroupLimits = CgroupLimits {
    memory_bytes: None,
    swap_bytes: 0,
    sockets_bytes: None,
    processes: None,
    cpus: None,
    oom: Oom::One,
};

/// What part of its memory a program may have beside it, in buffers of sockets, where those are counted apart.
const SOCKETS_PART: u64 = 8;

/// A policy's limits, as a cgroup has them.
pub(super) fn limits(policy: &Policy) -> CgroupLimits {
    let limits = &policy.limits;
    CgroupLimits {
        memory_bytes: Some(limits.memory.0),
        swap_bytes: 0,
        sockets_bytes: (policy.network == Network::Loopback).then_some(limits.memory.0 / SOCKETS_PART),
        processes: Some(u64::from(limits.processes)),
        cpus: limits.cpus,
        oom: match limits.on_oom {
            OnOom::End => Oom::End,
            OnOom::One => Oom::One,
        },
    }
}

/// A detached copy of a host tree, with its attributes set before anybody inside can see it.
fn open_tree(tree: &HostTree, guest: Option<u32>) -> Result<OwnedFd, SandboxError> {
    let step = |call: &str| format!("open {} for mounting {call}", tree.source.display());
    let path = CString::new(tree.source.as_os_str().as_bytes())
        .map_err(|_| SandboxError::at(step(OPEN_TREE))(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let detached = match (tree.owner, guest) {
        (Some(owner), Some(guest)) => owner::open_tree(tree, owner, guest)?,
        _ => wardian_sys::mount::clone_tree(wardian_sys::Fd::CWD, &path)
            .map(OwnedFd::from)
            .map_err(|errno| SandboxError::at(step(OPEN_TREE))(errno))?,
    };
    wardian_sys::mount::set_attributes((&detached).into(), tree.attributes)
        .map_err(|errno| SandboxError::at(step("(mount_setattr)"))(errno))?;
    Ok(detached)
}

/// Writes the id maps of a new user namespace (user_namespaces(7)).
fn map_ids(pid: i32, identity: &Identity, ids: Option<&IdLease>) -> Result<(), SandboxError> {
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, text).map_err(SandboxError::at(format!("write the sandbox's {file}")))
    };
    match ids {
        Some(ids) => {
            let map = |inside: u32| match inside {
                // An identity of 0 inside has no second id: set-up and guest are one.
                0 => format!("0 {} 1\n", ids.guest),
                _ => format!("0 {} 1\n{inside} {} 1\n", ids.set_up, ids.guest),
            };
            write("uid_map", &map(identity.uid))?;
            write("gid_map", &map(identity.gid))
        }
        None => {
            write("setgroups", "deny")?;
            write("uid_map", &format!("{} {} 1\n", identity.uid, rustix::process::geteuid().as_raw()))?;
            write("gid_map", &format!("{} {} 1\n", identity.gid, rustix::process::getegid().as_raw()))
        }
    }
}
