//! The report's `enforced_by`: which layer stood behind each promise in this very run.

use super::accounting::Accounting;
use super::launch::Held;
use super::outcome::Facts;
use crate::limits::cgroup::Version;
use crate::policy::{Network, Scratch};
use crate::report::{Enforcement, EnforcementLevel};
use std::collections::BTreeMap;
use wardian_init::{Handled, Step};
use wardian_sys::Errno;

/// Every promise and its layer.
pub(super) fn enforced_by(
    held: &Held,
    facts: &Facts,
    accounting: &Accounting,
) -> BTreeMap<String, Enforcement> {
    if held.plan.in_place.is_some() {
        return in_place(held, facts, accounting);
    }
    let policy = &held.plan.policy;
    let landlock = landlock(held);
    let mut all = BTreeMap::new();
    let mut add = |what: &str, enforcement| {
        all.insert(what.to_owned(), enforcement);
    };
    add("files", Enforcement { also: landlock.clone(), ..layer("mount-ns") });
    add("processes_visible", layer("pid-ns"));
    add("ipc", layer("ipc-ns"));
    add("privileges", Enforcement { note: identity_note(held), ..layer("user-ns") });
    add("syscalls", Enforcement { note: facts.denials_unavailable.clone(), ..layer("seccomp") });
    let network = match policy.network {
        Network::None => Enforcement { also: Some("seccomp".into()), ..layer("net-ns") },
        Network::Loopback => {
            Enforcement { note: Some("its own loopback interface".into()), ..layer("net-ns") }
        }
    };
    add("network", network);
    add("wall", layer("supervisor"));
    add("output", layer("supervisor"));
    if policy.files.scratch != Scratch::None {
        add("disk", layer("tmpfs"));
    }
    for (what, enforcement) in counted(accounting) {
        add(what, enforcement);
    }
    if let Some(cpus) = policy.limits.cpus {
        add("cpus", cores(cpus, held.plan.cores, accounting));
    }
    if let Some(proc) = proc(held, facts) {
        add("proc", proc);
    }
    all
}

/// Level `landlock`: what is weaker than with namespaces says so.
fn in_place(held: &Held, facts: &Facts, accounting: &Accounting) -> BTreeMap<String, Enforcement> {
    let landlock =
        |note: &str| Enforcement { abi: abi(held), note: Some(note.to_owned()), ..layer("landlock") };
    let absent = |note: &str| Enforcement {
        level: EnforcementLevel::Absent,
        note: Some(note.to_owned()),
        ..layer("none")
    };
    let identity = if held.plan.root.own_ids {
        "an id of its own, without a user namespace"
    } else {
        "identity: caller; host files are refused by Landlock, not by id"
    };
    let mut all = BTreeMap::from([
        (
            "files",
            landlock("what is not given is refused, but can be seen to exist (stat, access, readlink)"),
        ),
        (
            "processes_visible",
            absent("without a pid namespace numbers of others are known; there is no /proc"),
        ),
        ("signals", landlock("only to its own processes")),
        ("ipc", Enforcement { note: Some("refused altogether".into()), ..layer("seccomp") }),
        ("privileges", Enforcement { note: Some(identity.into()), ..layer("no_new_privs") }),
        ("syscalls", Enforcement { note: facts.denials_unavailable.clone(), ..layer("seccomp") }),
        ("network", Enforcement { also: Some("landlock (TCP)".into()), ..layer("seccomp") }),
        ("wall", layer("supervisor")),
        ("output", layer("supervisor")),
    ]);
    if held.plan.policy.files.scratch != Scratch::None {
        let note = "looked at every 50 ms or more; each file limited by RLIMIT_FSIZE; files that are deleted while open \
                    are not seen";
        all.insert("disk", watched(note));
    }
    all.extend(counted(accounting));
    all.extend(held.plan.policy.limits.cpus.map(|cpus| ("cpus", cores(cpus, held.plan.cores, accounting))));
    if accounting.watches_tasks() {
        all.insert("processes", watched("counted every 10 ms or so; RLIMIT_NPROC, far above, is the user's"));
    }
    all.into_iter().map(|(what, enforcement)| (what.to_owned(), enforcement)).collect()
}

fn abi(held: &Held) -> Option<String> {
    Some(held.plan.landlock_abi.to_string())
}

fn layer(name: &str) -> Enforcement {
    Enforcement { layer: name.into(), also: None, abi: None, level: EnforcementLevel::Enforced, note: None }
}

fn watched(note: &str) -> Enforcement {
    let note = Some(note.to_owned());
    Enforcement { level: EnforcementLevel::Watched, note, ..layer("supervisor") }
}

fn landlock(held: &Held) -> Option<String> {
    let active = held.plan.guest.landlock != Handled::default();
    active.then(|| format!("landlock (ABI {})", held.plan.landlock_abi))
}

fn identity_note(held: &Held) -> Option<String> {
    (!held.plan.root.own_ids)
        .then(|| "identity: caller; host files are refused by the mount namespace, not by id".into())
}

fn counted_by(accounting: &Accounting) -> Enforcement {
    let abi = accounting.version.map(|version| if version == Version::V2 { "v2" } else { "v1" });
    Enforcement { abi: abi.map(str::to_owned), ..layer("cgroup") }
}

/// Memory, CPU time and processes: by cgroup, or watched.
fn counted(accounting: &Accounting) -> [(&'static str, Enforcement); 3] {
    let controllers = accounting.controllers;
    let by = |has: bool, otherwise: Enforcement| if has { counted_by(accounting) } else { otherwise };
    let overshoot = format!(
        "sampled: can be overrun by up to {} MiB for some milliseconds; of the kernel's own memory only page tables, \
         sockets and pipes are seen",
        accounting.overshoot_bytes() >> 20
    );
    [
        ("memory", by(controllers.memory, watched(&overshoot))),
        ("cpu", by(controllers.cpu_usage, watched("sampled, and each process limited by RLIMIT_CPU"))),
        ("processes", by(controllers.pids, layer("rlimit"))),
    ]
}

/// Without a cgroup cores are given whole, by pinning.
fn cores(cpus: f64, whole: usize, accounting: &Accounting) -> Enforcement {
    if accounting.controllers.cpu {
        return Enforcement { also: Some("affinity".into()), ..counted_by(accounting) };
    }
    let is_less = u32::try_from(whole).is_ok_and(|whole| cpus < f64::from(whole));
    let note = is_less
        .then(|| format!("pinned to {whole} whole, where {cpus} were granted: no cgroup shares cores out"));
    let level = if is_less { EnforcementLevel::Absent } else { EnforcementLevel::Enforced };
    Enforcement { level, note, ..layer("affinity") }
}

/// Whether an optional /proc is there.
fn proc(held: &Held, facts: &Facts) -> Option<Enforcement> {
    let step = held.plan.root.steps.iter().position(|step| matches!(step, Step::Proc { .. }))?;
    let failed = facts.degraded.iter().find(|(index, _)| usize::try_from(*index) == Ok(step));
    Some(match failed {
        None => Enforcement { abi: Some("subset=pid, hidepid".into()), ..layer("pid-ns") },
        Some((_, errno)) => Enforcement {
            level: EnforcementLevel::Absent,
            note: Some(format!("the host refused to mount it: {}", std::io::Error::from(Errno(*errno)))),
            ..layer("pid-ns")
        },
    })
}
