//! Raw Linux system calls, each as a small typed function, and the few calls of CPython's that a zygote needs; no policy lives
//! here.
//!
//! This is the only crate of wardian that contains `unsafe`. Everything outside the `std` feature is
//! `no_std`, allocates nothing, takes no lock and touches no thread-local storage (the error of a call is
//! its return value, never `errno`): it may run between `clone3` and `execveat`, in a child that shares
//! its parent's memory, and inside `wardian-init`, which has no C library at all.
//!
//! Functions are named after the system call they make, or what it is made for; their man page is their documentation, and
//! the text here says only what is particular to us. Where init is a program of its own, `bare` gives it its entry; where a
//! Python process loads it, `extension` is its side of CPython's interface.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod arch;
#[cfg(not(feature = "std"))]
pub mod bare;
pub mod caps;
pub mod clone;
mod errno;
#[cfg(not(feature = "std"))]
pub mod extension;
mod fd;
pub mod file;
pub mod landlock;
#[cfg(not(feature = "std"))]
pub mod memory;
pub mod mount;
pub mod nr;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
#[cfg(feature = "std")]
pub mod spawn;

pub use errno::Errno;
pub use fd::{Fd, NewFd};

/// The outcome of a system call.
pub type Result<T> = core::result::Result<T, Errno>;
