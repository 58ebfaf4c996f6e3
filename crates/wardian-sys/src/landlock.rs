//! Landlock (landlock(7)): a process restricts itself and all it will start.

use crate::arch::syscall;
use crate::{Fd, NewFd, Result, nr};

const RULE_PATH_BENEATH: usize = 1;
const CREATE_RULESET_VERSION: usize = 1;

/// The rights that a ruleset takes away unless a rule grants them (`struct landlock_ruleset_attr`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// `LANDLOCK_ACCESS_FS_*`
    pub fs: u64,
    /// `LANDLOCK_ACCESS_NET_*` (ABI ≥ 4)
    pub net: u64,
    /// `LANDLOCK_SCOPE_*` (ABI ≥ 6)
    pub scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// The kernel's Landlock ABI; an error if it has none or it is switched off.
pub fn abi() -> Result<u32> {
    // SAFETY: with this flag neither attribute nor size may be given.
    unsafe { syscall!(nr::LANDLOCK_CREATE_RULESET, 0usize, 0usize, CREATE_RULESET_VERSION) }
        .map(|abi| u32::try_from(abi).unwrap_or(0))
}

/// A new ruleset; fields that the ABI does not know must be zero, and are then left out of the structure.
pub fn create_ruleset(handled: Handled) -> Result<NewFd> {
    let size = if handled.scoped != 0 {
        24
    } else if handled.net != 0 {
        16
    } else {
        8usize
    };
    // SAFETY: `handled` is the kernel's structure, of which `size` bytes are read.
    unsafe { syscall!(nr::LANDLOCK_CREATE_RULESET, &raw const handled, size, 0usize) }.map(NewFd::from_answer)
}

/// Grants `allowed` on the file or beneath the directory that `parent` refers to.
pub fn allow_beneath(ruleset: Fd, parent: Fd, allowed: u64) -> Result<()> {
    let rule = PathBeneath { allowed, parent: parent.number() };
    // SAFETY: `rule` is the kernel's packed `struct landlock_path_beneath_attr`.
    unsafe { syscall!(nr::LANDLOCK_ADD_RULE, ruleset.number(), RULE_PATH_BENEATH, &raw const rule, 0usize) }
        .map(drop)
}

/// Restricts this thread by the ruleset, for ever; needs no_new_privs.
pub fn restrict_self(ruleset: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::LANDLOCK_RESTRICT_SELF, ruleset.number(), 0usize) }.map(drop)
}
