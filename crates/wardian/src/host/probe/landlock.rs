//! Landlock: which ABI, and what it brings.

use crate::host::examination::Finding;
use crate::host::{Cap, Host};
use wardian_sys::Errno;

/// What each ABI added (landlock(7)).
const FEATURES: [(u32, &str); 6] = [
    (1, "files"),
    (2, "renames"),
    (3, "truncation"),
    (4, "TCP"),
    (5, "ioctl on devices"),
    (6, "signals and abstract sockets"),
];
const USABLE: u32 = 2;
const COMPLETE: u32 = 6;

pub(super) fn finding(host: &Host, cap: Cap) -> Finding {
    let refused = wardian_sys::landlock::abi().err().filter(|_| cap.landlock != Some(0));
    of(host.landlock_abi, refused)
}

fn of(abi: u32, refused: Option<Errno>) -> Finding {
    let has: Vec<&str> = FEATURES.iter().filter(|(from, _)| *from <= abi).map(|(_, what)| *what).collect();
    let has = has.join(", ");
    if abi >= COMPLETE {
        return Finding::ok("landlock", format!("ABI {abi}: {has}"));
    }
    if abi >= USABLE {
        let lacks: Vec<&str> =
            FEATURES.iter().filter(|(from, _)| *from > abi).map(|(_, what)| *what).collect();
        let detail = format!("ABI {abi}: {has}; not: {}", lacks.join(", "));
        return Finding::warn(
            "landlock",
            detail,
            "Linux 6.12 or later; until then the other layers stand alone there",
        );
    }
    // EOPNOTSUPP: built in, but not switched on at boot.
    const EOPNOTSUPP: Errno = Errno(95);
    match (abi, refused) {
        (1, _) => Finding::warn("landlock", "ABI 1 is not used: it breaks renames", "Linux 5.19 or later"),
        (_, Some(EOPNOTSUPP)) => Finding::warn(
            "landlock",
            "built into the kernel, but switched off",
            "boot with lsm=landlock,… (the others are in /sys/kernel/security/lsm)",
        ),
        (_, Some(Errno::PERM)) => Finding::warn(
            "landlock",
            "refused",
            "allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self in the container's seccomp profile",
        ),
        _ => Finding::warn("landlock", "the kernel has none", "a kernel with CONFIG_SECURITY_LANDLOCK"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    #[test]
    fn an_old_abi_says_what_is_missing() {
        assert_eq!(of(7, None).status, Status::Ok);
        assert_eq!(
            of(3, None).detail,
            "ABI 3: files, renames, truncation; not: TCP, ioctl on devices, signals and abstract sockets"
        );
        assert!(of(1, None).detail.contains("not used"));
    }

    #[test]
    fn without_any_the_reason_decides_the_fix() {
        let fix = |errno| of(0, errno).fix.unwrap();
        assert!(fix(Some(Errno(95))).contains("lsm=landlock"));
        assert!(fix(Some(Errno::PERM)).contains("seccomp profile"));
        assert!(fix(Some(Errno::NOSYS)).contains("CONFIG_SECURITY_LANDLOCK"));
        assert_eq!(of(0, None).status, Status::Warn);
    }
}
