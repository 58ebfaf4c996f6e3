//! `clone3`, or `clone` where that is hidden, into a child that shares our memory until it executes a program.
//!
//! A child that shares memory costs the same whatever the size of the parent (a copy of a 2 GiB parent takes
//! tens of milliseconds). It runs on a stack of its own, and only code of this crate and of `wardian-init`,
//! none of which allocates, locks, or uses thread-local storage.

use crate::arch::clone_on_stack;
#[cfg(not(feature = "std"))]
use crate::process::Reaped;
use crate::{Errno, NewFd, Result, nr};
use core::sync::atomic::{AtomicU32, Ordering};

/// `CLONE_NEWNS`
pub const NEWNS: u64 = 0x0002_0000;
/// `CLONE_NEWCGROUP`
pub const NEWCGROUP: u64 = 0x0200_0000;
/// `CLONE_NEWUTS`
pub const NEWUTS: u64 = 0x0400_0000;
/// `CLONE_NEWIPC`
pub const NEWIPC: u64 = 0x0800_0000;
/// `CLONE_NEWUSER`
pub const NEWUSER: u64 = 0x1000_0000;
/// `CLONE_NEWPID`
pub const NEWPID: u64 = 0x2000_0000;
/// `CLONE_NEWNET`
pub const NEWNET: u64 = 0x4000_0000;
/// `CLONE_INTO_CGROUP`: `Request::cgroup` is meant.
pub const INTO_CGROUP: u64 = 0x2_0000_0000;
/// `CLONE_FILES`: the child shares our descriptors.
pub const FILES: u64 = 0x400;

const CLONE_VM: u64 = 0x100;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What kind of child to make.
pub struct Request {
    /// `NEW*`, `INTO_CGROUP`, `FILES`.
    pub flags: u64,
    /// The signal its end sends us; 0 for none (wait then needs `__WALL`).
    pub exit_signal: u32,
    /// The cgroup v2 directory to be born into; its number matters only with `INTO_CGROUP`.
    pub cgroup: i32,
    /// The child's stack; unused by anybody else until the child has executed a program. It need not be initialised.
    pub stack: *mut [u8],
    /// Becomes 0 when the child has left our memory, because it has executed a program or ended; a futex (futex(2), not
    /// private). Null where nobody wants to know.
    pub inside: *const AtomicU32,
}

/// The child: its pid in our namespace and a pidfd.
pub struct Child {
    /// Process id.
    pub pid: i32,
    /// Refers to it however pids are reused.
    pub pidfd: NewFd,
}

/// Starts `entry(arg)` in a child that shares our memory.
///
/// # Safety
/// `entry` neither returns, allocates, locks nor uses thread-local storage; whatever `arg` refers to, and
/// the stack, stay valid and unshared for writing until the child has executed a program or ended; so does
/// `request.inside`, if it is not null.
pub unsafe fn start(request: Request, entry: extern "C" fn(usize) -> !, arg: usize) -> Result<Child> {
    let tells = !request.inside.is_null();
    let mut pidfd = -1i32;
    let bottom = request.stack.cast::<u8>().expose_provenance();
    let top = (bottom + request.stack.len()) & !15;
    let args = CloneArgs {
        flags: request.flags | CLONE_VM | CLONE_PIDFD | if tells { CLONE_CHILD_CLEARTID } else { 0 },
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        child_tid: request.inside.expose_provenance() as u64,
        exit_signal: u64::from(request.exit_signal),
        stack: bottom as u64,
        stack_size: (top - bottom) as u64,
        cgroup: if request.flags & INTO_CGROUP == 0 { 0 } else { u64::from(request.cgroup.cast_unsigned()) },
        ..CloneArgs::default()
    };
    let new = [(&raw const args).expose_provenance(), size_of::<CloneArgs>(), 0, 0];
    // SAFETY: `args` is the kernel's `struct clone_args`; the stack ends 16-byte aligned; the rest is the
    // caller's contract.
    let answer = unsafe { clone_on_stack(nr::CLONE3, new, entry, arg) };
    // The old call has the address to clear elsewhere on each architecture: there we wait for the child instead.
    let old = args.flags & !CLONE_CHILD_CLEARTID | args.exit_signal | if tells { CLONE_VFORK } else { 0 };
    let pid = match (crate::errno::check(answer), usize::try_from(old)) {
        // Containers' filters cannot look into a structure, and answer so.
        (Err(Errno::NOSYS), Ok(flags)) if args.flags & INTO_CGROUP == 0 => {
            let old = [flags, top, (&raw mut pidfd).expose_provenance(), 0];
            // SAFETY: as above; with `CLONE_PIDFD` the third argument is where the pidfd goes.
            let pid = crate::errno::check(unsafe { clone_on_stack(nr::CLONE, old, entry, arg) })?;
            if tells {
                // SAFETY: valid by the caller's contract.
                unsafe { &*request.inside }.store(0, Ordering::Release);
            }
            pid
        }
        (answer, _) => answer?,
    };
    let pid = i32::try_from(pid).map_err(|_| Errno::IO)?;
    Ok(Child { pid, pidfd: NewFd::from_answer(usize::try_from(pidfd).map_err(|_| Errno::IO)?) })
}

#[cfg(not(feature = "std"))]
struct Shared<T: 'static> {
    entry: fn(&'static T) -> !,
    arg: &'static T,
}

#[cfg(not(feature = "std"))]
extern "C" fn enter<T: Sync + 'static>(shared: usize) -> ! {
    // SAFETY: `start_sharing` passes the address of a `Shared<T>` that is kept for ever.
    let shared = unsafe { &*core::ptr::with_exposed_provenance::<Shared<T>>(shared) };
    (shared.entry)(shared.arg)
}

/// Starts `entry(arg)` in a child that shares our memory and runs beside us; `exit_signal` is sent at its end.
///
/// Only for `wardian-init`, where no code allocates, locks or has thread-local storage, so that parent and
/// child can share memory as two threads would.
#[cfg(not(feature = "std"))]
pub fn start_sharing<T: Sync>(
    stack: &'static mut [u8],
    exit_signal: u32,
    entry: fn(&'static T) -> !,
    arg: &'static T,
) -> Result<Child> {
    let shared = crate::memory::keep(Shared { entry, arg })?;
    let request = Request { flags: 0, exit_signal, cgroup: -1, stack, inside: core::ptr::null() };
    // SAFETY: `enter` and `entry` never return; `shared` and the stack are static; without `std` this crate
    // has no allocator, lock or thread-local storage to misuse.
    unsafe { start(request, enter::<T>, (&raw const *shared).expose_provenance()) }
}

/// A child on a stack that is used again when the child is gone.
#[cfg(not(feature = "std"))]
pub struct Tenant {
    pid: i32,
    stack: &'static mut [u8],
}

#[cfg(not(feature = "std"))]
impl Tenant {
    /// The child's pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The stack, for the child's end. Preconditions: that is told before another child is started, which may get its pid.
    ///
    /// # Errors
    /// It is another's end.
    pub fn leave(self, reaped: &Reaped) -> core::result::Result<&'static mut [u8], Tenant> {
        if reaped.pid() == self.pid { Ok(self.stack) } else { Err(self) }
    }
}

#[cfg(not(feature = "std"))]
struct Move<T: 'static> {
    entry: fn(&'static T, i32) -> !,
    arg: &'static T,
    number: i32,
}

#[cfg(not(feature = "std"))]
extern "C" fn enter_with<T: Sync + 'static>(address: usize) -> ! {
    // SAFETY: `start_in` passes the address of a `Move<T>` at the far end of the child's own stack.
    let Move { entry, arg, number } =
        unsafe { core::ptr::with_exposed_provenance::<Move<T>>(address).read() };
    entry(arg, number)
}

/// As [`start_sharing`], with a number for the child, in new namespaces (`flags`), on a stack that can be used again.
///
/// # Errors
/// The kernel's, with the stack.
#[cfg(not(feature = "std"))]
pub fn start_in<T: Sync>(
    flags: u64,
    stack: &'static mut [u8],
    exit_signal: u32,
    entry: fn(&'static T, i32) -> !,
    arg: &'static T,
    number: i32,
) -> core::result::Result<(Tenant, NewFd), (Errno, &'static mut [u8])> {
    let place = stack.as_mut_ptr().cast::<Move<T>>();
    if stack.len() < size_of::<Move<T>>() || !place.is_aligned() {
        return Err((Errno::INVAL, stack));
    }
    // SAFETY: large enough and aligned, as just checked; the stack grows from its other end, and is ours alone.
    unsafe { place.write(Move { entry, arg, number }) };
    let address = place.expose_provenance();
    let request = Request { flags, exit_signal, cgroup: -1, stack, inside: core::ptr::null() };
    // SAFETY: `enter_with` and `entry` never return; `arg` is static; nobody uses the stack before `Tenant::leave`
    // has seen that the child was reaped; without `std` there is no allocator, lock or thread-local storage.
    match unsafe { start(request, enter_with::<T>, address) } {
        Ok(Child { pid, pidfd }) => Ok((Tenant { pid, stack }, pidfd)),
        Err(errno) => Err((errno, stack)),
    }
}
