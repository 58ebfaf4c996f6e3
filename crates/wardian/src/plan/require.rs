//! What a policy requires of the kernel: a layer that is only watched, or not there, is an error then.

use super::PlanError;
use crate::host::Host;
use crate::limits::CgroupError;
use crate::policy::{Layer, Policy, ProcMode};

const DOCTOR: &str = "`wardian doctor` tells what this host can enforce";

/// Refuses what the host cannot enforce; a required proc is no longer optional.
pub(super) fn require(policy: &mut Policy, host: &Host) -> Result<(), PlanError> {
    for layer in policy.require.clone() {
        match layer {
            Layer::Memory => cgroup(host, "memory", "memory", host.cgroups().controllers().memory)?,
            Layer::Cpu => cgroup(host, "cpu", "cpuacct", host.cgroups().controllers().cpu_usage)?,
            Layer::Cpus => cgroup(host, "cpus", "cpu", host.cgroups().controllers().cpu)?,
            Layer::Processes => cgroup(host, "processes", "pids", host.cgroups().controllers().pids)?,
            Layer::Landlock => landlock(host)?,
            Layer::Denials => denials(policy, host)?,
            Layer::Proc => proc(policy)?,
        }
    }
    Ok(())
}

fn unenforceable(what: &'static str, reason: impl Into<String>, fix: impl Into<String>) -> PlanError {
    PlanError::Unenforceable { what, reason: reason.into(), fix: fix.into() }
}

fn cgroup(host: &Host, what: &'static str, controller: &str, has: bool) -> Result<(), PlanError> {
    if has {
        return Ok(());
    }
    let reason = match host.cgroups().reason() {
        Some(error) => error.to_string(),
        None => format!("the cgroup that we are in has no `{controller}` controller"),
    };
    let fix = host.cgroups().reason().and_then(CgroupError::hint);
    Err(unenforceable(what, reason, fix.unwrap_or_else(|| DOCTOR.into())))
}

fn landlock(host: &Host) -> Result<(), PlanError> {
    let reason = match host.landlock_abi {
        0 => "the kernel has no Landlock, or it is not switched on",
        1 => "Landlock's ABI 1 cannot let programs rename files between directories",
        _ => return Ok(()),
    };
    Err(unenforceable(
        "landlock",
        reason,
        "Linux 5.19 or later, with `landlock` in the boot parameter `lsm=`",
    ))
}

fn denials(policy: &Policy, host: &Host) -> Result<(), PlanError> {
    if !policy.syscalls.denials {
        let fix = "set `denials = true` under [syscalls], or do not require it";
        return Err(unenforceable("denials", "the policy itself switches them off", fix));
    }
    if host.notify {
        return Ok(());
    }
    Err(unenforceable("denials", "refused system calls cannot be observed here", DOCTOR))
}

fn proc(policy: &mut Policy) -> Result<(), PlanError> {
    match policy.files.proc {
        ProcMode::Required => {}
        ProcMode::Optional => policy.files.proc = ProcMode::Required,
        ProcMode::Absent => {
            let fix = "set `proc = \"required\"` under [files], or do not require it";
            return Err(unenforceable("proc", "the policy itself leaves it out", fix));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::preset;

    fn policy(layer: Layer) -> Policy {
        Policy { require: vec![layer], ..preset("python").unwrap() }
    }

    fn refusal(policy: &mut Policy, cap: &str) -> (&'static str, String, String) {
        match require(policy, &Host::detect_with(cap.parse().unwrap())) {
            Err(PlanError::Unenforceable { what, reason, fix }) => (what, reason, fix),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_only_a_cgroup_enforces_needs_one() {
        for (layer, word) in [
            (Layer::Memory, "memory"),
            (Layer::Cpu, "cpu"),
            (Layer::Cpus, "cpus"),
            (Layer::Processes, "processes"),
        ] {
            let (what, reason, fix) = refusal(&mut policy(layer), "cgroup:none");
            assert_eq!(what, word);
            assert!(reason.contains("no usable cgroup"), "{reason}");
            assert!(!fix.is_empty());
        }
    }

    #[test]
    fn a_host_that_has_the_controllers_is_enough() {
        let host = Host::detect();
        let has = host.cgroups().controllers();
        for (layer, has) in [
            (Layer::Memory, has.memory),
            (Layer::Cpu, has.cpu_usage),
            (Layer::Cpus, has.cpu),
            (Layer::Processes, has.pids),
        ] {
            assert_eq!(require(&mut policy(layer), &host).is_ok(), has, "{layer:?}");
        }
    }

    #[test]
    fn landlock_counts_from_abi_2() {
        for cap in ["landlock:0", "landlock:1"] {
            assert_eq!(refusal(&mut policy(Layer::Landlock), cap).0, "landlock");
        }
        let mut host = Host::detect_with("cgroup:none".parse().unwrap());
        host.landlock_abi = 2;
        assert!(require(&mut policy(Layer::Landlock), &host).is_ok());
    }

    #[test]
    fn denials_need_the_kernel_and_the_policy() {
        assert_eq!(refusal(&mut policy(Layer::Denials), "notify:off").0, "denials");
        let mut silent = policy(Layer::Denials);
        silent.syscalls.denials = false;
        assert!(refusal(&mut silent, "").1.contains("policy itself"));
        assert!(require(&mut policy(Layer::Denials), &Host::detect()).is_ok());
    }

    #[test]
    fn a_required_proc_is_not_optional() {
        let mut asked = policy(Layer::Proc);
        assert_eq!(asked.files.proc, ProcMode::Optional);
        require(&mut asked, &Host::detect()).unwrap();
        assert_eq!(asked.files.proc, ProcMode::Required);
        asked.files.proc = ProcMode::Absent;
        assert!(refusal(&mut asked, "").1.contains("leaves it out"));
    }

    #[test]
    fn what_is_not_required_may_be_missing() {
        let nothing = Host::detect_with("landlock:0,cgroup:none,notify:off".parse().unwrap());
        assert!(require(&mut preset("python").unwrap(), &nothing).is_ok());
    }
}
