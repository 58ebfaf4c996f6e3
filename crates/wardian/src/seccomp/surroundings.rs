//! The calls whose answer depends on whom the guest shares kernel objects with: one function each.

use super::rules::{granted, no_set_id};
use super::ruling::{Decision, Low, Reason, Ruling, arg, errno};
use super::{Profile, Surroundings};
use Decision::Refuse;

/// Objects that are reached by a number or a name which any process of the ipc namespace can use.
pub(super) fn ipc(profile: &Profile) -> Ruling {
    granted(profile.surroundings == Surroundings::Own, Reason::SharedIpc)
}

/// Landlock does not look at these calls, by path or by descriptor: where the guest has its caller's id it could
/// open the caller's home to others.
pub(super) fn metadata(profile: &Profile) -> Ruling {
    granted(profile.surroundings != Surroundings::HostAsCaller, Reason::Metadata)
}

/// An access control list is an attribute too, which a file keeps in memory that is counted for nobody: both of a
/// directory may have 64 KiB. Programs know file systems without attributes.
pub(super) fn set_attribute(profile: &Profile) -> Ruling {
    const SHORT_BYTES: u32 = 0xff;
    match profile.surroundings {
        Surroundings::HostAsCaller => Refuse(Reason::Metadata).into(),
        Surroundings::Own | Surroundings::Host => {
            Ruling::when([arg(3).has_any(!SHORT_BYTES)], Decision::Answer(errno::EOPNOTSUPP))
                .otherwise(Decision::Allow)
        }
    }
}

/// Questions for attributes: Landlock does not look at these either, and what they answer is content. Programs know
/// file systems without attributes.
pub(super) fn attributes(profile: &Profile) -> Ruling {
    match profile.surroundings {
        Surroundings::Own => Decision::Allow.into(),
        Surroundings::Host | Surroundings::HostAsCaller => Decision::Answer(errno::EOPNOTSUPP).into(),
    }
}

/// chmod and fchmod.
pub(super) fn chmod(profile: &Profile) -> Ruling {
    change_mode(profile, arg(1))
}

/// fchmodat and fchmodat2.
pub(super) fn fchmodat(profile: &Profile) -> Ruling {
    change_mode(profile, arg(2))
}

fn change_mode(profile: &Profile, mode: Low) -> Ruling {
    match profile.surroundings {
        Surroundings::HostAsCaller => Refuse(Reason::Metadata).into(),
        Surroundings::Own | Surroundings::Host => no_set_id(mode),
    }
}

/// Where there is but one id, init has it too: its limits and its scheduling are not the guest's to change. Without a
/// pid namespace others may have it as well, under any number: a process then names itself, by 0.
pub(super) fn not_of_others(profile: &Profile, argument: u8) -> Ruling {
    let other = match profile.surroundings {
        Surroundings::Own => arg(argument).is(1),
        Surroundings::Host | Surroundings::HostAsCaller => arg(argument).has_any(u32::MAX),
    };
    Ruling::when([other], Refuse(Reason::Trace))
}

/// clock_gettime and its like, whose first argument is a clock. A negative one is the CPU time of a process or thread,
/// by its number (`~number << 3`, and its kind below; 0 is the caller), or a device's: the kernel tells of any process.
pub(super) fn clock(profile: &Profile) -> Ruling {
    const NEGATIVE: u32 = 1 << 31;
    const OWN: u32 = !0 << 3;
    match profile.surroundings {
        Surroundings::Own => Decision::Allow.into(),
        Surroundings::Host | Surroundings::HostAsCaller => {
            let of_another = [arg(0).has_any(NEGATIVE), arg(0).masked(OWN).is_not(OWN)];
            Ruling::when(of_another, Decision::Answer(errno::EINVAL)).otherwise(Decision::Allow)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::table::ruling_of;
    use crate::seccomp::tests::python;
    use Decision::Allow;

    fn decide(profile: &Profile, name: &str, args: &[u64]) -> Decision {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        ruling_of(name, profile).decide(&all)
    }

    #[test]
    fn on_the_host_nothing_of_others_is_in_reach() {
        let host = Profile { surroundings: Surroundings::Host, ..python() };
        let caller = Profile { surroundings: Surroundings::HostAsCaller, ..python() };
        for call in ["shmget", "shmat", "semget", "semop", "msgget", "msgsnd", "mq_open", "mq_unlink"] {
            assert_eq!(decide(&python(), call, &[1]), Allow, "{call}");
            for profile in [&host, &caller] {
                assert_eq!(decide(profile, call, &[1]), Refuse(Reason::SharedIpc), "{call}");
            }
        }
        for (call, process) in
            [("prlimit64", 0), ("sched_setaffinity", 0), ("sched_setscheduler", 0), ("setpriority", 1)]
        {
            let args = |pid: u64| if process == 0 { [pid, 0] } else { [0, pid] };
            assert_eq!(decide(&python(), call, &args(77)), Allow, "{call}");
            assert_eq!(decide(&caller, call, &args(0)), Allow, "{call}");
            for profile in [&host, &caller] {
                assert_eq!(decide(profile, call, &args(77)), Refuse(Reason::Trace), "{call}");
                assert_eq!(decide(profile, call, &args(1 << 31)), Refuse(Reason::Trace), "{call}");
            }
        }
        for call in
            ["chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "utimensat", "setxattr", "removexattrat"]
        {
            assert_eq!(decide(&host, call, &[0, 0, 0]), Allow, "{call}");
            assert_eq!(decide(&caller, call, &[0, 0, 0]), Refuse(Reason::Metadata), "{call}");
        }
        assert_eq!(decide(&host, "chmod", &[0, 0o4755]), Refuse(Reason::SetId));
        for call in ["getxattr", "flistxattr", "getxattrat"] {
            assert_eq!(decide(&python(), call, &[]), Allow, "{call}");
            assert_eq!(decide(&host, call, &[]), Decision::Answer(errno::EOPNOTSUPP), "{call}");
        }
        for call in ["clock_gettime", "clock_getres", "clock_nanosleep", "timer_create"] {
            // Processes 1 and 77, thread 77, a device at descriptor 3.
            for clock in
                [!1 << 3 | 2, !77 << 3 | 2, !77 << 3 | 6, !3 << 3 | 3, 1 << 31, !0 << 32 | 0xffff_fff7]
            {
                assert_eq!(decide(&python(), call, &[clock]), Allow, "{call}");
                let answer = Decision::Answer(errno::EINVAL);
                assert_eq!(decide(&host, call, &[clock]), answer, "{call} {clock:#x}");
                assert_eq!(decide(&caller, call, &[clock]), answer, "{call} {clock:#x}");
            }
            // CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, CLOCK_TAI; the caller's own, as a process and as a thread.
            for clock in [0, 3, 11, !0 << 3 | 2, !0 << 3 | 6, 0xffff_fffe] {
                assert_eq!(decide(&caller, call, &[clock]), Allow, "{call} {clock:#x}");
            }
        }
        // SIOCGIFCONF
        assert_eq!(decide(&python(), "ioctl", &[0, 0x8912]), Allow);
        assert_eq!(decide(&caller, "ioctl", &[0, 0x8912]), Decision::Answer(errno::ENOTTY));
    }
}
