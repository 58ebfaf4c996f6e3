//! From plan to running init: everything the supervisor does before it only watches.

use super::accounting::Accounting;
use super::begun::{self, Begun, SetUp};
use super::denials::Denials;
use super::handover::{Half, packet_pair};
use super::head_start::HeadStart;
use super::ids::IdLease;
use super::outcome::Facts;
use super::private::Private;
use super::remains::Remains;
use super::slot::GuestLease;
use super::streams::{self, Taker, guest_pipe};
use super::supervise::{Progress, Supervision};
use super::{Collect, Connections, SandboxError, Streams};
use crate::limits::cgroup::Cgroup;
use crate::plan::{GuestPlan, Plan};
use crate::report::Report;
use std::io;
use std::time::Instant;
use wardian_init::{GuestSpec, Seat};

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
    let mut begun = match head_start.and_then(|head_start| head_start.finish(&plan)) {
        Some(begun) => begun?,
        None => Begun::now(plan.root.namespaces, Some(&plan.cgroups))?,
    };
    let SetUp { ids, next, .. } = begun.take_set_up(&plan.root, &plan.policy.identity)?;
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
    let private = match &plan.in_place {
        Some(in_place) => Some(Private::make(in_place, &plan.root.inputs, guest_id)?),
        None => None,
    };
    let cgroup = begun.take_cgroup(&plan.cgroups, &begun::limits(&plan.policy))?;
    let Begun { init, control, .. } = begun;

    let mut half = Half::at(next);
    let seats = GuestSeats {
        channel: half.add(&guest_channel),
        stdio: stdio.each_ref().map(|stream| half.add(stream)),
        result: result.as_ref().map(|(pipe, _)| half.add(&pipe.guests)),
        joins: cgroup.iter().flat_map(Cgroup::join_files).map(|file| half.add(file)).collect(),
    };
    let prepared = Instant::now();
    half.send(&control, "wardian-guest", &encode(&plan, ids.as_ref(), seats, terminal))?;
    // The guest is being started, and we would wait.
    plan.policy_digest.of(&plan.policy);
    let held = Held { plan, _ids: ids, slot: None, collect, private };

    let accounting = Accounting::new(cgroup, &held.plan);
    let supervision = Supervision {
        denials: Denials::new(held.plan.guest.profile.clone()),
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
        progress: Progress::default(),
    };
    Ok(Running { supervision })
}

/// Where the guest's descriptors are.
pub(super) struct GuestSeats {
    pub(super) channel: Seat,
    pub(super) stdio: [Seat; 3],
    pub(super) result: Option<Seat>,
    pub(super) joins: Vec<Seat>,
}

/// What the plan says of a guest, for wardian-init; as it is where there are namespaces.
pub(super) fn spec(guest: &GuestPlan, seats: GuestSeats, change_ids: bool) -> GuestSpec {
    GuestSpec {
        channel: seats.channel,
        joins: seats.joins,
        stdio: seats.stdio,
        result: seats.result,
        terminal: false,
        new_cgroup_root: true,
        nice: guest.nice,
        affinity: guest.affinity.clone(),
        rlimits: guest.rlimits.clone(),
        open_files: guest.open_files,
        cwd: guest.cwd.clone(),
        landlock: guest.landlock,
        landlock_rules: guest.landlock_rules.clone(),
        uid: guest.uid,
        gid: guest.gid,
        change_ids,
        locks_down: true,
        zygote: false,
        filter: guest.filter.clone(),
        listener: guest.listener,
        unobserved_filter: guest.unobserved_filter.clone().unwrap_or_default(),
        program: guest.program.clone(),
        exec_once: guest.exec_once,
        args: guest.args.clone(),
        env: guest.env.clone(),
    }
}

fn encode(plan: &Plan, ids: Option<&IdLease>, seats: GuestSeats, terminal: bool) -> Vec<u8> {
    let in_place = plan.in_place.is_some();
    let mut spec = GuestSpec {
        terminal,
        new_cgroup_root: !in_place,
        // In a user namespace init has done that; without one an ordinary user has no rights to.
        locks_down: in_place && ids.is_some(),
        ..spec(&plan.guest, seats, plan.root.own_ids)
    };
    if let Some(ids) = ids.filter(|_| in_place) {
        (spec.uid, spec.gid) = (ids.guest, ids.guest);
    }
    wardian_init::encode(&spec, &plan.guest.init_filter, in_place, None)
}
