//! Numbers that appear in arguments, by name, for the rules and for what a denial says.
//!
//! They are the same on x86-64 and aarch64. Sources: the kernel's `include/uapi`, the header named at each table.

/// A number and its name.
pub(super) type Named = (u32, &'static str);

/// The name of a number.
pub(super) fn find(table: &[Named], number: u32) -> Option<&'static str> {
    table.iter().find(|named| named.0 == number).map(|named| named.1)
}

/// The numbers of a table.
pub(super) const fn numbers<const N: usize>(table: [Named; N]) -> [u32; N] {
    let mut numbers = [0; N];
    let mut at = 0;
    while at < N {
        numbers[at] = table[at].0;
        at += 1;
    }
    numbers
}

pub(super) const AF_UNIX: u32 = 1;
pub(super) const AF_INET: u32 = 2;
pub(super) const AF_INET6: u32 = 10;
pub(super) const AF_NETLINK: u32 = 16;

/// Address families (`bits/socket.h`).
pub(super) const FAMILIES: &[Named] = &[
    (0, "AF_UNSPEC"),
    (AF_UNIX, "AF_UNIX"),
    (AF_INET, "AF_INET"),
    (3, "AF_AX25"),
    (4, "AF_IPX"),
    (5, "AF_APPLETALK"),
    (9, "AF_X25"),
    (AF_INET6, "AF_INET6"),
    (15, "AF_KEY"),
    (AF_NETLINK, "AF_NETLINK"),
    (17, "AF_PACKET"),
    (21, "AF_RDS"),
    (24, "AF_PPPOX"),
    (26, "AF_LLC"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (33, "AF_RXRPC"),
    (37, "AF_CAIF"),
    (38, "AF_ALG"),
    (39, "AF_NFC"),
    (40, "AF_VSOCK"),
    (41, "AF_KCM"),
    (42, "AF_QIPCRTR"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
    (45, "AF_MCTP"),
];

pub(super) const SOCK_STREAM: u32 = 1;
pub(super) const SOCK_SEQPACKET: u32 = 5;
pub(super) const SOCK_DGRAM: u32 = 2;
/// The bits of a socket's type that are its type; the others are flags.
pub(super) const SOCK_TYPE_MASK: u32 = 0xf;

/// Socket types (`bits/socket_type.h`).
pub(super) const SOCKET_TYPES: &[Named] = &[
    (SOCK_STREAM, "SOCK_STREAM"),
    (SOCK_DGRAM, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (6, "SOCK_DCCP"),
    (10, "SOCK_PACKET"),
];

pub(super) const CLONE_THREAD: u32 = 0x0001_0000;
pub(super) const CLONE_PARENT: u32 = 0x0000_8000;

/// Flags of clone(2) and unshare(2) that a denial names (`linux/sched.h`); no `CLONE_NEWTIME`, whose bit
/// clone(2) takes for the exit signal.
pub(super) const CLONE_FLAGS: &[Named] = &[
    (CLONE_PARENT, "CLONE_PARENT"),
    (CLONE_THREAD, "CLONE_THREAD"),
    (0x0002_0000, "CLONE_NEWNS"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];

/// Terminal requests that are refused: typing for its user, its console, its line discipline (`asm-generic/ioctls.h`).
pub(super) const TERMINAL_REQUESTS: [Named; 4] =
    [(0x5412, "TIOCSTI"), (0x541c, "TIOCLINUX"), (0x541d, "TIOCCONS"), (0x5423, "TIOCSETD")];

pub(super) const F_SETFL: u32 = 4;
pub(super) const F_SETLEASE: u32 = 1024;
pub(super) const F_NOTIFY: u32 = 1026;
pub(super) const F_SETPIPE_SZ: u32 = 1031;

/// fcntl(2) commands that may be refused (`linux/fcntl.h`).
pub(super) const FCNTL_COMMANDS: &[Named] =
    &[(F_SETLEASE, "F_SETLEASE"), (F_NOTIFY, "F_NOTIFY"), (F_SETPIPE_SZ, "F_SETPIPE_SZ")];

pub(super) const PR_SET_DUMPABLE: u32 = 4;

/// prctl(2) options that are refused (`linux/prctl.h`).
pub(super) const REFUSED_PRCTL: [Named; 11] = [
    (PR_SET_DUMPABLE, "PR_SET_DUMPABLE"),
    (8, "PR_SET_KEEPCAPS"),
    (22, "PR_SET_SECCOMP"),
    (24, "PR_CAPBSET_DROP"),
    (28, "PR_SET_SECUREBITS"),
    (35, "PR_SET_MM"),
    (47, "PR_CAP_AMBIENT"),
    (57, "PR_SET_IO_FLUSHER"),
    (59, "PR_SET_SYSCALL_USER_DISPATCH"),
    (62, "PR_SCHED_CORE"),
    (0x5961_6d61, "PR_SET_PTRACER"),
];

/// Scheduling policies (`linux/sched.h`).
pub(super) const SCHEDULING: &[Named] = &[
    (0, "SCHED_OTHER"),
    (1, "SCHED_FIFO"),
    (2, "SCHED_RR"),
    (3, "SCHED_BATCH"),
    (5, "SCHED_IDLE"),
    (6, "SCHED_DEADLINE"),
    (7, "SCHED_EXT"),
];

pub(super) const RLIMIT_CORE: u32 = 4;

pub(super) const SOL_SOCKET: u32 = 1;
pub(super) const IPPROTO_IP: u32 = 0;
pub(super) const IPPROTO_TCP: u32 = 6;
pub(super) const IPPROTO_UDP: u32 = 17;
pub(super) const IPPROTO_IPV6: u32 = 41;

/// Options at `SOL_SOCKET` that attach a program to a socket (`asm-generic/socket.h`).
pub(super) const SOCKET_PROGRAMS: [Named; 4] = [
    (26, "SO_ATTACH_FILTER"),
    (50, "SO_ATTACH_BPF"),
    (51, "SO_ATTACH_REUSEPORT_CBPF"),
    (52, "SO_ATTACH_REUSEPORT_EBPF"),
];

/// `SO_SNDBUF` and `SO_RCVBUF`: how much a socket holds.
pub(super) const SOCKET_SIZES: &[u32] = &[7, 8];

/// Attaches a protocol layer (kernel TLS, MPTCP) to a TCP socket (`linux/tcp.h`).
pub(super) const TCP_ULP: u32 = 31;

pub(super) const S_IFMT: u32 = 0o170_000;
pub(super) const S_IFREG: u32 = 0o100_000;
pub(super) const S_IFIFO: u32 = 0o010_000;
pub(super) const S_IFSOCK: u32 = 0o140_000;
/// `S_ISUID | S_ISGID`
pub(super) const SET_ID_BITS: u32 = 0o6_000;
/// `O_CREAT | __O_TMPFILE`: with neither, open(2) ignores its mode, and the register holds anything.
#[cfg(target_arch = "x86_64")]
pub(super) const O_DIRECT: u32 = 0o40_000;
#[cfg(target_arch = "aarch64")]
pub(super) const O_DIRECT: u32 = 0o200_000;
pub(super) const O_CREATES: u32 = 0o100 | 0o20_000_000;

/// In `MAP_SHARED` and `MAP_SHARED_VALIDATE`, and in no other type of mapping.
pub(super) const MAP_SHARED: u32 = 1;
pub(super) const MAP_ANONYMOUS: u32 = 0x20;
pub(super) const MAP_HUGETLB: u32 = 0x4_0000;
pub(super) const MFD_HUGETLB: u32 = 4;
pub(super) const SHM_HUGETLB: u32 = 0o4_000;
pub(super) const AT_EMPTY_PATH: u32 = 0x1000;
