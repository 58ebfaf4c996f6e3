//! The seccomp filter: which system calls a guest may make.
//!
//! The policy is an allow-list and plain data. `table` puts every system call of an architecture into exactly
//! one group, each with its reason; `rules` says for the few that depend on their arguments, or on what the
//! [`Profile`] grants, which are allowed. [`compile()`] turns a profile into a BPF [`Program`] whose bytes
//! `wardian-init` installs last of all, just before the guest's exec. [`describe`] turns a refused call that the
//! kernel reports back (seccomp_unotify(2)) into words.
//!
//! What the answers mean:
//!
//! | a call that … | gets |
//! |---|---|
//! | is on the list | the kernel's answer; where no argument matters the kernel does not even run the filter (since 5.11) |
//! | no well-meaning program needs | `EPERM` (or [`Profile::refused_errno`]) and, with [`Refusal::Notify`], a denial in the report |
//! | programs try and do without | `ENOSYS`, as an older kernel would say; never reported |
//! | is unknown here | `ENOSYS` |
//! | is made through another architecture's entry (i386, x32) | death of the process by `SIGSYS` |
//!
//! Only registers are looked at: what a pointer leads to, another thread of the guest can change between the
//! check and its use. So calls whose meaning is in memory (`clone3`, `openat2`) do not exist for a guest, and
//! programs fall back to their older forms.
//!
//! # Executing once
//!
//! `AT_EMPTY_PATH` only *permits* an empty path: `execveat(fd, "/bin/sh", …, AT_EMPTY_PATH)` ignores `fd` and
//! runs the shell. The path is in memory, but the *pointer* is not. [`Exec::Once`] therefore also compares the
//! pointer with a secret address that init draws at random, where it puts the empty string: it is gone after
//! the exec, the guest never learns it, and a call that is right in all but the address ends the process, so
//! that each process has one guess in nearly 2⁴⁶ (aarch64: 2³⁸).

mod arch;
mod assembler;
mod bpf;
mod compile;
mod explain;
mod init;
#[cfg(test)]
mod interpreter;
mod names;
mod rules;
mod ruling;
mod surroundings;
mod table;

pub use arch::{Arch, name_of};
pub use bpf::{Insn, Program};
pub use compile::compile;
pub use explain::{Refused, describe};
pub use init::init_program;
pub use ruling::{Decision, Reason};
pub(crate) use table::is_never_allowed;

use serde::Serialize;

/// What a policy grants, as far as system calls are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Which programs may be executed.
    pub exec: Exec,
    /// Which processes and threads may be created.
    pub processes: Processes,
    /// Which sockets may be created.
    pub sockets: Sockets,
    /// Whether `AF_UNIX` sockets may have, or reach, a name: not where directories of the host are mounted, which
    /// may hold sockets of others (a read-only mount does not stop connect(2)). Pairs are not affected.
    pub named_sockets: bool,
    /// Whether memory files may be created (memfd_create(2)), and pipes and sockets enlarged. All hold memory that belongs
    /// to no process, which only a memory cgroup sees: grant it only where the memory limit is enforced.
    pub memfd: bool,
    /// Whether System V shared memory, and System V and POSIX message queues may be created: as for `memfd`.
    pub sysv_shm: bool,
    /// Whom the guest shares kernel objects with.
    pub surroundings: Surroundings,
    /// Whether the CPU affinity may be changed: not where the number of cores is limited by pinning.
    pub affinity: bool,
    /// How a refusal is told.
    pub refusal: Refusal,
    /// What refused sockets, programs and processes answer; all else that is refused answers `EPERM`.
    pub refused_errno: RefusedErrno,
}

/// Which programs may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exec {
    /// Whatever the file system contains.
    Any,
    /// One, once: `execveat(fd, path, …, AT_EMPTY_PATH)`.
    Once {
        /// The descriptor of the program: close-on-exec, and at or above the guest's `RLIMIT_NOFILE`.
        fd: u32,
        /// The address of the empty path, drawn at random for each run: [`Exec::once`].
        path: u64,
    },
    /// None: for a guest that is forked, not executed.
    Never,
}

impl Exec {
    /// Executes the program at descriptor `fd` once; `random` is 64 fresh random bits.
    ///
    /// Whoever executes it maps a page of zeroes around `path` first (`MAP_FIXED_NOREPLACE`), and must be
    /// undumpable, so that no guest finds the address in its memory.
    pub fn once(fd: u32, random: u64, arch: Arch) -> Self {
        /// Above what a static program of the default code model occupies.
        const FIRST: u64 = 1 << 33;
        // Below where the kernel puts stacks, libraries and position-independent programs by itself.
        let end: u64 = match arch {
            Arch::X86_64 => 1 << 46,
            // Kernels with 39-bit addresses exist.
            Arch::Aarch64 => 1 << 38,
        };
        Self::Once { fd, path: FIRST + random % (end - FIRST) }
    }
}

/// Which processes and threads may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Processes {
    /// Processes and threads, in no new namespace.
    Any,
    /// Threads only.
    ThreadsOnly,
    /// None.
    Single,
}

/// Which sockets may be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sockets {
    /// None, not even a pair; asyncio does not start without one.
    None,
    /// `AF_UNIX`.
    Unix,
    /// `AF_UNIX`, and TCP and UDP over IPv4 and IPv6.
    Loopback,
}

/// Whom a guest shares kernel objects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surroundings {
    /// Nobody: its namespaces are its own.
    Own,
    /// Everybody on the host, under an id that is nobody else's.
    Host,
    /// Everybody on the host, under its caller's id.
    HostAsCaller,
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// To the guest alone, by an error number.
    Errno,
    /// To the supervisor, which answers with [`Refused::errno`]. Needs a listener (`SECCOMP_FILTER_FLAG_NEW_LISTENER`):
    /// without one the kernel answers `ENOSYS`.
    Notify,
}

/// What refused sockets, programs and processes answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefusedErrno {
    /// As all else that is refused.
    Eperm,
    /// As an LSM would (`outside = "denied"`).
    Eacces,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The profile of the policy `python`.
    pub(crate) fn python() -> Profile {
        Profile {
            exec: Exec::Any,
            processes: Processes::Any,
            sockets: Sockets::Unix,
            named_sockets: true,
            memfd: true,
            sysv_shm: true,
            surroundings: Surroundings::Own,
            affinity: true,
            refusal: Refusal::Errno,
            refused_errno: RefusedErrno::Eperm,
        }
    }

    prop_compose! {
        /// Any profile; programs executed once have small secrets, so that calls meet them.
        pub(crate) fn any_profile()(
            exec in prop_oneof![
                Just(Exec::Any),
                Just(Exec::Never),
                (0..4u32, 0..4u64).prop_map(|(fd, path)| Exec::Once { fd, path: path << 31 }),
            ],
            processes in prop::sample::select(vec![Processes::Any, Processes::ThreadsOnly, Processes::Single]),
            sockets in prop::sample::select(vec![Sockets::None, Sockets::Unix, Sockets::Loopback]),
            refusal in prop::sample::select(vec![Refusal::Errno, Refusal::Notify]),
            refused_errno in prop::sample::select(vec![RefusedErrno::Eperm, RefusedErrno::Eacces]),
            surroundings in
                prop::sample::select(vec![Surroundings::Own, Surroundings::Host, Surroundings::HostAsCaller]),
            [memfd, sysv_shm, affinity, named_sockets] in any::<[bool; 4]>(),
        ) -> Profile {
            Profile {
                exec, processes, sockets, named_sockets, memfd, sysv_shm, surroundings, affinity, refusal, refused_errno
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_secret_address_can_be_mapped(random in any::<u64>(), arch in prop::sample::select(Arch::ALL.to_vec())) {
            let Exec::Once { fd: 900, path } = Exec::once(900, random, arch) else { panic!("another program") };
            prop_assert!((1 << 33..1 << 46).contains(&path));
        }
    }

    #[test]
    fn a_profile_is_plain_data() {
        let json = serde_json::to_string(&python()).unwrap();
        assert_eq!(
            json,
            r#"{"exec":"any","processes":"any","sockets":"unix","named_sockets":true,"memfd":true,"sysv_shm":true,"#.to_owned()
                + r#""surroundings":"own","affinity":true,"refusal":"errno","refused_errno":"EPERM"}"#
        );
    }
}
