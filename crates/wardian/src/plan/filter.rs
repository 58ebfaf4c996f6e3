//! The seccomp programs.

use crate::host::{Host, Privilege};
use crate::policy::{Layer, Level, MountKind, Network, Outside, Policy};
use crate::seccomp::{Arch, Exec, Processes, Profile, Refusal, RefusedErrno, Sockets, Surroundings, compile};

/// What the policy grants the guest, as far as system calls are concerned.
pub(super) fn profile(policy: &Policy, exec: Exec, host: &Host) -> Profile {
    let memory_is_enforced = host.cgroups().controllers().memory;
    let surroundings = match (policy.level, host.privilege) {
        (Level::Namespaces, _) => Surroundings::Own,
        (Level::Landlock, Privilege::Root) => Surroundings::Host,
        (Level::Landlock, Privilege::User) => Surroundings::HostAsCaller,
    };
    Profile {
        exec,
        // Where refusals are to look as on any machine, the limit itself refuses, with EAGAIN.
        processes: if policy.limits.processes == 1 && policy.outside == Outside::Absent {
            Processes::Single
        } else {
            Processes::Any
        },
        sockets: match policy.network {
            Network::None => Sockets::Unix,
            Network::Loopback => Sockets::Loopback,
        },
        named_sockets: surroundings == Surroundings::Own
            && !policy.files.mounts.iter().any(|mount| mount.kind == MountKind::Bind),
        memfd: memory_is_enforced,
        sysv_shm: memory_is_enforced,
        surroundings,
        affinity: policy.limits.cpus.is_none(),
        refusal: if policy.syscalls.denials && host.notify { Refusal::Notify } else { Refusal::Errno },
        refused_errno: match policy.outside {
            Outside::Absent => RefusedErrno::Eperm,
            Outside::Denied => RefusedErrno::Eacces,
        },
    }
}

/// The guest's program; and the same with plain refusals, for where there is a listener already and there can be
/// but one.
pub(super) fn guest(policy: &Policy, profile: &Profile) -> (Vec<u8>, Option<Vec<u8>>) {
    let program = compile(profile, Arch::current());
    let may_go_without = profile.refusal == Refusal::Notify && !policy.require.contains(&Layer::Denials);
    (program.to_bytes(), may_go_without.then(|| program.unobserved().to_bytes()))
}
