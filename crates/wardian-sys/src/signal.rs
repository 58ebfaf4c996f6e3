//! Signals.

use crate::arch::syscall;
use crate::{NewFd, Result, nr};

/// `SIGCHLD`
pub const SIGCHLD: u32 = 17;
const SIG_SETMASK: usize = 2;
const SET_SIZE: usize = 8;
const SFD_CLOEXEC: usize = 0o2000000;
const HIGHEST: u32 = 64;

/// A set of signals; bit 0 is signal 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const NONE: SignalSet = SignalSet(0);
    /// Every signal.
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    /// Only `signal`.
    pub const fn only(signal: u32) -> SignalSet {
        SignalSet(1 << (signal - 1))
    }
}

/// Replaces this thread's set of blocked signals; returns the former.
pub fn set_blocked(set: SignalSet) -> Result<SignalSet> {
    let mut old = SignalSet::NONE;
    // SAFETY: both sets are eight bytes, as the stated size says.
    unsafe { syscall!(nr::RT_SIGPROCMASK, SIG_SETMASK, &raw const set.0, &raw mut old.0, SET_SIZE) }?;
    Ok(old)
}

#[repr(C)]
struct SigAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

/// `SA_NOCLDSTOP`: children that stop and go on send no `SIGCHLD`.
pub const NO_STOPS: usize = 1;

/// Gives a signal its default action, with these flags.
pub fn set_default(signal: u32, flags: usize) {
    let default = SigAction { handler: 0, flags, restorer: 0, mask: 0 };
    // SIGKILL and SIGSTOP answer EINVAL: they have nothing else than the default.
    // SAFETY: `default` is the kernel's `struct sigaction`; SIG_DFL needs no restorer.
    let _ = unsafe { syscall!(nr::RT_SIGACTION, signal, &raw const default, 0usize, SET_SIZE) };
}

/// Gives every signal its default action; an ignored one would stay ignored through exec. Whoever watches over a guest
/// is not to be woken by all its stops.
pub fn reset_all() {
    for signal in 1..=HIGHEST {
        set_default(signal, if signal == SIGCHLD { NO_STOPS } else { 0 });
    }
}

/// A descriptor that becomes readable when a signal of `set` is pending.
pub fn signalfd(set: SignalSet) -> Result<NewFd> {
    const NEW: isize = -1;
    // SAFETY: the set is eight bytes, as the stated size says.
    unsafe { syscall!(nr::SIGNALFD4, NEW, &raw const set.0, SET_SIZE, SFD_CLOEXEC) }.map(NewFd::from_answer)
}
