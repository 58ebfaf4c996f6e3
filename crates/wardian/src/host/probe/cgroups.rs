//! Memory, processes and CPU: enforced by a cgroup that was made and limited, or only watched.

use crate::host::examination::Finding;
use crate::limits::CgroupError;
use crate::limits::cgroup::{Cgroup, CgroupHost, CgroupLimits, Swap, Version};

const DELEGATE: &str = "as an ordinary user `systemd-run --user --scope -p Delegate=yes wardian …`; in a unit \
                        `Delegate=yes` under [Service]; in a container its own cgroup namespace with \
                        /sys/fs/cgroup mounted rw";

const AS_MEMORY: &str = "as for memory";

pub(super) fn findings(cgroups: &CgroupHost) -> Vec<Finding> {
    let has = cgroups.controllers();
    let version = match cgroups.version() {
        Some(Version::V2) => "cgroup v2",
        Some(Version::V1) => "cgroup v1",
        None => return without(cgroups.reason()),
    };
    let one = |layer: &str, has: bool, controller: &str, otherwise: &str| match has {
        true => Finding::ok(layer, format!("{version}, enforced")),
        false => Finding::warn(
            layer,
            format!("{otherwise}: {version} without controller `{controller}` for us"),
            controller_fix(controller),
        ),
    };
    let mut all = vec![
        one("memory", has.memory, "memory", "watched only"),
        one("processes", has.pids, "pids", "per user namespace only (RLIMIT_NPROC)"),
        one("cpu time", has.cpu_usage, "cpu", "watched only"),
        one("cores", has.cpu, "cpu", "by pinning only"),
    ];
    if has.memory {
        all.push(swap(cgroups, version));
    }
    all
}

fn controller_fix(controller: &str) -> String {
    format!(
        "have `{controller}` handed down to our cgroup (v2: in cgroup.subtree_control of those above): {DELEGATE}"
    )
}

/// No usable cgroup at all: each limit is weaker in its own way.
fn without(reason: Option<&CgroupError>) -> Vec<Finding> {
    let hint = reason.and_then(CgroupError::hint).unwrap_or_else(|| DELEGATE.into());
    let why = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    vec![
        Finding::warn("memory", format!("watched only: no delegated cgroup{why}"), hint),
        Finding::warn("processes", "per user namespace only (RLIMIT_NPROC): no delegated cgroup", AS_MEMORY),
        Finding::warn("cpu time", "watched only: no delegated cgroup", AS_MEMORY),
        Finding::warn("cores", "by pinning only: no delegated cgroup", AS_MEMORY),
    ]
}

/// Makes a group without swap, and asks whether that holds.
fn swap(cgroups: &CgroupHost, version: &str) -> Finding {
    let limits = CgroupLimits { memory_bytes: Some(64 << 20), ..CgroupLimits::default() };
    let seen = cgroups.create(&limits).and_then(|group| {
        let swap = group.swap();
        Cgroup::remove(group).map(|()| swap)
    });
    match seen {
        Ok(Swap::Enforced) => Finding::ok("swap", format!("none for guests: {version}, enforced")),
        Ok(Swap::Unavailable) if !machine_has_swap() => {
            Finding::ok("swap", "not accounted, and this machine has none")
        }
        Ok(Swap::Unavailable) => Finding::warn(
            "swap",
            "a guest's memory may be swapped beyond its limit",
            "boot with swapaccount=1, or without swap",
        ),
        Err(error) => {
            let hint = error.hint().unwrap_or_else(|| DELEGATE.into());
            Finding::warn("swap", error.to_string(), hint)
        }
    }
}

/// `/proc/swaps` has a headline, then a line for each.
fn machine_has_swap() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;
    use crate::limits::cgroup::Cap;

    #[test]
    fn without_a_cgroup_every_limit_is_weaker_and_says_how_to_get_one() {
        let findings = findings(&CgroupHost::locate(Cap::None));
        assert_eq!(findings.len(), 4);
        for finding in findings {
            assert_eq!(finding.status, Status::Warn);
            assert!(finding.fix.is_some_and(|fix| !fix.is_empty()));
        }
    }

    #[test]
    fn the_fix_names_systemd_and_the_controller() {
        let fix = controller_fix("pids");
        assert!(fix.contains("`pids`") && fix.contains("Delegate=yes"));
    }
}
