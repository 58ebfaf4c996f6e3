//! Namespaces, each made on its own, so that the one that is refused has a name.

use super::settings::{self, Settings};
use crate::host::examination::Finding;
use std::fs::File;
use std::os::fd::AsFd;
use wardian_sys::spawn::{InitSpec, StartError, start_init};
use wardian_sys::{Errno, caps, clone};

/// `CLONE_NEWCGROUP`: made by the guest itself, not by `clone3`, and so no constant of the start.
const NEWCGROUP: u64 = 0x0200_0000;

struct Kind {
    name: &'static str,
    flag: u64,
    max: &'static str,
    /// Whether the default policy cannot do without.
    needed: bool,
}

const KINDS: [Kind; 7] = [
    Kind { name: "user", flag: 0, max: settings::MAX_USERNS, needed: true },
    Kind { name: "pid", flag: clone::NEWPID, max: "user.max_pid_namespaces", needed: true },
    Kind { name: "mount", flag: clone::NEWNS, max: "user.max_mnt_namespaces", needed: true },
    Kind { name: "ipc", flag: clone::NEWIPC, max: "user.max_ipc_namespaces", needed: true },
    Kind { name: "uts", flag: clone::NEWUTS, max: "user.max_uts_namespaces", needed: true },
    Kind { name: "net", flag: clone::NEWNET, max: "user.max_net_namespaces", needed: true },
    Kind { name: "cgroup", flag: NEWCGROUP, max: "user.max_cgroup_namespaces", needed: false },
];

/// One line if all are there, else one for each that is not.
pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let refused: Vec<(&Kind, Errno)> =
        KINDS.iter().filter_map(|kind| make(kind.flag).err().map(|errno| (kind, errno))).collect();
    // Without user namespaces there are none of the others either.
    let refused = match refused.first() {
        Some((first, _)) if first.flag == 0 => refused.get(..1).unwrap_or(&[]),
        _ => &refused,
    };
    let made: Vec<&str> = KINDS
        .iter()
        .filter(|kind| refused.iter().all(|(other, _)| other.name != kind.name && other.flag != 0))
        .map(|kind| kind.name)
        .collect();
    let ok = (!made.is_empty()).then(|| Finding::ok("namespaces", made.join(", ")));
    ok.into_iter().chain(refused.iter().map(|(kind, errno)| refusal(kind, *errno, settings))).collect()
}

fn refusal(kind: &Kind, errno: Errno, settings: &Settings) -> Finding {
    let detail = format!("{} namespace refused: {}", kind.name, std::io::Error::from(errno));
    let fix = settings.namespace_fix(kind.max);
    match kind.needed {
        true => Finding::fail("namespaces", detail, fix),
        false => Finding::warn("namespaces", detail, fix),
    }
}

/// Clones into a new user namespace and one other, and lets the child end: what it is to execute cannot be.
fn make(flag: u64) -> Result<(), Errno> {
    let Ok(root) = File::open("/") else { return Ok(()) };
    let spec = InitSpec {
        executable: root.as_fd(),
        namespaces: clone::NEWUSER | flag,
        cgroup: None,
        capabilities: &caps::SET_UP,
        control: root.as_fd(),
    };
    match start_init(&spec) {
        Err(StartError::Clone(errno)) => Err(errno),
        Ok(mut child) => {
            if child.wait_until_executed().is_ok() {
                // Somebody has killed it.
                child.reap();
            }
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    #[test]
    fn a_flag_that_no_kernel_knows_is_refused() {
        // CLONE_PIDFD cannot go with CLONE_DETACHED (0x400000): a refusal that every kernel gives.
        assert!(make(0x0040_0000).is_err());
    }

    #[test]
    fn what_is_refused_is_named_and_fails() {
        let settings = Settings::of(&[(settings::MAX_USERNS, "0")]);
        let finding = refusal(&KINDS[0], Errno::NOSPC, &settings);
        assert_eq!(finding.status, Status::Fail);
        assert_eq!(finding.detail, "user namespace refused: No space left on device (os error 28)");
        assert_eq!(refusal(&KINDS[6], Errno::INVAL, &settings).status, Status::Warn);
    }
}
