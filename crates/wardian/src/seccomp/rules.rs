//! The calls whose answer depends on their arguments or on the profile: one function each.
//!
//! Every comparison is with the low half of a register, because the kernel takes these arguments as 32 bits or
//! fewer; the one exception, the address in [`execveat`], is compared whole.

use super::names::*;
use super::ruling::{Decision, Low, Reason, Ruling, Test, arg, errno};
use super::{Exec, Processes, Profile, Sockets};
use Decision::{Allow, Answer, Kill, Refuse};

/// How the table names a rule.
pub(super) type Rule = fn(&Profile) -> Ruling;

fn granted(granted: bool, reason: Reason) -> Ruling {
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
    match profile.sockets {
        Sockets::None => Ruling::when([local], Refuse(Reason::LocalSockets)),
        Sockets::Unix => Ruling::when([local], Allow),
        Sockets::Loopback => Ruling::when([local], Allow)
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

pub(super) fn socketpair(profile: &Profile) -> Ruling {
    let local = if profile.sockets == Sockets::None { Refuse(Reason::LocalSockets) } else { Allow };
    Ruling::when([arg(0).is(AF_UNIX)], local).otherwise(Refuse(Reason::Network))
}

/// Programs attached to sockets are compiled by the kernel.
pub(super) fn setsockopt(_: &Profile) -> Ruling {
    const PROGRAMS: &[u32] = &numbers(SOCKET_PROGRAMS);
    Ruling::when([arg(1).is(SOL_SOCKET), arg(2).in_list(PROGRAMS)], Refuse(Reason::SocketCode))
        .or_when([arg(1).is(IPPROTO_TCP), arg(2).is(TCP_ULP)], Refuse(Reason::SocketCode))
        .otherwise(Allow)
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

pub(super) fn shmget(profile: &Profile) -> Ruling {
    if profile.sysv_shm { no_huge_pages(arg(2), SHM_HUGETLB) } else { Refuse(Reason::UncountedMemory).into() }
}

/// System V and POSIX message queues.
pub(super) fn queue(profile: &Profile) -> Ruling {
    granted(profile.sysv_shm, Reason::UncountedMemory)
}

fn no_set_id(mode: Low) -> Ruling {
    Ruling::when([mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId)).otherwise(Allow)
}

/// chmod, fchmod, creat and mkdir have their mode second.
pub(super) fn mode_second(_: &Profile) -> Ruling {
    no_set_id(arg(1))
}

/// fchmodat, fchmodat2 and mkdirat have it third.
pub(super) fn mode_third(_: &Profile) -> Ruling {
    no_set_id(arg(2))
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

/// Requests are an open set, so the list is of those allowed; a device that does not know a request answers
/// `ENOTTY`, and so do we.
pub(super) fn ioctl(_: &Profile) -> Ruling {
    const REFUSED: &[u32] = &numbers(TERMINAL_REQUESTS);
    Ruling::when([arg(1).in_list(ALLOWED_IOCTLS)], Allow)
        .or_when([arg(1).in_list(REFUSED)], Refuse(Reason::Terminal))
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
    0x8910, 0x8912, 0x8913, 0x8915, 0x891b, 0x8921, 0x8933, // SIOCGIF*: name, list, flags, address, mask, mtu, index
];

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
pub(super) fn sched_setscheduler(_: &Profile) -> Ruling {
    Ruling::when([arg(1).masked(0xbfff_ffff).in_list(&[0, 3, 5])], Allow)
        .otherwise(Refuse(Reason::Scheduling))
}

pub(super) fn affinity(profile: &Profile) -> Ruling {
    granted(profile.affinity, Reason::Affinity)
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
