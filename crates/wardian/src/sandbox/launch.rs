//! From plan to running init: everything the supervisor does before it only watches.

use super::accounting::Accounting;
use super::head_start::{self, Begun, HeadStart, packet_pair};
use super::ids::{self, IdLease};
use super::outcome::Facts;
use super::private::Private;
use super::remains::Remains;
use super::slot::GuestLease;
use super::streams::{self, Taker, guest_pipe};
use super::supervise::{Parts, Supervision};
use super::{Collect, Connections, SandboxError, Streams, init, owner};
use crate::files::Input;
use crate::limits::cgroup::{Cgroup, Version};
use crate::plan::{HostTree, Plan};
use crate::report::Report;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use wardian_init::{CONTROL, FIRST_FREE, GuestSpec, PLAN, Slot};
use wardian_sys::socket::MOST_DESCRIPTORS;

/// A sandbox with a live init.
#[must_use = "dropping it ends the run"]
pub struct Running {
    supervision: Supervision,
}

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
        self.wait_for_processes().map(|(report, _)| report)
    }

    /// Like [`wait`](Running::wait), but what there is without any process goes when the caller drops it.
    pub(crate) fn wait_for_processes(self) -> Result<(Report, Remains), SandboxError> {
        self.supervision.until_gone()
    }
}

/// What one run holds from launch to the end.
pub(super) struct Held {
    pub(super) plan: Plan,
    pub(super) _ids: Option<IdLease>,
    /// Of a slot.
    pub(super) slot: Option<GuestLease>,
    pub(super) collect: Option<Collect>,
    /// Level `landlock`: goes last, when nobody inside is left.
    pub(super) private: Option<Private>,
}

/// The slots after control and plan, in order.
const CHANNEL: Slot = Slot(FIRST_FREE);
const STDIO: [Slot; 3] = [Slot(FIRST_FREE + 1), Slot(FIRST_FREE + 2), Slot(FIRST_FREE + 3)];

/// Starts a plan's init, or goes on with one that has a head start; init goes on to start the guest.
///
/// # Errors
/// Only failures of ours or of the host; nothing is left running then.
pub fn launch(
    plan: Plan,
    connections: impl Into<Connections<Streams>>,
    head_start: Option<HeadStart>,
) -> Result<Running, SandboxError> {
    launch_connected(plan, connections.into(), head_start)
}

fn launch_connected(
    plan: Plan,
    connections: Connections<Streams>,
    head_start: Option<HeadStart>,
) -> Result<Running, SandboxError> {
    let accepted = plan.accepted;
    let ids = if plan.own_ids {
        let (first, count) = plan.policy.identity.uid_range;
        Some(ids::lease(first, count, 1)?)
    } else {
        None
    };
    let guest_id = ids.as_ref().map(|ids| ids.guest);
    let Connections { streams, cancel, result, collect } = connections;
    let terminal = matches!(streams, Streams::Terminal(_));
    let of_streams = |error: io::Error| SandboxError::at("make its standard streams")(error);
    let limit = plan.policy.limits.output.0;
    let (ends, stdio) = streams::make(streams, plan.policy.stderr, guest_id, limit).map_err(of_streams)?;
    let result = match result {
        Some(limit) => Some((guest_pipe(false, guest_id).map_err(of_streams)?, limit.0)),
        None => None,
    };
    let (channel, guest_channel) = packet_pair()?;
    let trees = plan.trees.iter().map(|tree| open_tree(tree, guest_id)).collect::<Result<Vec<_>, _>>()?;
    // Each with an offset of its own: the same input may be on its way into another sandbox.
    let private = match &plan.in_place {
        Some(in_place) => Some(Private::make(in_place, &plan.inputs, guest_id)?),
        None => None,
    };
    let inputs = plan.inputs.iter().map(Input::reopen).collect::<Result<Vec<_>, _>>();
    let inputs = inputs.map_err(SandboxError::Input)?;

    let limits = head_start::limits(&plan.policy);
    // On version 1 the guest joins it. On version 2 init was born into it.
    let joined = match plan.cgroups.version() {
        Some(Version::V1) => Some(plan.cgroups.create(&limits)?),
        _ => None,
    };
    let joins = joined.as_ref().map_or(&[][..], Cgroup::join_files);
    let first_join = CHANNEL.0 + 4 + count(plan.inputs.len() + plan.copies.len() + trees.len());
    let result_slot = result.is_some().then(|| Slot(first_join + count(joins.len())));
    let bytes = encode(&plan, ids.as_ref(), first_join, joins.len(), result_slot, terminal);
    let plan_file = init::sealed("wardian-plan", &bytes, false)
        .map_err(SandboxError::at("put the plan in memory (memfd_create)"))?;
    let mut slots: Vec<BorrowedFd<'_>> = vec![plan_file.as_fd(), guest_channel.as_fd()];
    slots.extend(stdio.iter().map(AsFd::as_fd));
    slots.extend(inputs.iter().map(AsFd::as_fd));
    slots.extend(plan.copies.iter().map(AsFd::as_fd));
    slots.extend(trees.iter().map(AsFd::as_fd));
    slots.extend(joins.iter().map(AsFd::as_fd));
    slots.extend(result.iter().map(|(pipe, _)| pipe.guests.as_fd()));
    debug_assert_eq!((CONTROL, PLAN), (Slot(0), Slot(1)));

    let mut begun = match head_start.and_then(|head_start| head_start.finish(plan.namespaces, &plan.cgroups))
    {
        Some(begun) => begun?,
        None => Begun::now(plan.namespaces, Some(&plan.cgroups))?,
    };
    let born_into = begun.take_cgroup(&limits)?;
    let Begun { init, control, .. } = begun;
    map_ids(init.pid(), &plan, ids.as_ref())?;
    let prepared = Instant::now();
    go(&control, &slots, bytes.len())?;
    drop(slots);
    // Init is at work, and we would wait.
    plan.policy_digest.of(&plan.policy);
    let held = Held { plan, _ids: ids, slot: None, collect, private };

    let accounting = Accounting::new(born_into.or(joined), &held.plan);
    let supervision = Supervision::new(Parts {
        held,
        init,
        mounts: None,
        control,
        channel: Some(channel),
        guest: None,
        streams: ends,
        result: result.map(|(pipe, limit)| Taker::keeper(pipe.ours, limit)),
        cancel,
        accounting,
        facts: Facts { terminal, ..Facts::new(accepted, prepared) },
    });
    Ok(Running { supervision })
}

/// Sends init what its slots hold, and the go: see `wardian_init::CONTROL`.
pub(super) fn go(control: &OwnedFd, slots: &[BorrowedFd<'_>], plan_bytes: usize) -> Result<(), SandboxError> {
    let mut chunks = slots.chunks(MOST_DESCRIPTORS).peekable();
    while let Some(chunk) = chunks.next() {
        let word = if chunks.peek().is_some() { 0 } else { plan_bytes as u64 };
        send(control, &word.to_le_bytes(), chunk).map_err(SandboxError::at("tell wardian-init to go"))?;
    }
    Ok(())
}

/// One message with descriptors. An ordinary user may have only so many on their way (`ETOOMANYREFS`, unix(7)):
/// other sandboxes that are starting will have taken theirs in a moment.
pub(super) fn send(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(1);
    let rights = SendAncillaryMessage::ScmRights(fds);
    let mut space = vec![MaybeUninit::uninit(); rights.size()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(rights) {
        return Err(Errno::NOBUFS);
    }
    let started = Instant::now();
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::TOOMANYREFS) if started.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            answer => return answer.map(drop),
        }
    }
}

pub(super) fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A detached copy of a host tree, with its attributes set before anybody inside can see it.
pub(super) fn open_tree(tree: &HostTree, guest: Option<u32>) -> Result<OwnedFd, SandboxError> {
    let step = |call: &str| format!("open {} for mounting ({call})", tree.source.display());
    let path = CString::new(tree.source.as_os_str().as_bytes())
        .map_err(|_| SandboxError::at(step("open_tree"))(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let detached = match (tree.owner, guest) {
        (Some(owner), Some(guest)) => owner::open_tree(tree, owner, guest)?,
        _ => wardian_sys::mount::clone_tree(wardian_sys::Fd::CWD, &path)
            .map(OwnedFd::from)
            .map_err(|errno| SandboxError::at(step("open_tree"))(errno))?,
    };
    wardian_sys::mount::set_attributes((&detached).into(), tree.attributes)
        .map_err(|errno| SandboxError::at(step("mount_setattr"))(errno))?;
    Ok(detached)
}

fn encode(
    plan: &Plan,
    ids: Option<&IdLease>,
    first_join: u32,
    joins: usize,
    result: Option<Slot>,
    terminal: bool,
) -> Vec<u8> {
    let guest = &plan.guest;
    let in_place = plan.in_place.is_some();
    // Without a user namespace ids are the host's, and an ordinary user has no rights over the bounding set.
    let private_ids = !in_place || ids.is_some();
    let own_id = ids.filter(|_| in_place).map(|ids| ids.guest);
    let spec = GuestSpec {
        channel: CHANNEL,
        joins: (first_join..first_join + count(joins)).map(Slot).collect(),
        stdio: STDIO,
        result,
        terminal,
        new_cgroup_root: !in_place,
        nice: guest.nice,
        affinity: guest.affinity.clone(),
        rlimits: guest.rlimits.clone(),
        open_files: guest.open_files,
        cwd: guest.cwd.clone(),
        landlock: guest.landlock,
        landlock_rules: guest.landlock_rules.clone(),
        uid: own_id.unwrap_or(guest.uid),
        gid: own_id.unwrap_or(guest.gid),
        change_ids: plan.own_ids,
        private_ids,
        zygote: false,
        filter: guest.filter.clone(),
        listener: guest.listener,
        unobserved_filter: guest.unobserved_filter.clone().unwrap_or_default(),
        program: guest.program.clone(),
        exec_once: guest.exec_once,
        args: guest.args.clone(),
        env: guest.env.clone(),
    };
    wardian_init::encode(plan.steps.encoded(), &spec, &guest.init_filter, in_place, None)
}

/// Writes the id maps of a new user namespace (user_namespaces(7)), if there is one.
fn map_ids(pid: i32, plan: &Plan, ids: Option<&IdLease>) -> Result<(), SandboxError> {
    if plan.in_place.is_some() {
        return Ok(());
    }
    let identity = &plan.policy.identity;
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
