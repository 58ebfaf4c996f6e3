//! Capabilities (capabilities(7)).

use crate::arch::syscall;
use crate::{Errno, Result, nr};

const VERSION_3: u32 = 0x2008_0522;
const PR_CAPBSET_DROP: usize = 24;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_RAISE: usize = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
const PR_SET_SECUREBITS: usize = 28;
/// `NOROOT`, `NO_SETUID_FIXUP`, `NO_CAP_AMBIENT_RAISE` and their locks, and the lock of `KEEP_CAPS`.
const SECUREBITS_ALL: usize = 0b1110_1111;

/// `CAP_CHOWN`
pub const CHOWN: u32 = 0;
/// `CAP_DAC_OVERRIDE`
pub const DAC_OVERRIDE: u32 = 1;
/// `CAP_FOWNER`
pub const FOWNER: u32 = 3;
/// `CAP_KILL`
pub const KILL: u32 = 5;
/// `CAP_SETGID`
pub const SETGID: u32 = 6;
/// `CAP_SETUID`
pub const SETUID: u32 = 7;
/// `CAP_SETPCAP`
pub const SETPCAP: u32 = 8;
/// `CAP_NET_ADMIN`
pub const NET_ADMIN: u32 = 12;
/// `CAP_SYS_ADMIN`
pub const SYS_ADMIN: u32 = 21;

/// `CAP_SYS_CHROOT`
pub const SYS_CHROOT: u32 = 18;
/// `CAP_SYS_PTRACE`
pub const SYS_PTRACE: u32 = 19;
/// `CAP_SETFCAP`
pub const SETFCAP: u32 = 31;

/// What the `wardian-init` of a zygote keeps in its own user namespace: it sets the zygote up, makes the slots' user
/// namespaces below, and leaves the zygote [`ZYGOTE`].
pub const ZYGOTE_SET_UP: [u32; 12] = [
    CHOWN,
    DAC_OVERRIDE,
    FOWNER,
    KILL,
    SETGID,
    SETUID,
    SETPCAP,
    NET_ADMIN,
    SYS_ADMIN,
    SYS_CHROOT,
    SYS_PTRACE,
    SETFCAP,
];
/// What a zygote keeps in its own user namespace: its children enter those below, where they have every capability
/// until they drop them.
pub const ZYGOTE: [u32; 4] = [DAC_OVERRIDE, SYS_ADMIN, SYS_CHROOT, SYS_PTRACE];

/// What `wardian-init` needs inside its own user namespace to set a sandbox up.
pub const SET_UP: [u32; 9] =
    [CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_ADMIN];

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn capset(low: Sets) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let sets = [low, Sets { effective: 0, permitted: 0, inheritable: 0 }];
    // SAFETY: header and the two data blocks are the structures that version 3 prescribes.
    unsafe { syscall!(nr::CAPSET, &raw const header, &raw const sets) }.map(drop)
}

/// Keeps exactly `caps` and makes them survive the next exec, whatever the user id is then.
///
/// (An id that is not mapped yet is not root to the kernel: without ambient capabilities exec would lose them.)
pub fn keep_through_exec(caps: &[u32]) -> Result<()> {
    let mask = caps.iter().fold(0u32, |mask, cap| mask | (1 << cap));
    capset(Sets { effective: mask, permitted: mask, inheritable: mask })?;
    for cap in caps {
        // SAFETY: no memory is passed.
        unsafe { syscall!(nr::PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, *cap, 0usize, 0usize) }?;
    }
    Ok(())
}

/// Closes every way back to capabilities: securebits, their locks, and the whole bounding set.
///
/// What is held now stays until [`drop_effective`]; needs `CAP_SETPCAP`.
pub fn lock_down() -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::PRCTL, PR_SET_SECUREBITS, SECUREBITS_ALL, 0usize, 0usize, 0usize) }?;
    for cap in 0..64usize {
        // SAFETY: no memory is passed.
        match unsafe { syscall!(nr::PRCTL, PR_CAPBSET_DROP, cap, 0usize, 0usize, 0usize) } {
            Ok(_) => {}
            // The first number this kernel does not know.
            Err(Errno::INVAL) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Gives up every capability now held: ambient, inheritable, permitted, effective.
pub fn drop_effective() -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0usize, 0usize, 0usize) }?;
    capset(Sets { effective: 0, permitted: 0, inheritable: 0 })
}
