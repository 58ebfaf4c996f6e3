//! What a process changes about itself: its ids, its options, its turns at the processor.

use super::granted;
use crate::seccomp::Profile;
use crate::seccomp::names::{PR_SET_DUMPABLE, REFUSED_PRCTL, RLIMIT_CORE, numbers};
use crate::seccomp::ruling::{Decision, Reason, Ruling, Test, arg, errno};
use crate::seccomp::surroundings::not_of_others;
use Decision::{Allow, Answer, Refuse};

/// Options are an open set too; the kernel's answer to one that it does not know is `EINVAL`.
///
/// `PR_SET_DUMPABLE` may only set what is so already: without it, `/proc/PID` would be closed to a supervisor
/// that is an ordinary user, and with it the memory it watches.
pub(in crate::seccomp) fn prctl(_: &Profile) -> Ruling {
    const REFUSED: &[u32] = &numbers(REFUSED_PRCTL);
    Ruling::when([arg(0).in_list(ALLOWED_PRCTLS)], Allow)
        .or_when([arg(0).is(PR_SET_DUMPABLE), arg(1).is(1)], Allow)
        .or_when([arg(0).in_list(REFUSED)], Refuse(Reason::Oversight))
        .otherwise(Answer(errno::EINVAL))
}

#[rustfmt::skip]
const ALLOWED_PRCTLS: &[u32] = &[
    15, 16, // PR_SET_NAME, PR_GET_NAME
    0x5356_4d41, // PR_SET_VMA: names of anonymous memory
    1, 2, // PR_SET_PDEATHSIG, PR_GET_PDEATHSIG
    3, // PR_GET_DUMPABLE
    7, // PR_GET_KEEPCAPS
    13, // PR_GET_TIMING
    21, // PR_GET_SECCOMP
    23, // PR_CAPBSET_READ
    25, 26, // PR_GET_TSC, PR_SET_TSC
    27, // PR_GET_SECUREBITS
    29, 30, // PR_SET_TIMERSLACK, PR_GET_TIMERSLACK
    33, 34, // PR_MCE_KILL, PR_MCE_KILL_GET
    36, 37, // PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER
    38, 39, // PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS
    40, // PR_GET_TID_ADDRESS
    41, 42, // PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
    50, 51, // PR_SVE_SET_VL, PR_SVE_GET_VL
    52, 53, // PR_GET_SPECULATION_CTRL, PR_SET_SPECULATION_CTRL
    54, 55, 56, // PR_PAC_RESET_KEYS, PR_SET_TAGGED_ADDR_CTRL, PR_GET_TAGGED_ADDR_CTRL
    60, 61, // PR_PAC_SET_ENABLED_KEYS, PR_PAC_GET_ENABLED_KEYS
    63, 64, // PR_SME_SET_VL, PR_SME_GET_VL
    65, 66, // PR_SET_MDWE, PR_GET_MDWE
    0x4155_5856, // PR_GET_AUXV
];

/// Thread pointers, `cpuid` faulting, extended state (AMX) and shadow stacks of the caller itself; not
/// `ARCH_MAP_VDSO_*`.
pub(in crate::seccomp) fn arch_prctl(_: &Profile) -> Ruling {
    #[rustfmt::skip]
    const ALLOWED: &[u32] = &[
        0x1002, 0x1003, 0x1001, 0x1004, // ARCH_SET_FS, ARCH_GET_FS, ARCH_SET_GS, ARCH_GET_GS
        0x1011, 0x1012, // ARCH_GET_CPUID, ARCH_SET_CPUID
        0x1021, 0x1022, 0x1023, // ARCH_GET_XCOMP_SUPP, ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM
        0x3001, // ARCH_CET_STATUS, as glibc before 2.39 asks
        0x5001, 0x5002, 0x5003, 0x5004, 0x5005, // ARCH_SHSTK_*
    ];
    Ruling::when([arg(0).in_list(ALLOWED)], Allow).otherwise(Answer(errno::EINVAL))
}

/// `PER_LINUX`, and the question which it is.
pub(in crate::seccomp) fn personality(_: &Profile) -> Ruling {
    Ruling::when([arg(0).in_list(&[0, u32::MAX])], Allow).otherwise(Refuse(Reason::Personality))
}

/// The classes that no privilege is needed for, with or without `SCHED_RESET_ON_FORK`.
pub(in crate::seccomp) fn sched_setscheduler(profile: &Profile) -> Ruling {
    not_of_others(profile, 0)
        .or_when([arg(1).masked(0xbfff_ffff).in_list(&[0, 3, 5])], Allow)
        .otherwise(Refuse(Reason::Scheduling))
}

pub(in crate::seccomp) fn affinity(profile: &Profile) -> Ruling {
    if profile.affinity {
        not_of_others(profile, 0).otherwise(Allow)
    } else {
        granted(false, Reason::Affinity)
    }
}

/// The limit of core dumps stays what keeps the host's handler of them away; a program that sets it to 0, as those with
/// secrets do, is as well served.
pub(in crate::seccomp) fn setrlimit(_: &Profile) -> Ruling {
    Ruling::when([arg(0).is(RLIMIT_CORE)], Answer(0)).otherwise(Allow)
}

/// The new limit is the third argument; without one it only asks.
pub(in crate::seccomp) fn prlimit64(profile: &Profile) -> Ruling {
    let only_asks: Vec<Test> = Test::whole(2, 0).into();
    not_of_others(profile, 0)
        .or_when(only_asks, Allow)
        .or_when([arg(1).is(RLIMIT_CORE)], Answer(0))
        .otherwise(Allow)
}

/// sched_setparam, whose first argument is a process.
pub(in crate::seccomp) fn of_a_process(profile: &Profile) -> Ruling {
    not_of_others(profile, 0).otherwise(Allow)
}

/// setpriority; a group or a user may have init in it.
pub(in crate::seccomp) fn setpriority(profile: &Profile) -> Ruling {
    const PROCESS: u32 = 0;
    not_of_others(profile, 1).or_when([arg(0).is(PROCESS)], Allow).otherwise(Refuse(Reason::Scheduling))
}

/// ioprio_set, which numbers the same kinds from 1.
pub(in crate::seccomp) fn ioprio_set(profile: &Profile) -> Ruling {
    const PROCESS: u32 = 1;
    not_of_others(profile, 1).or_when([arg(0).is(PROCESS)], Allow).otherwise(Refuse(Reason::Scheduling))
}

/// Programs that drop privileges (busybox among them) set the ids they have, and end if they cannot. Without
/// capabilities the kernel lets nobody take others; root is refused here as well.
fn no_root(ids: &[u8]) -> Ruling {
    ids.iter()
        .map(|&id| arg(id).is(0))
        .fold(Ruling::from(Allow), |ruling, is_root| ruling.or_when([is_root], Refuse(Reason::Identity)))
}

/// setuid, setgid, setfsuid and setfsgid.
pub(in crate::seccomp) fn one_id(_: &Profile) -> Ruling {
    no_root(&[0])
}

/// setreuid and setregid.
pub(in crate::seccomp) fn two_ids(_: &Profile) -> Ruling {
    no_root(&[0, 1])
}

/// setresuid and setresgid.
pub(in crate::seccomp) fn three_ids(_: &Profile) -> Ruling {
    no_root(&[0, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rules::tests::{HIGH, decide};
    use crate::seccomp::tests::python;

    #[test]
    fn a_process_stays_who_and_how_it_is() {
        assert_eq!(decide(&python(), "setresuid", &[1000, 1000, 1000]), Allow);
        assert_eq!(decide(&python(), "setresuid", &[u64::MAX, 1000, HIGH]), Refuse(Reason::Identity));
        assert_eq!(decide(&python(), "prctl", &[15]), Allow);
        assert_eq!(decide(&python(), "prctl", &[4, 1]), Allow);
        assert_eq!(decide(&python(), "prctl", &[4, 0]), Refuse(Reason::Oversight));
        assert_eq!(decide(&python(), "prctl", &[22]), Refuse(Reason::Oversight));
        assert_eq!(decide(&python(), "prctl", &[9999]), Answer(errno::EINVAL));
        assert_eq!(decide(&python(), "personality", &[0xffff_ffff]), Allow);
        assert_eq!(decide(&python(), "personality", &[0x0004_0000]), Refuse(Reason::Personality));
        assert_eq!(decide(&python(), "sched_setscheduler", &[0, 3 | 0x4000_0000]), Allow);
        assert_eq!(decide(&python(), "sched_setscheduler", &[0, 1]), Refuse(Reason::Scheduling));
        let pinned = Profile { affinity: false, ..python() };
        assert_eq!(decide(&pinned, "sched_setaffinity", &[0]), Refuse(Reason::Affinity));
    }

    #[test]
    fn the_limit_of_core_dumps_stays() {
        assert_eq!(decide(&python(), "setrlimit", &[4, 0x1000]), Answer(0));
        assert_eq!(decide(&python(), "setrlimit", &[7, 0x1000]), Allow);
        assert_eq!(decide(&python(), "prlimit64", &[0, 4, 0x7000_0000_0000]), Answer(0));
        assert_eq!(decide(&python(), "prlimit64", &[0, 4, 0, 0x1000]), Allow);
        assert_eq!(decide(&python(), "prlimit64", &[0, 7, 0x1000]), Allow);
    }
}
