//! What is made of files.

use crate::seccomp::Profile;
use crate::seccomp::names::{
    F_NOTIFY, F_SETFL, F_SETLEASE, F_SETPIPE_SZ, O_CREATES, O_DIRECT, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK,
    SET_ID_BITS,
};
use crate::seccomp::ruling::{Decision, Low, Reason, Ruling, arg, errno};
use Decision::{Allow, Answer, Refuse};

pub(in crate::seccomp) fn no_set_id(mode: Low) -> Ruling {
    Ruling::when([mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId)).otherwise(Allow)
}

/// creat and mkdir have their mode second.
pub(in crate::seccomp) fn mode_second(_: &Profile) -> Ruling {
    no_set_id(arg(1))
}

/// mkdirat has it third.
pub(in crate::seccomp) fn mode_third(_: &Profile) -> Ruling {
    no_set_id(arg(2))
}

fn open_file(flags: Low, mode: Low) -> Ruling {
    Ruling::when([flags.has_any(O_CREATES), mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId))
        .or_when([flags.has_any(O_DIRECT)], PAST_THE_CACHE)
        .otherwise(Allow)
}

pub(in crate::seccomp) fn open(_: &Profile) -> Ruling {
    open_file(arg(1), arg(2))
}

pub(in crate::seccomp) fn openat(_: &Profile) -> Ruling {
    open_file(arg(2), arg(3))
}

fn make_node(mode: Low) -> Ruling {
    // No type at all is a regular file.
    const TYPES: &[u32] = &[0, S_IFREG, S_IFIFO, S_IFSOCK];
    Ruling::when([mode.has_any(SET_ID_BITS)], Refuse(Reason::SetId))
        .or_when([mode.masked(S_IFMT).in_list(TYPES)], Allow)
        .otherwise(Refuse(Reason::Devices))
}

pub(in crate::seccomp) fn mknod(_: &Profile) -> Ruling {
    make_node(arg(1))
}

pub(in crate::seccomp) fn mknodat(_: &Profile) -> Ruling {
    make_node(arg(2))
}

/// `RENAME_WHITEOUT` leaves a device node (0, 0) behind, and needs no capability for that.
pub(in crate::seccomp) fn renameat2(_: &Profile) -> Ruling {
    const WHITEOUT: u32 = 4;
    Ruling::when([arg(4).has_any(WHITEOUT)], Refuse(Reason::Devices)).otherwise(Allow)
}

/// Reads that leave nothing in the host's cache would have it read its files from its disks again and again: the answer
/// is that of a file system that cannot.
const PAST_THE_CACHE: Decision = Answer(errno::EINVAL);

/// preadv2 and pwritev2: `RWF_DONTCACHE`.
pub(in crate::seccomp) fn with_flags(_: &Profile) -> Ruling {
    const DONTCACHE: u32 = 0x80;
    Ruling::when([arg(5).has_any(DONTCACHE)], Answer(errno::EOPNOTSUPP)).otherwise(Allow)
}

/// `POSIX_FADV_DONTNEED` empties that cache.
pub(in crate::seccomp) fn fadvise64(_: &Profile) -> Ruling {
    const DONTNEED: u32 = 4;
    Ruling::when([arg(3).is(DONTNEED)], Answer(0)).otherwise(Allow)
}

/// A lease holds up whoever opens the file, and an ordinary caller's own files may be the guest's to read.
pub(in crate::seccomp) fn fcntl(profile: &Profile) -> Ruling {
    let ruling = Ruling::when([arg(1).in_list(&[F_SETLEASE, F_NOTIFY])], Refuse(Reason::Watches))
        .or_when([arg(1).is(F_SETFL), arg(2).has_any(O_DIRECT)], PAST_THE_CACHE);
    if profile.memfd {
        ruling
    } else {
        ruling.or_when([arg(1).is(F_SETPIPE_SZ)], Refuse(Reason::UncountedMemory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rules::tests::{HIGH, decide};
    use crate::seccomp::tests::python;

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
    fn nothing_is_read_past_the_cache() {
        let refused = Answer(errno::EINVAL);
        assert_eq!(decide(&python(), "open", &[0, O_DIRECT.into()]), refused);
        assert_eq!(decide(&python(), "openat", &[0, 0, O_DIRECT.into()]), refused);
        assert_eq!(decide(&python(), "fcntl", &[3, 4, O_DIRECT.into()]), refused);
        assert_eq!(decide(&python(), "fcntl", &[3, 4, 0o4_000]), Allow);
        assert_eq!(decide(&python(), "preadv2", &[0, 0, 0, 0, 0, 0x80]), Answer(errno::EOPNOTSUPP));
        assert_eq!(decide(&python(), "preadv2", &[0, 0, 0, 0, 0, 8]), Allow);
    }
}
