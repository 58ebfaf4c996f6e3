//! What may be said about a system call: decisions, and the conditions on its arguments.

use super::{Profile, RefusedErrno};
use std::borrow::Cow;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The kernel executes it.
    Allow,
    /// It fails, and is worth a denial.
    Refuse(Reason),
    /// It answers this error number, and nobody is told; 0 is success.
    Answer(u16),
    /// The process dies by `SIGSYS`.
    Kill,
}

impl Decision {
    /// As a kernel without this call answers.
    pub(super) const ABSENT: Self = Self::Answer(errno::ENOSYS);
}

/// The error numbers that are answered (`asm-generic/errno.h`).
pub(super) mod errno {
    pub(in super::super) const EPERM: u16 = 1;
    pub(in super::super) const EAGAIN: u16 = 11;
    pub(in super::super) const EACCES: u16 = 13;
    pub(in super::super) const EINVAL: u16 = 22;
    pub(in super::super) const ENOTTY: u16 = 25;
    pub(in super::super) const ENOSYS: u16 = 38;
    pub(in super::super) const ENOPROTOOPT: u16 = 92;
    pub(in super::super) const EOPNOTSUPP: u16 = 95;
    pub(in super::super) const EAFNOSUPPORT: u16 = 97;
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It executes a program.
    Exec,
    /// It creates a process or a thread.
    Processes,
    /// It creates a socket that reaches beyond the sandbox's own processes.
    Network,
    /// It creates a socket between the sandbox's own processes.
    LocalSockets,
    /// It attaches code or a protocol layer to a socket.
    SocketCode,
    /// It creates or enters a namespace, or changes the root.
    Namespaces,
    /// It changes mounts.
    Mounts,
    /// It looks into, or takes from, another process.
    Trace,
    /// It sets the set-user-id or set-group-id bit.
    SetId,
    /// It creates a device.
    Devices,
    /// It speaks to a terminal behind its user's back.
    Terminal,
    /// It becomes another user, or takes capabilities.
    Identity,
    /// It loads code into the kernel, or restarts it.
    Kernel,
    /// It programs the kernel (BPF, io_uring, perf, userfaultfd): where most kernel holes were.
    KernelPrograms,
    /// It keeps keys in the kernel.
    Keys,
    /// It sets the clock.
    Clock,
    /// It changes what belongs to the whole machine.
    Machine,
    /// It touches hardware directly.
    Hardware,
    /// It opens files by handle, past the directories.
    Handles,
    /// It watches files or leases them; what it uses up is counted against the caller.
    Watches,
    /// It allocates memory that only a memory cgroup can count.
    UncountedMemory,
    /// It allocates memory that not even a memory cgroup counts.
    HiddenMemory,
    /// It changes its scheduling class.
    Scheduling,
    /// It changes the cores it runs on.
    Affinity,
    /// It changes its execution domain.
    Personality,
    /// It uses queues, semaphores or memory that any process of the machine may share.
    SharedIpc,
    /// It changes mode, owner, times or attributes of a file that may be its caller's.
    Metadata,
    /// It changes how it is watched: its filters, its visibility, its memory map.
    Oversight,
}

impl Reason {
    /// The error number of a refusal.
    pub fn errno(self, profile: &Profile) -> u16 {
        let as_outside = matches!(self, Self::Exec | Self::Processes | Self::Network | Self::LocalSockets);
        match profile.refused_errno {
            // What a limit of processes says, which this is.
            RefusedErrno::Eperm if self == Self::Processes => errno::EAGAIN,
            RefusedErrno::Eacces if as_outside => errno::EACCES,
            RefusedErrno::Eacces | RefusedErrno::Eperm => errno::EPERM,
        }
    }
}

/// Half of an argument. The kernel takes `int`, `unsigned int`, `umode_t` arguments from the low half of the
/// register whatever the high half holds, so conditions on them must not look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Low,
    High,
}

/// One condition: half of an argument, masked, is one of some values, or none of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) argument: u8,
    pub(super) half: Half,
    pub(super) mask: u32,
    pub(super) values: Cow<'static, [u32]>,
    pub(super) holds_if_found: bool,
}

/// The low half of an argument, about to be compared.
#[derive(Clone, Copy)]
pub(super) struct Low {
    argument: u8,
    mask: u32,
}

/// The low half of argument `index`, counted from 0.
pub(super) const fn arg(index: u8) -> Low {
    Low { argument: index, mask: u32::MAX }
}

impl Low {
    /// Only these bits of it.
    pub(super) const fn masked(self, mask: u32) -> Self {
        Self { mask, ..self }
    }

    /// It is `value`.
    pub(super) fn is(self, value: u32) -> Test {
        self.test(Cow::Owned(vec![value]), true)
    }

    /// It is anything but `value`.
    pub(super) fn is_not(self, value: u32) -> Test {
        self.test(Cow::Owned(vec![value]), false)
    }

    /// It is one of `values`.
    pub(super) fn in_list(self, values: &'static [u32]) -> Test {
        self.test(Cow::Borrowed(values), true)
    }

    /// It has at least one of these bits.
    pub(super) fn has_any(self, bits: u32) -> Test {
        self.masked(bits).test(Cow::Borrowed(&[0]), false)
    }

    /// It has none of these bits.
    pub(super) fn has_none(self, bits: u32) -> Test {
        self.masked(bits).is(0)
    }

    fn test(self, values: Cow<'static, [u32]>, holds_if_found: bool) -> Test {
        Test { argument: self.argument, half: Half::Low, mask: self.mask, values, holds_if_found }
    }
}

impl Test {
    /// All 64 bits of argument `index` are `value`.
    pub(super) fn whole(index: u8, value: u64) -> [Self; 2] {
        let half = |half, shift: u32| Self {
            argument: index,
            half,
            mask: u32::MAX,
            values: Cow::Owned(vec![((value >> shift) & 0xffff_ffff) as u32]),
            holds_if_found: true,
        };
        [half(Half::Low, 0), half(Half::High, 32)]
    }

    fn holds(&self, args: &[u64; 6]) -> bool {
        let value = args.get(usize::from(self.argument)).copied().unwrap_or_default();
        let value = match self.half {
            Half::Low => value,
            Half::High => value >> 32,
        };
        self.values.iter().any(|&v| u64::from(v) == value & u64::from(self.mask)) == self.holds_if_found
    }
}

/// If every test holds, this is decided.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub(super) tests: Vec<Test>,
    pub(super) then: Decision,
}

/// What becomes of a system call: the first clause that applies, or else the last word.
#[derive(Clone, Debug)]
pub(super) struct Ruling {
    pub(super) clauses: Vec<Clause>,
    pub(super) otherwise: Decision,
}

impl From<Decision> for Ruling {
    fn from(otherwise: Decision) -> Self {
        Self { clauses: Vec::new(), otherwise }
    }
}

impl Ruling {
    /// The start of a ruling: if every test holds, then this.
    pub(super) fn when(tests: impl Into<Vec<Test>>, then: Decision) -> Self {
        Self { clauses: vec![Clause { tests: tests.into(), then }], otherwise: Decision::Allow }
    }

    /// A further clause, for what no earlier one applies to.
    pub(super) fn or_when(mut self, tests: impl Into<Vec<Test>>, then: Decision) -> Self {
        self.clauses.push(Clause { tests: tests.into(), then });
        self
    }

    /// The last word.
    pub(super) fn otherwise(self, otherwise: Decision) -> Self {
        Self { otherwise, ..self }
    }

    /// What becomes of a call with these arguments.
    pub(super) fn decide(&self, args: &[u64; 6]) -> Decision {
        let applies = |clause: &&Clause| clause.tests.iter().all(|test| test.holds(args));
        self.clauses.iter().find(applies).map_or(self.otherwise, |clause| clause.then)
    }
}
