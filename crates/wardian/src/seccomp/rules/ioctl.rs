//! Requests to devices.

use crate::seccomp::names::{TERMINAL_REQUESTS, numbers};
use crate::seccomp::ruling::{Decision, Reason, Ruling, arg, errno};
use crate::seccomp::{Profile, Surroundings};
use Decision::{Allow, Answer, Refuse};

/// Requests are an open set, so the list is of those allowed; a device that does not know a request answers
/// `ENOTTY`, and so do we.
pub(in crate::seccomp) fn ioctl(profile: &Profile) -> Ruling {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rules::tests::{HIGH, decide};
    use crate::seccomp::tests::python;

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
}
