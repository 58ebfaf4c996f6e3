//! The calls whose answer depends on their arguments or on the profile: one function each.
//!
//! Every comparison is with the low half of a register, because the kernel takes these arguments as 32 bits or
//! fewer; the one exception, the address in [`execveat`], is compared whole.

mod files;
mod ioctl;
mod itself;
mod memory;
mod processes;
mod sockets;

use super::Profile;
use super::ruling::{Decision, Reason, Ruling};
use Decision::{Allow, Refuse};
pub(super) use files::{
    fadvise64, fcntl, mknod, mknodat, mode_second, mode_third, no_set_id, open, openat, renameat2, with_flags,
};
pub(super) use ioctl::ioctl;
pub(super) use itself::{
    affinity, arch_prctl, ioprio_set, of_a_process, one_id, personality, prctl, prlimit64,
    sched_setscheduler, setpriority, setrlimit, three_ids, two_ids,
};
pub(super) use memory::{landlock_add_rule, madvise, memfd_create, mmap, queue, shmget, splice};
pub(super) use processes::{clone, execve, execveat, fork};
pub(super) use sockets::{name, setsockopt, socket, socketpair};

/// How the table names a rule.
pub(super) type Rule = fn(&Profile) -> Ruling;

pub(super) fn granted(granted: bool, reason: Reason) -> Ruling {
    if granted { Allow.into() } else { Refuse(reason).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::RefusedErrno;
    use crate::seccomp::ruling::errno;
    use crate::seccomp::table::ruling_of;
    use crate::seccomp::tests::python;

    /// Decides `name(args)`; arguments left out are 0.
    pub(super) fn decide(profile: &Profile, name: &str, args: &[u64]) -> Decision {
        let mut all = [0; 6];
        all[..args.len()].copy_from_slice(args);
        ruling_of(name, profile).decide(&all)
    }

    /// The kernel does not look at the high half of an `int`; neither may a rule.
    pub(super) const HIGH: u64 = 0xdead_beef_0000_0000;

    #[test]
    fn what_lies_outside_answers_as_the_policy_says() {
        let denied = Profile { refused_errno: RefusedErrno::Eacces, ..python() };
        assert_eq!(Reason::Network.errno(&denied), errno::EACCES);
        assert_eq!(Reason::Exec.errno(&denied), errno::EACCES);
        assert_eq!(Reason::Mounts.errno(&denied), errno::EPERM);
        assert_eq!(Reason::Network.errno(&python()), errno::EPERM);
    }
}
