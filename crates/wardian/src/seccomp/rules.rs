//! The calls whose answer depends on their arguments or on the profile: one function each.
//!
//! Every comparison is with the low half of a register, because the kernel takes these arguments as 32 bits or
//! fewer; the one exception, the address in [`execveat`], is compared whole.

use super::names::*;
use super::ruling::{Decision, Low, Reason, Ruling, Test, arg, errno};
use super::surroundings::not_of_others;
use super::{Exec, Processes, Profile, Sockets, Surroundings};
use Decision::{Allow, Answer, Kill, Refuse};

/// How the table names a rule.
pub(super) type Rule = fn(&Profile) -> Ruling;

pub(super) fn granted(granted: bool, reason: Reason) -> Ruling {
    if granted { Allow.into() } else { Refuse(reason).into() }
}

pub(super) fn execve(profile: &Profile) -> Ruling {
    granted(profile.exec == Exec::Any, Reason::Exec)
}

/// The path's address is a secret, see the module; what only lacks the secret is an attempt to guess it.
pub(super) fn execveat(profile: &Profile) -> Ruling {
    match profile.exec {
        Exec::Any => Allow.into(),
        Exec::Never => Refuse(Reason::Exec).into(),
        Exec::Once { fd, path } => {
            let call = [arg(0).is(fd), arg(4).is(AT_EMPTY_PATH)];
            let with_secret: Vec<Test> = call.iter().cloned().chain(Test::whole(1, path)).collect();
            Ruling::when(with_secret, Allow).or_when(call, Kill).otherwise(Refuse(Reason::Exec))
        }
    }
}

/// fork(2) and vfork(2).
pub(super) fn fork(profile: &Profile) -> Ruling {
    granted(profile.processes == Processes::Any, Reason::Processes)
}

/// The flags are the first argument on both architectures. `CLONE_PARENT` would put a child beside the guest's
/// first process, among init's own.
pub(super) fn clone(profile: &Profile) -> Ruling {
    const NAMESPACES: u32 = 0x7e02_0000;
    let contained = arg(0).has_none(NAMESPACES | CLONE_PARENT);
    let ruling = match profile.processes {
        Processes::Any => Ruling::when([contained], Allow),
        Processes::ThreadsOnly => Ruling::when([contained, arg(0).has_any(CLONE_THREAD)], Allow),
        Processes::Single => return Refuse(Reason::Processes).into(),
    };
    ruling
        .or_when([arg(0).has_any(NAMESPACES)], Refuse(Reason::Namespaces))
        .otherwise(Refuse(Reason::Processes))
}

/// Other protocols than TCP and UDP (SCTP, MPTCP, ping) are needless code to reach. getaddrinfo(3) asks netlink
/// for addresses and does without.
pub(super) fn socket(profile: &Profile) -> Ruling {
    const PROTOCOLS: &[u32] = &[0, IPPROTO_TCP, IPPROTO_UDP];
    let local = arg(0).is(AF_UNIX);
    let named = if profile.named_sockets { Allow } else { Refuse(Reason::LocalSockets) };
    match profile.sockets {
        Sockets::None => Ruling::when([local], Refuse(Reason::LocalSockets)),
        Sockets::Unix => Ruling::when([local], named),
        Sockets::Loopback => Ruling::when([local], named)
            .or_when(
                [
                    arg(0).in_list(&[AF_INET, AF_INET6]),
                    arg(1).masked(SOCK_TYPE_MASK).in_list(&[SOCK_STREAM, SOCK_DGRAM]),
                    arg(2).in_list(PROTOCOLS),
                ],
                Allow,
            )
            .or_when([arg(0).is(AF_NETLINK)], Answer(errno::EAFNOSUPPORT)),
    }
    .otherwise(Refuse(Reason::Network))
}

/// A datagram socket of a pair can still send to any name.
pub(super) fn socketpair(profile: &Profile) -> Ruling {
    let local = arg(0).is(AF_UNIX);
    let ruling = match profile.sockets {
        Sockets::None => Ruling::when([local], Refuse(Reason::LocalSockets)),
        _ if profile.named_sockets => Ruling::when([local], Allow),
        _ => {
            let stream = arg(1).masked(SOCK_TYPE_MASK).in_list(&[SOCK_STREAM, SOCK_SEQPACKET]);
            Ruling::when([local, stream], Allow).or_when([arg(0).is(AF_UNIX)], Refuse(Reason::LocalSockets))
        }
    };
    ruling.otherwise(Refuse(Reason::Network))
}

/// Programs attached to sockets are compiled by the kernel. What a socket holds only a memory cgroup sees: without one
/// its size stays what it is, which is within what the call promises (socket(7)).
pub(super) fn setsockopt(profile: &Profile) -> Ruling {
    const PROGRAMS: &[u32] = &numbers(SOCKET_PROGRAMS);
    let ruling = Ruling::when([arg(1).is(SOL_SOCKET), arg(2).in_list(PROGRAMS)], Refuse(Reason::SocketCode))
        .or_when([arg(1).is(IPPROTO_TCP), arg(2).is(TCP_ULP)], Refuse(Reason::SocketCode));
    if profile.memfd {
        ruling.otherwise(Allow)
    } else {
        ruling.or_when([arg(1).is(SOL_SOCKET), arg(2).in_list(SOCKET_SIZES)], Answer(0)).otherwise(Allow)
    }
}

/// Huge pages come from a pool of the machine that the memory cgroup does not count.
fn no_huge_pages(flags: Low, bit: u32) -> Ruling {
    Ruling::when([flags.has_any(bit)], Refuse(Reason::HiddenMemory)).otherwise(Allow)
}

pub(super) fn mmap(_: &Profile) -> Ruling {
    no_huge_pages(arg(3), MAP_HUGETLB)
}

pub(super) fn memfd_create(profile: &Profile) -> Ruling {
    if profile.memfd { no_huge_pages(arg(1), MFD_HUGETLB) } else { Refuse(Reason::UncountedMemory).into() }
}

/// `POSIX_FADV_DONTNEED` would have the host read its files from its disks again and again.
pub(super) fn fadvise64(_: &Profile) -> Ruling {
    const DONTNEED: u32 = 4;
    Ruling::when([arg(3).is(DONTNEED)], Answer(0)).otherwise(Allow)
}

/// Rules are memory that only a memory cgroup sees.
pub(super) fn landlock_add_rule(profile: &Profile) -> Ruling {
    granted(profile.memfd, Reason::UncountedMemory)
}

pub(super) fn shmget(profile: &Profile) -> Ruling {
    if profile.surroundings != Surroundings::Own {
        return Refuse(Reason::SharedIpc).into();
    }
    if profile.sysv_shm { no_huge_pages(arg(2), SHM_HUGETLB) } else { Refuse(Reason::UncountedMemory).into() }
}

/// System V and POSIX message queues.
pub(super) fn queue(profile: &Profile) -> Ruling {
    match profile.surroundings {
        Surroundings::Own => granted(profile.sysv_shm, Reason::UncountedMemory),
        Surroundings::Host | Surroundings::HostAsCaller => Refuse(Reason::SharedIpc).into(),
    }
}

pub(super) fn no_set_id(mode: Low) -> Ruling {
    Ruling::when([mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId)).otherwise(Allow)
}

/// creat and mkdir have their mode second.
pub(super) fn mode_second(_: &Profile) -> Ruling {
    no_set_id(arg(1))
}

/// mkdirat has it third.
pub(super) fn mode_third(_: &Profile) -> Ruling {
    no_set_id(arg(2))
}

/// `RENAME_WHITEOUT` leaves a device node (0, 0) behind, and needs no capability for that.
pub(super) fn renameat2(_: &Profile) -> Ruling {
    const WHITEOUT: u32 = 4;
    Ruling::when([arg(4).has_any(WHITEOUT)], Refuse(Reason::Devices)).otherwise(Allow)
}

fn open_file(flags: Low, mode: Low) -> Ruling {
    Ruling::when([flags.has_any(O_CREATES), mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId))
        .otherwise(Allow)
}

pub(super) fn open(_: &Profile) -> Ruling {
    open_file(arg(1), arg(2))
}

pub(super) fn openat(_: &Profile) -> Ruling {
    open_file(arg(2), arg(3))
}

fn make_node(mode: Low) -> Ruling {
    // No type at all is a regular file.
    const TYPES: &[u32] = &[0, S_IFREG, S_IFIFO, S_IFSOCK];
    Ruling::when([mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId))
        .or_when([mode.masked(S_IFMT).in_list(TYPES)], Allow)
        .otherwise(Refuse(Reason::Devices))
}

pub(super) fn mknod(_: &Profile) -> Ruling {
    make_node(arg(1))
}

pub(super) fn mknodat(_: &Profile) -> Ruling {
    make_node(arg(2))
}

/// A socket of a pair may be given a name too, and takes it from others of its network namespace.
pub(super) fn name(profile: &Profile) -> Ruling {
    granted(profile.named_sockets || profile.sockets == Sockets::Loopback, Reason::LocalSockets)
}

/// Requests are an open set, so the list is of those allowed; a device that does not know a request answers
/// `ENOTTY`, and so do we.
pub(super) fn ioctl(profile: &Profile) -> Ruling {
    const REFUSED: &[u32] = &numbers(TERMINAL_REQUESTS);
    let ruling = Ruling::when([arg(1).in_list(ALLOWED_IOCTLS)], Allow)
        .or_when([arg(1).in_list(REFUSED)], Refuse(Reason::Terminal));
    // Any socket answers these, with the interfaces and addresses of its network namespace.
    match profile.surroundings {
        Surroundings::Own => ruling.or_when([arg(1).in_list(INTERFACE_IOCTLS)], Allow),
        Surroundings::Host | Surroundings::HostAsCaller => ruling,
    }
    .otherwise(Answer(errno::ENOTTY))
}

/// The most frequent first: they are compared one by one.
#[rustfmt::skip]
const ALLOWED_IOCTLS: &[u32] = &[
    0x5401, // TCGETS: isatty(3)
    0x5451, // FIOCLEX
    0x5450, // FIONCLEX
    0x5421, // FIONBIO
    0x541b, // FIONREAD, TIOCINQ
    0x5413, // TIOCGWINSZ
    0x5452, // FIOASYNC
    0x5460, // FIOQSIZE
    0x5402, 0x5403, 0x5404, // TCSETS, TCSETSW, TCSETSF
    0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d, // TCGETS2, TCSETS2, TCSETSW2, TCSETSF2
    0x5405, 0x5406, 0x5407, 0x5408, // TCGETA, TCSETA, TCSETAW, TCSETAF
    0x5409, 0x5425, // TCSBRK, TCSBRKP
    0x540a, 0x540b, // TCXONC, TCFLSH
    0x540e, 0x5422, // TIOCSCTTY, TIOCNOTTY: of a terminal the guest made itself; taking one needs capabilities
    0x540f, 0x5410, 0x5429, // TIOCGPGRP, TIOCSPGRP, TIOCGSID
    0x5411, // TIOCOUTQ
    0x5414, // TIOCSWINSZ
    0x8004_5430, 0x4004_5431, 0x5441, // TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER
    0x8905, // SIOCATMARK
];

/// `SIOCGIF*`: name, list, flags, address, mask, mtu, index.
const INTERFACE_IOCTLS: &[u32] = &[0x8910, 0x8912, 0x8913, 0x8915, 0x891b, 0x8921, 0x8933];

/// A lease holds up whoever opens the file, and an ordinary caller's own files may be the guest's to read.
pub(super) fn fcntl(profile: &Profile) -> Ruling {
    let ruling = Ruling::when([arg(1).in_list(&[F_SETLEASE, F_NOTIFY])], Refuse(Reason::Watches));
    if profile.memfd {
        ruling
    } else {
        ruling.or_when([arg(1).is(F_SETPIPE_SZ)], Refuse(Reason::UncountedMemory))
    }
}

/// Options are an open set too; the kernel's answer to one that it does not know is `EINVAL`.
///
/// `PR_SET_DUMPABLE` may only set what is so already: without it, `/proc/PID` would be closed to a supervisor
/// that is an ordinary user, and with it the memory it watches.
pub(super) fn prctl(_: &Profile) -> Ruling {
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
pub(super) fn arch_prctl(_: &Profile) -> Ruling {
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
pub(super) fn personality(_: &Profile) -> Ruling {
    Ruling::when([arg(0).in_list(&[0, u32::MAX])], Allow).otherwise(Refuse(Reason::Personality))
}

/// The classes that no privilege is needed for, with or without `SCHED_RESET_ON_FORK`.
pub(super) fn sched_setscheduler(profile: &Profile) -> Ruling {
    not_of_others(profile, 0)
        .or_when([arg(1).masked(0xbfff_ffff).in_list(&[0, 3, 5])], Allow)
        .otherwise(Refuse(Reason::Scheduling))
}

pub(super) fn affinity(profile: &Profile) -> Ruling {
    if profile.affinity {
        not_of_others(profile, 0).otherwise(Allow)
    } else {
        granted(false, Reason::Affinity)
    }
}

/// prlimit64 and sched_setparam, whose first argument is a process.
pub(super) fn of_a_process(profile: &Profile) -> Ruling {
    not_of_others(profile, 0).otherwise(Allow)
}

/// setpriority; a group or a user may have init in it.
pub(super) fn setpriority(profile: &Profile) -> Ruling {
    const PROCESS: u32 = 0;
    not_of_others(profile, 1).or_when([arg(0).is(PROCESS)], Allow).otherwise(Refuse(Reason::Scheduling))
}

/// ioprio_set, which numbers the same kinds from 1.
pub(super) fn ioprio_set(profile: &Profile) -> Ruling {
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
pub(super) fn one_id(_: &Profile) -> Ruling {
    no_root(&[0])
}

/// setreuid and setregid.
pub(super) fn two_ids(_: &Profile) -> Ruling {
    no_root(&[0, 1])
}

/// setresuid and setresgid.
pub(super) fn three_ids(_: &Profile) -> Ruling {
    no_root(&[0, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::RefusedErrno;
    use crate::seccomp::table::ruling_of;
    use crate::seccomp::tests::python;

    /// Decides `name(args)`; arguments left out are 0.
    fn decide(profile: &Profile, name: &str, args: &[u64]) -> Decision {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        ruling_of(name, profile).decide(&all)
    }

    /// The kernel does not look at the high half of an `int`; neither may a rule.
    const HIGH: u64 = 0xdead_beef_0000_0000;

    #[test]
    fn a_program_executed_once_needs_descriptor_flag_and_secret() {
        let secret = 0x1234_5678_9abc;
        let once = Profile { exec: Exec::Once { fd: 900, path: secret }, ..python() };
        assert_eq!(decide(&once, "execveat", &[900, secret, 0, 0, 0x1000]), Allow);
        assert_eq!(decide(&once, "execveat", &[900 | HIGH, secret, 0, 0, 0x1000 | HIGH]), Allow);
        // An absolute path elsewhere in memory: the descriptor would be ignored.
        assert_eq!(decide(&once, "execveat", &[900, secret + 1, 0, 0, 0x1000]), Kill);
        assert_eq!(decide(&once, "execveat", &[900, secret | HIGH, 0, 0, 0x1000]), Kill);
        assert_eq!(decide(&once, "execveat", &[901, secret, 0, 0, 0x1000]), Refuse(Reason::Exec));
        assert_eq!(decide(&once, "execveat", &[900, secret, 0, 0, 0]), Refuse(Reason::Exec));
        assert_eq!(decide(&once, "execve", &[secret]), Refuse(Reason::Exec));
        let never = Profile { exec: Exec::Never, ..python() };
        assert_eq!(decide(&never, "execveat", &[900, secret, 0, 0, 0x1000]), Refuse(Reason::Exec));
        assert_eq!(decide(&python(), "execve", &[secret]), Allow);
    }

    #[test]
    fn no_process_comes_in_a_new_namespace() {
        const THREAD: u64 = 0x003d_0f00;
        const SIGCHLD: u64 = 17;
        let threads = Profile { processes: Processes::ThreadsOnly, ..python() };
        let single = Profile { processes: Processes::Single, ..python() };
        for flags in [THREAD, SIGCHLD, 0x4100 | SIGCHLD] {
            assert_eq!(decide(&python(), "clone", &[flags | HIGH]), Allow);
            assert_eq!(decide(&single, "clone", &[flags]), Refuse(Reason::Processes));
        }
        assert_eq!(decide(&threads, "clone", &[THREAD]), Allow);
        assert_eq!(decide(&threads, "clone", &[SIGCHLD]), Refuse(Reason::Processes));
        assert_eq!(decide(&threads, "fork", &[]), Refuse(Reason::Processes));
        for bit in [17, 25, 26, 27, 28, 29, 30] {
            for profile in [python(), threads.clone()] {
                let decision = decide(&profile, "clone", &[THREAD | 1 << bit]);
                assert_eq!(decision, Refuse(Reason::Namespaces), "bit {bit}");
            }
        }
        assert_eq!(decide(&python(), "clone", &[0x8000 | SIGCHLD]), Refuse(Reason::Processes));
    }

    #[test]
    fn only_granted_socket_families() {
        let (unix, stream, dgram, cloexec) = (1, 1, 2, 0o2_000_000);
        let loopback = Profile { sockets: Sockets::Loopback, ..python() };
        let none = Profile { sockets: Sockets::None, ..python() };
        assert_eq!(decide(&python(), "socket", &[unix | HIGH, stream]), Allow);
        assert_eq!(decide(&python(), "socketpair", &[unix, stream]), Allow);
        assert_eq!(decide(&none, "socketpair", &[unix, stream]), Refuse(Reason::LocalSockets));
        for family in [2, 10] {
            assert_eq!(decide(&python(), "socket", &[family, stream]), Refuse(Reason::Network));
            assert_eq!(decide(&loopback, "socket", &[family, stream | cloexec, 6]), Allow);
            assert_eq!(decide(&loopback, "socket", &[family, dgram, 17]), Allow);
            // Raw, SOCK_PACKET, SCTP, MPTCP, ping.
            for (kind, protocol) in [(3, 0), (10, 0), (1, 132), (1, 262), (2, 1)] {
                assert_eq!(decide(&loopback, "socket", &[family, kind, protocol]), Refuse(Reason::Network));
            }
        }
        // AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP.
        for family in [17, 38, 40, 44] {
            assert_eq!(decide(&loopback, "socket", &[family, stream]), Refuse(Reason::Network));
        }
        assert_eq!(decide(&loopback, "socket", &[16, 3]), Answer(errno::EAFNOSUPPORT));
        for call in ["bind", "connect"] {
            let unnamed = Profile { named_sockets: false, ..python() };
            assert_eq!(decide(&python(), call, &[3]), Allow);
            assert_eq!(decide(&unnamed, call, &[3]), Refuse(Reason::LocalSockets));
            assert_eq!(decide(&Profile { named_sockets: false, ..loopback.clone() }, call, &[3]), Allow);
        }
    }

    #[test]
    fn no_renaming_leaves_a_node() {
        for (flags, expected) in
            [(0, Allow), (1, Allow), (2, Allow), (4, Refuse(Reason::Devices)), (5, Refuse(Reason::Devices))]
        {
            assert_eq!(decide(&python(), "renameat2", &[0, 0, 0, 0, flags]), expected);
        }
    }

    #[test]
    fn no_set_id_bits() {
        const CREATE: u64 = 0o100;
        const TMPFILE: u64 = 0o20_200_000;
        let refused = Refuse(Reason::SetId);
        for bit in [0o4000, 0o2000, 0o6000] {
            assert_eq!(decide(&python(), "chmod", &[0, 0o755 | bit]), refused);
            assert_eq!(decide(&python(), "fchmodat2", &[0, 0, 0o755 | bit | HIGH]), refused);
            assert_eq!(decide(&python(), "mkdirat", &[0, 0, bit]), refused);
            assert_eq!(decide(&python(), "mknod", &[0, 0o100_644 | bit]), refused);
            assert_eq!(decide(&python(), "open", &[0, CREATE, bit]), refused);
            assert_eq!(decide(&python(), "openat", &[0, 0, TMPFILE, bit]), refused);
            // Without O_CREAT the kernel ignores the mode.
            assert_eq!(decide(&python(), "openat", &[0, 0, 0, bit]), Allow);
        }
        assert_eq!(decide(&python(), "chmod", &[0, 0o1777]), Allow);
        assert_eq!(decide(&python(), "openat", &[0, 0, CREATE, 0o666]), Allow);
    }

    #[test]
    fn no_devices() {
        for (kind, expected) in [
            (0, Allow),
            (0o100_000, Allow),
            (0o010_000, Allow),
            (0o140_000, Allow),
            (0o020_000, Refuse(Reason::Devices)),
            (0o060_000, Refuse(Reason::Devices)),
        ] {
            assert_eq!(decide(&python(), "mknod", &[0, kind | 0o644]), expected);
            assert_eq!(decide(&python(), "mknodat", &[0, 0, kind | 0o644]), expected);
        }
    }

    #[test]
    fn terminals_can_be_asked_and_not_typed_for() {
        assert_eq!(decide(&python(), "ioctl", &[0, 0x5401 | HIGH]), Allow);
        // TCSETSW, TIOCGWINSZ, TIOCGPGRP, TIOCSPGRP: what a shell asks of its terminal.
        for request in [0x5403, 0x5413, 0x540f, 0x5410] {
            assert_eq!(decide(&python(), "ioctl", &[0, request]), Allow, "{request:#x}");
        }
        for request in [0x5412, 0x541c, 0x541d, 0x5423] {
            assert_eq!(
                decide(&python(), "ioctl", &[0, request | HIGH]),
                Refuse(Reason::Terminal),
                "{request:#x}"
            );
        }
        assert_eq!(decide(&python(), "ioctl", &[0, 0xae01]), Answer(errno::ENOTTY));
    }

    #[test]
    fn memory_that_only_a_cgroup_counts() {
        let watched = Profile { memfd: false, sysv_shm: false, ..python() };
        for (call, args) in [
            ("memfd_create", [0; 3]),
            ("shmget", [0, 4096, 0o600]),
            ("msgget", [0; 3]),
            ("fcntl", [1, 1031, 1 << 20]),
        ] {
            assert_eq!(decide(&python(), call, &args), Allow, "{call}");
            assert_eq!(decide(&watched, call, &args), Refuse(Reason::UncountedMemory), "{call}");
        }
        for size in [7, 8] {
            assert_eq!(decide(&python(), "setsockopt", &[5, 1, size]), Allow);
            assert_eq!(decide(&watched, "setsockopt", &[5, 1, size]), Answer(0));
        }
        assert_eq!(decide(&watched, "setsockopt", &[5, 1, 2]), Allow);
        for (call, args) in [
            ("memfd_create", [0, 4, 0, 0]),
            ("shmget", [0, 4096, 0o4600, 0]),
            ("mmap", [0, 4096, 3, 0x4_0022]),
        ] {
            assert_eq!(decide(&python(), call, &args), Refuse(Reason::HiddenMemory), "{call}");
        }
    }

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
    fn what_lies_outside_answers_as_the_policy_says() {
        let denied = Profile { refused_errno: RefusedErrno::Eacces, ..python() };
        assert_eq!(Reason::Network.errno(&denied), errno::EACCES);
        assert_eq!(Reason::Exec.errno(&denied), errno::EACCES);
        assert_eq!(Reason::Mounts.errno(&denied), errno::EPERM);
        assert_eq!(Reason::Network.errno(&python()), errno::EPERM);
    }
}
