//! What a process may talk through.

use super::granted;
use crate::seccomp::names::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_SEQPACKET,
    SOCK_STREAM, SOCK_TYPE_MASK, SOCKET_PROGRAMS, SOCKET_SIZES, SOL_SOCKET, TCP_ULP, numbers,
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

/// Programs attached to sockets are compiled by the kernel. What a socket holds only a memory cgroup sees: without one
/// its size stays what it is, which is within what the call promises (socket(7)).
pub(in crate::seccomp) fn setsockopt(profile: &Profile) -> Ruling {
    const PROGRAMS: &[u32] = &numbers(SOCKET_PROGRAMS);
    let ruling = Ruling::when([arg(1).is(SOL_SOCKET), arg(2).in_list(PROGRAMS)], Refuse(Reason::SocketCode))
        .or_when([arg(1).is(IPPROTO_TCP), arg(2).is(TCP_ULP)], Refuse(Reason::SocketCode));
    if profile.memfd {
        ruling.otherwise(Allow)
    } else {
        ruling.or_when([arg(1).is(SOL_SOCKET), arg(2).in_list(SOCKET_SIZES)], Answer(0)).otherwise(Allow)
    }
}

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
}
