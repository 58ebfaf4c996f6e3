//! The seccomp programs.

use crate::host::Host;
use crate::policy::{MountKind, Network, Outside, Policy};
use crate::seccomp::{Arch, Exec, Processes, Profile, Refusal, RefusedErrno, Sockets, compile};

/// What the policy grants the guest, as far as system calls are concerned.
pub(super) fn profile(policy: &Policy, exec: Exec, host: &Host) -> Profile {
    let memory_is_enforced = host.cgroups().controllers().memory;
    Profile {
        exec,
        processes: if policy.limits.processes == 1 { Processes::Single } else { Processes::Any },
        sockets: match policy.network {
            Network::None => Sockets::Unix,
            Network::Loopback => Sockets::Loopback,
        },
        named_sockets: !policy.files.mounts.iter().any(|mount| mount.kind == MountKind::Bind),
        memfd: memory_is_enforced,
        sysv_shm: memory_is_enforced,
        affinity: policy.limits.cpus.is_none(),
        refusal: if policy.syscalls.denials && host.notify { Refusal::Notify } else { Refusal::Errno },
        refused_errno: match policy.outside {
            Outside::Absent => RefusedErrno::Eperm,
            Outside::Denied => RefusedErrno::Eacces,
        },
    }
}

/// The guest's program.
pub(super) fn guest(profile: &Profile) -> Vec<u8> {
    compile(profile, Arch::current()).to_bytes()
}
