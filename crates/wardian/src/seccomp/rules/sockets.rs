//! What a process may talk through.

use super::granted;
use crate::seccomp::names::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM,
    SOCK_SEQPACKET, SOCK_STREAM, SOCK_TYPE_MASK, SOCKET_PROGRAMS, SOCKET_SIZES, SOL_SOCKET, TCP_ULP, numbers,
};
use crate::seccomp::ruling::{Decision, Reason, Ruling, arg, errno};
use crate::seccomp::{Profile, Sockets};
use Decision::{Allow, Answer, Refuse};

/// Other protocols than TCP and UDP (SCTP, MPTCP, ping) are needless code to reach. getaddrinfo(3) asks netlink
/// for addresses and does without.
pub(in crate::seccomp) fn socket(profile: &Profile) -> Ruling {
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
pub(in crate::seccomp) fn socketpair(profile: &Profile) -> Ruling {
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

/// A socket of a pair may be given a name too, and takes it from others of its network namespace.
pub(in crate::seccomp) fn name(profile: &Profile) -> Ruling {
    granted(profile.named_sockets || profile.sockets == Sockets::Loopback, Reason::LocalSockets)
}

/// Options are an open set, so the list is of those allowed; to others the answer is that of a protocol that does not
/// know them. Programs attached to sockets are compiled by the kernel. What a socket holds only a memory cgroup sees: without one
/// its size stays what it is, which is within what the call promises (socket(7)).
pub(in crate::seccomp) fn setsockopt(profile: &Profile) -> Ruling {
    const PROGRAMS: &[u32] = &numbers(SOCKET_PROGRAMS);
    let sizes = if profile.memfd { Allow } else { Answer(0) };
    let ruling = Ruling::when([arg(1).is(SOL_SOCKET), arg(2).in_list(PROGRAMS)], Refuse(Reason::SocketCode))
        .or_when([arg(1).is(IPPROTO_TCP), arg(2).is(TCP_ULP)], Refuse(Reason::SocketCode))
        .or_when([arg(1).is(SOL_SOCKET), arg(2).in_list(SOCKET_SIZES)], sizes);
    let allowed = ALLOWED_OPTIONS.iter().fold(ruling, |ruling, (level, options)| {
        ruling.or_when([arg(1).is(*level), arg(2).in_list(options)], Allow)
    });
    allowed.otherwise(Answer(errno::ENOPROTOOPT))
}

/// By protocol level: the numbers and switches of a socket. What is not here (keys of TCP-MD5 and TCP-AO, group
/// memberships, source filters, flow labels, extension headers) is memory of the kernel that no cgroup is charged for.
#[rustfmt::skip]
const ALLOWED_OPTIONS: &[(u32, &[u32])] = &[
    (SOL_SOCKET, &[
        2, 15, // SO_REUSEADDR, SO_REUSEPORT
        6, 9, 10, 11, 12, 13, // SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY, SO_LINGER
        16, 34, 76, // SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD
        18, 19, // SO_RCVLOWAT, SO_SNDLOWAT
        20, 21, 66, 67, // SO_RCVTIMEO, SO_SNDTIMEO, and with 64 bits
        29, 35, 37, 63, 64, 65, // SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING, and with 64 bits
        40, 42, // SO_RXQ_OVFL, SO_PEEK_OFF
    ]),
    (IPPROTO_TCP, &[
        1, 2, 3, // TCP_NODELAY, TCP_MAXSEG, TCP_CORK
        4, 5, 6, 7, // TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_SYNCNT
        8, 9, 10, 12, // TCP_LINGER2, TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_QUICKACK
        18, 25, 36, // TCP_USER_TIMEOUT, TCP_NOTSENT_LOWAT, TCP_INQ
    ]),
    (IPPROTO_IP, &[
        1, 2, 10, 24, // IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_BIND_ADDRESS_NO_PORT
        8, 11, 12, 13, // IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS
        32, 33, 34, // IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP
    ]),
    (IPPROTO_IPV6, &[
        26, 16, 67, 62, // IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_DONTFRAG
        23, 25, 49, 51, 66, // IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS
        17, 18, 19, // IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP
    ]),
    (IPPROTO_UDP, &[1, 103, 104]), // UDP_CORK, UDP_SEGMENT, UDP_GRO
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rules::tests::{HIGH, decide};
    use crate::seccomp::tests::python;

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
    fn only_options_that_cost_the_kernel_nothing() {
        let loopback = Profile { sockets: Sockets::Loopback, ..python() };
        // SO_REUSEADDR, SO_KEEPALIVE, TCP_NODELAY, IP_TTL, IPV6_V6ONLY: what servers set.
        for (level, option) in [(1, 2), (1, 9), (6, 1), (0, 2), (41, 26)] {
            assert_eq!(
                decide(&loopback, "setsockopt", &[3, level | HIGH, option]),
                Allow,
                "{level} {option}"
            );
        }
        // TCP_MD5SIG, TCP_AO_ADD_KEY, IP_ADD_MEMBERSHIP, MCAST_JOIN_SOURCE_GROUP of IPv4 and IPv6, IPV6_RTHDR.
        for (level, option) in [(6, 14), (6, 38), (0, 35), (0, 46), (41, 46), (41, 57), (255, 1)] {
            let decision = decide(&loopback, "setsockopt", &[3, level, option]);
            assert_eq!(decision, Answer(errno::ENOPROTOOPT), "{level} {option}");
        }
        // SO_ATTACH_BPF.
        assert_eq!(decide(&loopback, "setsockopt", &[3, 1, 50]), Refuse(Reason::SocketCode));
    }
}
