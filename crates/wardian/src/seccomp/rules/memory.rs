//! Memory, and what takes some of the kernel's.

use super::granted;
use crate::seccomp::names::{MAP_ANONYMOUS, MAP_HUGETLB, MAP_SHARED, MFD_HUGETLB, SHM_HUGETLB};
use crate::seccomp::ruling::{Decision, Low, Reason, Ruling, arg, errno};
use crate::seccomp::{Profile, Surroundings};
use Decision::{Allow, Answer, Refuse};

/// Huge pages come from a pool of the machine that the memory cgroup does not count.
fn no_huge_pages(flags: Low, bit: u32) -> Ruling {
    Ruling::when([flags.has_any(bit)], Refuse(Reason::HiddenMemory)).otherwise(Allow)
}

/// Pages of shared anonymous memory stay when a process takes them out of its page tables (madvise(2), or munmap(2) of a
/// part): then they are in no process's sum. Shared mappings of files are, by their file system's.
pub(in crate::seccomp) fn mmap(profile: &Profile) -> Ruling {
    let ruling = no_huge_pages(arg(3), MAP_HUGETLB);
    if profile.memfd {
        return ruling;
    }
    let shared_anonymous = [arg(3).has_any(MAP_SHARED), arg(3).has_any(MAP_ANONYMOUS)];
    ruling.or_when(shared_anonymous, Refuse(Reason::UncountedMemory))
}

/// `MADV_COLD` and `MADV_PAGEOUT` drop a file's pages from the host's cache, if the caller could write to it; they need not do
/// anything. `MADV_MERGEABLE` merges pages with those of other processes, and the time of a write tells what they hold: the
/// answer is that of a kernel that merges none.
pub(in crate::seccomp) fn madvise(_: &Profile) -> Ruling {
    const MERGEABLE: u32 = 12;
    const COLD: u32 = 20;
    const PAGEOUT: u32 = 21;
    Ruling::when([arg(2).in_list(&[COLD, PAGEOUT])], Answer(0))
        .or_when([arg(2).is(MERGEABLE)], Answer(errno::EINVAL))
        .otherwise(Allow)
}

/// What is spliced into a socket is not copied: one byte there keeps a whole page, which the file may have lost since. So a
/// socket that counts as full would hold many times as much. Programs know files that cannot be spliced, and copy.
pub(in crate::seccomp) fn splice(profile: &Profile) -> Ruling {
    if profile.memfd { Allow.into() } else { Answer(errno::EINVAL).into() }
}

pub(in crate::seccomp) fn memfd_create(profile: &Profile) -> Ruling {
    if profile.memfd { no_huge_pages(arg(1), MFD_HUGETLB) } else { Refuse(Reason::UncountedMemory).into() }
}

pub(in crate::seccomp) fn shmget(profile: &Profile) -> Ruling {
    if profile.surroundings != Surroundings::Own {
        return Refuse(Reason::SharedIpc).into();
    }
    if profile.sysv_shm { no_huge_pages(arg(2), SHM_HUGETLB) } else { Refuse(Reason::UncountedMemory).into() }
}

/// System V and POSIX message queues, and System V semaphores.
pub(in crate::seccomp) fn queue(profile: &Profile) -> Ruling {
    match profile.surroundings {
        Surroundings::Own => granted(profile.sysv_shm, Reason::UncountedMemory),
        Surroundings::Host | Surroundings::HostAsCaller => Refuse(Reason::SharedIpc).into(),
    }
}

/// Rules are memory that only a memory cgroup sees.
pub(in crate::seccomp) fn landlock_add_rule(profile: &Profile) -> Ruling {
    granted(profile.memfd, Reason::UncountedMemory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rules::tests::{HIGH, decide};
    use crate::seccomp::tests::python;

    #[test]
    fn pages_of_others_are_left_where_they_are() {
        for (advice, decision) in [
            (4, Allow),
            (8, Allow),
            (12, Answer(errno::EINVAL)),
            (20, Answer(0)),
            (21, Answer(0)),
            (HIGH | 21, Answer(0)),
        ] {
            assert_eq!(decide(&python(), "madvise", &[0, 4096, advice]), decision, "{advice}");
        }
    }

    #[test]
    fn memory_that_only_a_cgroup_counts() {
        let watched = Profile { memfd: false, sysv_shm: false, ..python() };
        for (call, args) in [
            ("memfd_create", [0; 3]),
            ("shmget", [0, 4096, 0o600]),
            ("msgget", [0; 3]),
            ("semget", [0; 3]),
            ("fcntl", [1, 1031, 1 << 20]),
        ] {
            assert_eq!(decide(&python(), call, &args), Allow, "{call}");
            assert_eq!(decide(&watched, call, &args), Refuse(Reason::UncountedMemory), "{call}");
        }
        // MAP_SHARED and MAP_SHARED_VALIDATE, with MAP_ANONYMOUS; MAP_NORESERVE changes nothing.
        for flags in [0x21, 0x23, 0x4021, HIGH | 0x21] {
            assert_eq!(decide(&python(), "mmap", &[0, 4096, 3, flags]), Allow, "{flags:#x}");
            let watched = decide(&watched, "mmap", &[0, 4096, 3, flags]);
            assert_eq!(watched, Refuse(Reason::UncountedMemory), "{flags:#x}");
        }
        // A private mapping, a shared one of a file, MAP_DROPPABLE.
        for flags in [0x22, 0x01, 0x03, 0x28] {
            assert_eq!(decide(&watched, "mmap", &[0, 4096, 3, flags]), Allow, "{flags:#x}");
        }
        for call in ["splice", "sendfile"] {
            assert_eq!(decide(&python(), call, &[]), Allow);
            assert_eq!(decide(&watched, call, &[]), Answer(errno::EINVAL));
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
}
