//! From plan to running init: everything the supervisor does before it only watches.

use super::accounting::Accounting;
use super::ids::{self, IdLease};
use super::live::Live;

use super::slot::GuestLease;
use super::streams::{Feeder, Taker, guest_pipe};
use super::supervise::{Parts, Supervision};
use super::{Collect, Connections, SandboxError, init};
use crate::files::Input;
use crate::limits::cgroup::{Cgroup, CgroupLimits, Oom, Version};
use crate::plan::{HostTree, Plan};
use crate::policy::OnOom;
use crate::report::Report;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use wardian_init::{CONTROL, FIRST_FREE, GuestSpec, PLAN, Slot};
use wardian_sys::spawn::{self, InitSpec};

/// A sandbox with a live init.
#[must_use = "dropping it ends the run"]
pub struct Running {
    supervision: Supervision,
}

/// Most slots of a zygote: the lines that an id map has room for.
pub(super) const MOST_SLOTS: usize = 338;

impl Running {
    pub(super) fn new(supervision: Supervision) -> Running {
        Running { supervision }
    }

    /// The host's process id of the sandbox's init.
    pub fn pid(&self) -> u32 {
        self.supervision.init_pid()
    }

    /// Supervises until everything inside is gone.
    ///
    /// # Errors
    /// Only failures of ours or of the host.
    pub fn wait(self) -> Result<Report, SandboxError> {
        self.supervision.until_gone()
    }
}

/// What one run holds from launch to the end.
pub(super) struct Held {
    pub(super) plan: Plan,
    pub(super) ids: Option<IdLease>,
    /// Of a slot.
    pub(super) slot: Option<GuestLease>,
    pub(super) collect: Option<Collect>,
}

/// The slots after control and plan, in order.
const CHANNEL: Slot = Slot(FIRST_FREE);
const STDIO: [Slot; 3] = [Slot(FIRST_FREE + 1), Slot(FIRST_FREE + 2), Slot(FIRST_FREE + 3)];

/// Starts a plan's init, which goes on to start the guest.
///
/// # Errors
/// Only failures of ours or of the host; nothing is left running then.
pub fn launch(plan: Plan, connections: Connections) -> Result<Running, SandboxError> {
    let accepted = plan.accepted;
    let ids = if plan.own_ids {
        let (first, count) = plan.policy.identity.uid_range;
        Some(ids::lease(first, count)?)
    } else {
        None
    };
    let owner = ids.as_ref().map(|ids| ids.guest);
    let pipe = |reads| guest_pipe(reads, owner).map_err(SandboxError::at("make the pipes of its streams"));
    let (stdin, stdout, stderr) = (pipe(true)?, pipe(false)?, pipe(false)?);
    let (control, init_control) = packet_pair()?;
    let (channel, guest_channel) = packet_pair()?;
    let trees = plan.trees.iter().map(open_tree).collect::<Result<Vec<_>, _>>()?;

    // Each with an offset of its own: the same input may be on its way into another sandbox.
    let inputs = plan.inputs.iter().map(Input::reopen).collect::<Result<Vec<_>, _>>();
    let inputs = inputs.map_err(SandboxError::Input)?;
    let cgroup = make_cgroup(&plan, Member::Run)?;
    let joins = cgroup.as_ref().map_or(&[][..], Cgroup::join_files);
    let first_join = CHANNEL.0 + 4 + count(plan.inputs.len()) + count(trees.len());
    let bytes = encode(&plan, first_join, joins.len());
    let plan_file =
        init::sealed("wardian-plan", &bytes, false).map_err(SandboxError::at("put the plan in memory"))?;

    let mut slots: Vec<BorrowedFd<'_>> = vec![
        init_control.as_fd(),
        plan_file.as_fd(),
        guest_channel.as_fd(),
        stdin.guests.as_fd(),
        stdout.guests.as_fd(),
        stderr.guests.as_fd(),
    ];
    slots.extend(inputs.iter().map(AsFd::as_fd));
    slots.extend(trees.iter().map(AsFd::as_fd));
    slots.extend(joins.iter().map(AsFd::as_fd));
    debug_assert_eq!((CONTROL, PLAN), (Slot(0), Slot(1)));

    let spec = InitSpec {
        executable: init::executable()?,
        namespaces: plan.namespaces,
        cgroup: cgroup.as_ref().and_then(Cgroup::clone_into),
        capabilities: &wardian_sys::caps::SET_UP,
        fds: &slots,
    };
    let started = Live::new(spawn::start_init(&spec)?);
    drop(slots);

    let limit = plan.policy.limits.output.0;
    let accounting = Accounting::new(cgroup, &plan);
    let mut supervision = Supervision::new(Parts {
        held: Held { plan, ids, slot: None, collect: connections.collect },
        init: started,
        control,
        channel: Some(channel),
        stdin: Feeder::new(connections.stdin, stdin.ours),
        stdout: Taker::new(stdout.ours, connections.stdout, limit),
        stderr: Taker::new(stderr.ours, connections.stderr, limit),
        cancel: connections.cancel,
        accounting,
        accepted,
    });
    supervision.map_ids()?;
    supervision.go(bytes.len())?;
    Ok(Running { supervision })
}

/// For whom a cgroup is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// A cold run, with its init where that is born into the group.
    Run,
    /// A slot's guest, whose init is in the zygote's group.
    Slot,
    /// A zygote, with the inits of its slots: limited in memory alone.
    Zygote,
}

/// The sandbox's cgroup, where the host has one for us.
pub(super) fn make_cgroup(plan: &Plan, member: Member) -> Result<Option<Cgroup>, SandboxError> {
    let Some(version) = plan.cgroups.version() else { return Ok(None) };
    let limits = &plan.policy.limits;
    // Version 2: init is born into the group, and must not count against the guest.
    let inits = u64::from(member == Member::Run && version == Version::V2);
    let zygote = member == Member::Zygote;
    let limits = CgroupLimits {
        memory_bytes: Some(limits.memory.0),
        swap_bytes: 0,
        processes: (!zygote).then_some(u64::from(limits.processes) + inits),
        cpus: limits.cpus.filter(|_| !zygote),
        oom: match limits.on_oom {
            OnOom::End => Oom::End,
            OnOom::One => Oom::One,
        },
    };
    Ok(Some(plan.cgroups.create(&limits)?))
}

pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(super) fn packet_pair() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(SandboxError::at("make the socket to wardian-init"))
}

/// A detached copy of a host tree, with its attributes set before anybody inside can see it.
pub(super) fn open_tree(tree: &HostTree) -> Result<OwnedFd, SandboxError> {
    let step = || format!("open {} for mounting", tree.source.display());
    let path = CString::new(tree.source.as_os_str().as_bytes())
        .map_err(|_| SandboxError::at(step())(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let detached = wardian_sys::mount::clone_tree(wardian_sys::Fd::CWD, &path)
        .map_err(|errno| SandboxError::at(step())(errno))?;
    let detached = OwnedFd::from(detached);
    wardian_sys::mount::set_attributes((&detached).into(), tree.attributes)
        .map_err(|errno| SandboxError::at(step())(errno))?;
    Ok(detached)
}

fn encode(plan: &Plan, first_join: u32, joins: usize) -> Vec<u8> {
    let guest = &plan.guest;
    let spec = GuestSpec {
        channel: CHANNEL,
        joins: (first_join..first_join + count(joins)).map(Slot).collect(),
        stdio: STDIO,
        result: None,
        terminal: false,
        new_cgroup_root: joins > 0,
        nice: guest.nice,
        affinity: guest.affinity.clone(),
        rlimits: guest.rlimits.clone(),
        open_files: guest.open_files,
        cwd: guest.cwd.clone(),
        landlock: guest.landlock,
        landlock_rules: guest.landlock_rules.clone(),
        uid: guest.uid,
        gid: guest.gid,
        change_ids: plan.own_ids,
        private_ids: true,
        zygote: false,
        filter: guest.filter.clone(),
        listener: guest.listener,
        program: guest.program.clone(),
        exec_once: guest.exec_once,
        args: guest.args.clone(),
        env: guest.env.clone(),
    };
    wardian_init::encode(plan.steps.encoded(), &spec, &guest.init_filter, true, None)
}

/// Writes the id maps of a new user namespace (user_namespaces(7)).
pub(super) fn map_ids(pid: i32, held: &Held) -> Result<(), SandboxError> {
    let identity = &held.plan.policy.identity;
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, text).map_err(SandboxError::at(format!("write the sandbox's {file}")))
    };
    match &held.ids {
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
