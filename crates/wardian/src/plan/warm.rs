//! The plan of a zygote, and of the slots that its children enter.
//!
//! A zygote's root is the one of a cold run. A slot is a copy of it, with everything that a run can change mounted
//! anew on top: scratch space, the policy's temporary file systems, `/proc`.

use super::program::{HOOK_DIRECTORY, Resolved};
use super::root::SCRATCH;
use super::steps::{Steps, c_string};
use super::{BOX, GuestPlan, HOME, Plan, PlanError, Program, Request};
use crate::host::Host;
use crate::policy::{
    ExecMode, Level, Mount, MountKind, Network, Outside, Policy, ProcMode, RootKind, Scratch, Work,
};
use crate::seccomp::{Exec, Profile};
use std::ffi::CString;
use std::sync::Arc;
use wardian_init::{Rlimit, Step};
use wardian_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY};
use wardian_sys::process::{RLIMIT_CORE, RLIMIT_STACK};

/// What inputs may take where there is no scratch space.
const INPUT_BYTES: &str = "67108864";

/// What a zygote is, and what its slots are.
pub(crate) struct WarmPlan {
    /// The zygote's own.
    pub(crate) zygote: Plan,
    /// A run's, in a slot: its steps are those of the slot's init, its guest executes nothing.
    pub(crate) run: Plan,
    /// What is made read-only once the inputs are in; empty for nothing.
    pub(crate) seal: CString,
}

impl WarmPlan {
    /// Decides everything; `files` is the harness, and what it loads.
    ///
    /// # Errors
    /// As [`Plan::build`], and what cannot be warm.
    pub(crate) fn build(
        policy: Policy,
        python: crate::python::Request,
        files: Vec<(String, Vec<u8>)>,
        host: &Host,
    ) -> Result<WarmPlan, PlanError> {
        suits(&policy)?;
        let request = Request {
            policy: policy.clone(),
            // A name for the interpreter's command line; the harness answers before anything is looked for.
            program: Program::Module("wardian".into()),
            args: Vec::new(),
            inputs: Vec::new(),
            cwd: None,
            python,
            unbuffered: false,
        };
        let mut hidden = None;
        let alter = |program: &mut Resolved, steps: &mut Steps| {
            steps.push(&Step::SlotsProc);
            program.start_files = files;
            let needed = program.directories.iter().chain(&program.files).chain(&program.copies);
            hidden = needed.map(|path| path.display().to_string()).find(|path| is_fresh(&policy, path));
        };
        let mut zygote = Plan::assemble(request, host, alter, |_, _| ())?;
        if let Some(path) = hidden {
            return Err(PlanError::Unenforceable {
                what: "a warm start",
                reason: format!(
                    "the interpreter needs `{path}`, which lies in a place that is new in each run"
                ),
                fix: "have it elsewhere (a virtual environment not below /tmp), or run it cold".into(),
            });
        }
        if let Some(tree) = zygote.root.trees.iter().find(|tree| tree.owner.is_some()) {
            let path = tree.source.display();
            return unfit(format!(
                "each run would need the mount of `{path}` for itself, to write in it as its owner"
            ));
        }
        let (steps, seal) = slot_steps(&zygote)?;
        let mut run = zygote.clone();
        run.root.steps = Arc::new(steps);
        run.guest = Arc::new(slot_guest(&zygote.guest, &zygote.policy));
        zygote.guest = Arc::new(zygote_guest(&zygote.guest)?);
        Ok(WarmPlan { zygote, run, seal })
    }
}

fn unfit<T>(reason: String) -> Result<T, PlanError> {
    let fix = "run it cold, or change the policy".into();
    Err(PlanError::Unenforceable { what: "a warm start", reason, fix })
}

/// Whether a slot has something new of its own there, which hides what the zygote has.
fn is_fresh(policy: &Policy, path: &str) -> bool {
    let scratch: &[&str] = match (policy.files.scratch, policy.outside) {
        (Scratch::None, _) => &[BOX],
        (_, Outside::Denied) => &[BOX, SCRATCH],
        (_, Outside::Absent) => &[BOX, SCRATCH, "/tmp", HOME],
    };
    let tmpfs = policy.files.mounts.iter().filter(|mount| mount.kind == MountKind::Tmpfs);
    let tmpfs = tmpfs.map(|mount| mount.dst.as_str());
    scratch
        .iter()
        .copied()
        .chain(["/proc"])
        .chain(tmpfs)
        .any(|above| path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Refuses what a slot cannot give.
fn suits(policy: &Policy) -> Result<(), PlanError> {
    if policy.level != Level::Namespaces {
        return unfit("it needs namespaces".into());
    }
    if policy.files.root != RootKind::Program {
        return unfit("it needs a root that the interpreter makes".into());
    }
    if !policy.files.dev {
        return unfit("it needs `files.dev`".into());
    }
    for mount in &policy.files.mounts {
        let is_new = mount.kind == MountKind::Tmpfs || mount.kind == MountKind::Proc;
        if !is_new && is_fresh(policy, &mount.dst) {
            return unfit(format!("the mount at `{}` lies in a place that is new in each run", mount.dst));
        }
    }
    Ok(())
}

/// The zygote is a trusted process: it takes its name and limits, and keeps its rights.
fn zygote_guest(guest: &GuestPlan) -> Result<GuestPlan, PlanError> {
    let kept = |limit: &&Rlimit| matches!(limit.resource, RLIMIT_STACK | RLIMIT_CORE);
    let prefix = b"PYTHONPATH=";
    let mut env: Vec<CString> = Vec::new();
    let mut path = HOOK_DIRECTORY.to_owned();
    for variable in &guest.env {
        match variable.to_bytes().strip_prefix(prefix) {
            Some(own) if own != HOOK_DIRECTORY.as_bytes() => {
                path = format!("{HOOK_DIRECTORY}:{}", String::from_utf8_lossy(own));
            }
            Some(_) => {}
            None => env.push(variable.clone()),
        }
    }
    env.push(c_string(format!("PYTHONPATH={path}"))?);
    Ok(GuestPlan {
        rlimits: guest.rlimits.iter().filter(kept).copied().collect(),
        open_files: 0,
        landlock: wardian_init::Handled::default(),
        landlock_rules: Vec::new(),
        filter: Vec::new(),
        listener: false,
        exec_once: None,
        env,
        ..guest.clone()
    })
}

/// Where one program may be executed, it has been: the guest's first instruction is the program's.
fn slot_guest(guest: &GuestPlan, policy: &Policy) -> GuestPlan {
    let exec = match policy.exec {
        ExecMode::Any => Exec::Any,
        ExecMode::Once => Exec::Never,
    };
    let profile = Profile { exec, ..guest.profile.clone() };
    let (filter, unobserved_filter) = super::filter::guest(policy, &profile);
    GuestPlan { filter, unobserved_filter, profile, exec_once: None, ..guest.clone() }
}

/// Where the guest owns what its root is made of, and may write to it but for Landlock, which does not look at modes,
/// times and attributes, each slot makes a root of its own: the steps of the zygote's, over what that has attached.
fn own_root_steps(plan: &Plan) -> Result<Steps, PlanError> {
    let mut steps = Steps::default();
    for step in plan.root.steps.iter() {
        match step {
            Step::OomScore { .. } | Step::SlotsProc | Step::NewNetwork | Step::NewCgroupRoot => {}
            Step::Attach { path, .. } => {
                steps.push(&Step::Bind { source: path, path, attributes: 0, optional: false });
            }
            Step::Bind { path, optional, .. } => {
                steps.push(&Step::Bind { source: path, path, attributes: 0, optional });
            }
            Step::Copy { path, mode, .. } => {
                steps.push(&Step::File { path, mode, content: &[] });
                let attributes = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV;
                steps.push(&Step::Bind { source: path, path, attributes, optional: false });
            }
            other => steps.push(&other),
        }
    }
    Ok(steps)
}

fn slot_steps(plan: &Plan) -> Result<(Steps, CString), PlanError> {
    let policy = &plan.policy;
    if policy.outside == Outside::Denied && !plan.root.own_ids {
        if policy.files.scratch == Scratch::None {
            return unfit("an ordinary user's programs would share a root that they can change".into());
        }
        return Ok((own_root_steps(plan)?, CString::default()));
    }
    let mut steps = Steps::default();
    if plan.root.own_ids {
        steps.push(&Step::Identity { uid: 0, gid: 0, clear_groups: true });
    }
    steps.push(&Step::Hostname { name: &c_string(policy.identity.hostname.as_str())? });
    if policy.network == Network::Loopback {
        steps.push(&Step::LoopbackUp);
    }
    let seal = scratch(plan, &mut steps)?;
    for mount in policy.files.mounts.iter().filter(|mount| mount.kind == MountKind::Tmpfs) {
        let noexec = if mount.exec { 0 } else { ATTR_NOEXEC };
        steps.push(&Step::Tmpfs {
            path: &c_string(mount.dst.as_str())?,
            size: &c_string(mount.size.unwrap_or(policy.limits.disk).0.to_string())?,
            inodes: &c_string(policy.limits.inodes.to_string())?,
            mode: c"1777",
            attributes: ATTR_NOSUID | ATTR_NODEV | noexec,
        });
        if !mount.writable {
            let attributes = ATTR_NOSUID | ATTR_NODEV | ATTR_RDONLY;
            steps.push(&Step::Attributes { path: &c_string(mount.dst.as_str())?, attributes });
        }
    }
    let proc = policy.files.mounts.iter().find(|mount| mount.kind == MountKind::Proc);
    if proc.is_some() || policy.files.proc != ProcMode::Absent {
        // The zygote's own, of another pid namespace, must not show.
        steps.push(&Step::Proc {
            path: &c_string(proc.map_or("/proc", |mount| mount.dst.as_str()))?,
            subset: true,
            hidepid: c"invisible",
            read_only: false,
            optional: false,
        });
    }
    if seal.is_empty() {
        steps.push(&Step::PassDirectory { path: c"/box" });
    }
    let watches_memory = !plan.cgroups.controllers().memory;
    let writable = |mount: &&Mount| mount.kind == MountKind::Tmpfs && mount.writable;
    for mount in policy.files.mounts.iter().filter(writable).filter(|_| watches_memory) {
        steps.push(&Step::PassDirectory { path: &c_string(mount.dst.as_str())? });
    }
    Ok((steps, seal))
}

/// One new tmpfs over the zygote's, seen at the same places.
fn scratch(plan: &Plan, steps: &mut Steps) -> Result<CString, PlanError> {
    let policy = &plan.policy;
    if policy.files.scratch == Scratch::None {
        let attributes = ATTR_NOSUID | ATTR_NODEV;
        let (size, path) = (c_string(INPUT_BYTES)?, c_string(BOX)?);
        steps.push(&Step::Tmpfs { path: &path, size: &size, inodes: c"16384", mode: c"0755", attributes });
        return Ok(path);
    }
    let noexec = if policy.files.scratch == Scratch::Noexec { ATTR_NOEXEC } else { 0 };
    let attributes = ATTR_NOSUID | ATTR_NODEV | noexec;
    steps.push(&Step::Tmpfs {
        path: &c_string(SCRATCH)?,
        size: &c_string(policy.limits.disk.0.to_string())?,
        inodes: &c_string(policy.limits.inodes.to_string())?,
        mode: c"0755",
        attributes,
    });
    let denies = policy.outside == Outside::Denied;
    let places: &[(&str, &str, u32)] = if denies {
        &[("box", BOX, 0o755), ("box/tmp", "", 0o700), ("shm", SCRATCH, 0o1777)]
    } else {
        &[("box", BOX, 0o755), ("tmp", "/tmp", 0o1777), ("home", HOME, 0o700), ("shm", SCRATCH, 0o1777)]
    };
    let inside = |name: &str| c_string(format!("{SCRATCH}/{name}"));
    let places = || places.iter().copied().filter(|(name, ..)| *name != "tmp" || policy.files.tmp);
    for (name, _, mode) in places() {
        steps.push(&Step::Directory { path: &inside(name)?, mode });
        let stays_ours = name == "box" && policy.files.work == Work::ReadOnly;
        if plan.root.own_ids && !stays_ours {
            let (uid, gid) = (policy.identity.uid, policy.identity.gid);
            steps.push(&Step::Owner { path: &inside(name)?, uid, gid });
        }
    }
    for (name, place, _) in places().filter(|(_, place, _)| !place.is_empty()) {
        steps.push(&Step::BindInside { source: &inside(name)?, path: &c_string(place)?, attributes });
    }
    Ok(CString::default())
}
