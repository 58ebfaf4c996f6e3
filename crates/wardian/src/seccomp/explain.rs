//! What a refused call was, in words: the report's denials.
//!
//! Only registers are read. What they point to, the guest may change at any time.

use super::names::{self, Named};
use super::ruling::{Decision, Reason, errno};
use super::{Arch, Profile, Sockets, Surroundings, name_of, table};
use crate::report::Denial;

/// A call that the filter refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name.
    pub syscall: &'static str,
    /// Its arguments, as far as registers tell and they matter: `AF_INET, SOCK_STREAM`. May be empty.
    pub detail: String,
    /// What the guest is answered.
    pub errno: u16,
    /// Why.
    pub reason: Reason,
    /// What the policy's author could do about it: one sentence.
    pub hint: &'static str,
}

impl Refused {
    /// The answer's name.
    pub fn errno_name(&self) -> &'static str {
        match self.errno {
            errno::EACCES => "EACCES",
            errno::EAGAIN => "EAGAIN",
            _ => "EPERM",
        }
    }

    /// As the report shows it.
    pub fn into_denial(self, count: u64) -> Denial {
        let errno = self.errno_name().to_owned();
        let (syscall, hint) = (self.syscall.to_owned(), self.hint.to_owned());
        Denial { syscall, detail: self.detail, errno, count, hint }
    }
}

/// Explains the refusal of a call; none if the filter of this profile does not refuse it.
pub fn describe(profile: &Profile, arch: Arch, nr: u32, args: &[u64; 6]) -> Option<Refused> {
    let syscall = name_of(nr, arch)?;
    let Decision::Refuse(reason) = table::ruling_of(syscall, profile).decide(args) else { return None };
    let detail = detail(syscall, args);
    Some(Refused { syscall, detail, errno: reason.errno(profile), reason, hint: reason.hint(profile) })
}

/// The low half of an argument: all that the kernel takes.
fn low(args: &[u64; 6], index: usize) -> u32 {
    (args.get(index).copied().unwrap_or_default() & 0xffff_ffff) as u32
}

fn named(table: &[Named], number: u32) -> String {
    names::find(table, number).map_or_else(|| number.to_string(), str::to_owned)
}

fn named_flags(table: &[Named], flags: u32) -> String {
    let names: Vec<_> = table.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { format!("{flags:#x}") } else { names.join("|") }
}

fn detail(syscall: &str, args: &[u64; 6]) -> String {
    let low = |index| low(args, index);
    match syscall {
        "socket" | "socketpair" => socket(low(0), low(1), low(2)),
        "setsockopt" if low(1) == names::IPPROTO_TCP => "TCP_ULP".to_owned(),
        "setsockopt" => named(&names::SOCKET_PROGRAMS, low(2)),
        "clone" | "unshare" => named_flags(names::CLONE_FLAGS, low(0)),
        "setns" => named_flags(names::CLONE_FLAGS, low(1)),
        "prctl" => named(&names::REFUSED_PRCTL, low(0)),
        "ioctl" => named(&names::TERMINAL_REQUESTS, low(1)),
        "fcntl" => named(names::FCNTL_COMMANDS, low(1)),
        "sched_setscheduler" => named(names::SCHEDULING, low(1) & 0xbfff_ffff),
        "chmod" | "fchmod" | "creat" | "mkdir" | "mknod" => octal(low(1)),
        "open" | "fchmodat" | "fchmodat2" | "mkdirat" | "mknodat" => octal(low(2)),
        "openat" => octal(low(3)),
        "mmap" if low(3) & names::MAP_HUGETLB != 0 => "MAP_HUGETLB".to_owned(),
        "mmap" => "MAP_SHARED|MAP_ANONYMOUS".to_owned(),
        "memfd_create" if low(1) & names::MFD_HUGETLB != 0 => "MFD_HUGETLB".to_owned(),
        "shmget" => format!("{} bytes", args[1]),
        "personality" => format!("{:#x}", low(0)),
        "setuid" | "setgid" | "setfsuid" | "setfsgid" => ids(args, 1),
        "setreuid" | "setregid" => ids(args, 2),
        "setresuid" | "setresgid" => ids(args, 3),
        "bpf" | "ptrace" | "keyctl" | "syslog" => format!("operation {}", low(0)),
        "execveat" => format!("descriptor {}", low(0)),
        _ => String::new(),
    }
}

fn socket(family: u32, kind: u32, protocol: u32) -> String {
    let kind = named(names::SOCKET_TYPES, kind & names::SOCK_TYPE_MASK);
    let family = named(names::FAMILIES, family);
    if protocol == 0 { format!("{family}, {kind}") } else { format!("{family}, {kind}, protocol {protocol}") }
}

fn octal(mode: u32) -> String {
    format!("mode {:#o}", mode & 0xffff)
}

/// User or group ids; −1 leaves one as it is.
fn ids(args: &[u64; 6], count: usize) -> String {
    let ids: Vec<_> = (0..count).map(|index| low(args, index).cast_signed().to_string()).collect();
    ids.join(", ")
}

impl Reason {
    /// What the policy's author could do about a refusal, or that nothing can be done.
    pub fn hint(self, profile: &Profile) -> &'static str {
        match self {
            Self::Network if profile.sockets == Sockets::Loopback => {
                "the policy allows TCP and UDP on 127.0.0.1 and ::1, and no other network"
            }
            Self::Network => "the policy forbids network; `network = \"loopback\"` allows 127.0.0.1",
            Self::LocalSockets if profile.surroundings != Surroundings::Own => {
                "at level landlock the host's sockets are in reach: only socket pairs are allowed"
            }
            Self::LocalSockets if profile.sockets != Sockets::None => {
                "host directories are mounted, which may hold sockets of others: only socket pairs are allowed"
            }
            _ => self.general_hint(),
        }
    }

    fn general_hint(self) -> &'static str {
        match self {
            Self::Exec => {
                "the policy lets the program execute nothing else; `exec = \"any\"` with `tools` allows it"
            }
            Self::Processes => {
                "the policy forbids further processes or threads; `limits.processes` allows more"
            }
            Self::Network | Self::LocalSockets => "the policy forbids every socket, asyncio's own included",
            Self::SocketCode => {
                "programs and protocol layers on sockets are compiled into the kernel: never allowed"
            }
            Self::Namespaces => {
                "a program in a sandbox makes no namespaces or roots of its own: never allowed"
            }
            Self::Mounts => "what is mounted is decided before the program starts; `files.mounts` says what",
            Self::Trace => "looking into other processes is never allowed, a debugger's way included",
            Self::SetId => {
                "files that run as their owner are never allowed; leave out the bits 06000 of the mode"
            }
            Self::Devices => "only regular files, FIFOs and sockets can be made, never devices",
            Self::Terminal => "this terminal request could act for the terminal's user: never allowed",
            Self::Identity => "the program stays who it is; `identity` in the policy says who that is",
            Self::Kernel => "loading kernel code and restarting the machine are never allowed",
            Self::KernelPrograms => {
                "this kernel interface is too large an attack surface: never allowed; use plain calls"
            }
            Self::Keys => "kernel keyrings are shared with the rest of the machine: never allowed",
            Self::Clock => "the clock is the machine's: never allowed",
            Self::Machine => {
                "this belongs to the whole machine: never allowed; `identity.hostname` sets the host name"
            }
            Self::Hardware => "direct access to hardware is never allowed",
            Self::Handles => "opening files past the directories is never allowed",
            Self::Watches => {
                "file watches use up what belongs to the caller: never allowed; look at intervals instead"
            }
            Self::UncountedMemory => {
                "this memory can only be limited by a cgroup; wardian doctor says how to get one"
            }
            Self::HiddenMemory => "huge, secret and gifted pages escape the memory limit: never allowed",
            Self::Scheduling => "only the scheduling classes other, batch and idle are allowed",
            Self::Affinity => {
                "the cores are limited by pinning, since no cgroup does; wardian doctor says how to get one"
            }
            Self::Personality => "other execution domains are never allowed",
            Self::SharedIpc => {
                "at level landlock these are shared with the whole machine: never allowed there"
            }
            Self::Metadata => {
                "at level landlock the caller's own files are in reach of such calls: never allowed there"
            }
            Self::Oversight => "this would change how the sandbox watches the program: never allowed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::tests::{any_profile, python};
    use crate::seccomp::{Refusal, RefusedErrno};
    use proptest::prelude::*;

    fn explain(profile: &Profile, nr: u32, args: [u64; 6]) -> String {
        let refused = describe(profile, Arch::X86_64, nr, &args).unwrap();
        format!("{}({}) = {}", refused.syscall, refused.detail, refused.errno_name())
    }

    #[test]
    fn a_denial_says_what_was_tried() {
        let denied = Profile { refused_errno: RefusedErrno::Eacces, refusal: Refusal::Notify, ..python() };
        for (nr, args, expected) in [
            (41, [2, 0o2_000_001, 0, 0, 0, 0], "socket(AF_INET, SOCK_STREAM) = EACCES"),
            (41, [40, 1, 9, 0, 0, 0], "socket(AF_VSOCK, SOCK_STREAM, protocol 9) = EACCES"),
            (41, [99, 15, 0, 0, 0, 0], "socket(99, 15) = EACCES"),
            (56, [0x1002_0011, 0, 0, 0, 0, 0], "clone(CLONE_NEWNS|CLONE_NEWUSER) = EPERM"),
            (90, [0, 0o104_755, 0, 0, 0, 0], "chmod(mode 0o104755) = EPERM"),
            (16, [0, 0x5412, 0, 0, 0, 0], "ioctl(TIOCSTI) = EPERM"),
            (117, [u64::MAX, 0, 0, 0, 0, 0], "setresuid(-1, 0, 0) = EPERM"),
            (54, [0, 1, 26, 0, 0, 0], "setsockopt(SO_ATTACH_FILTER) = EPERM"),
            (157, [22, 2, 0, 0, 0, 0], "prctl(PR_SET_SECCOMP) = EPERM"),
            (101, [16, 1, 0, 0, 0, 0], "ptrace(operation 16) = EPERM"),
            (165, [0; 6], "mount() = EPERM"),
        ] {
            assert_eq!(explain(&denied, nr, args), expected);
        }
    }

    #[test]
    fn the_hint_fits_the_policy() {
        let args = [2, 1, 0, 0, 0, 0];
        let refused = describe(&python(), Arch::X86_64, 41, &args).unwrap();
        assert_eq!(refused.hint, "the policy forbids network; `network = \"loopback\"` allows 127.0.0.1");
        let loopback = Profile { sockets: Sockets::Loopback, ..python() };
        assert_eq!(describe(&loopback, Arch::X86_64, 41, &args), None);
        let raw = describe(&loopback, Arch::X86_64, 41, &[2, 3, 0, 0, 0, 0]).unwrap();
        assert_eq!(raw.hint, "the policy allows TCP and UDP on 127.0.0.1 and ::1, and no other network");
        let denial = raw.into_denial(3);
        assert_eq!((denial.syscall.as_str(), denial.errno.as_str(), denial.count), ("socket", "EPERM", 3));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever registers hold: no panic, a bounded text, no control characters.
        #[test]
        fn any_registers_can_be_described(
            profile in any_profile(),
            arch in prop::sample::select(Arch::ALL.to_vec()),
            nr in 0..480u32,
            args in any::<[u64; 6]>(),
        ) {
            if let Some(refused) = describe(&profile, arch, nr, &args) {
                prop_assert!(refused.detail.len() < 200 && refused.detail.chars().all(|c| !c.is_control()));
                prop_assert!(!refused.hint.is_empty() && !refused.hint.ends_with('.'));
            }
        }
    }
}
