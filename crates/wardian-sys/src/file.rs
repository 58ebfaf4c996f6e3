//! Files, directories and descriptors.

use crate::arch::syscall;
use crate::{Errno, Fd, NewFd, Result, nr};
use core::ffi::CStr;

/// `O_RDONLY`
pub const O_RDONLY: u32 = 0;
/// `O_WRONLY`
pub const O_WRONLY: u32 = 1;
/// `O_CREAT`
pub const O_CREAT: u32 = 0o100;
/// `O_EXCL`
pub const O_EXCL: u32 = 0o200;
/// `O_CLOEXEC`
pub const O_CLOEXEC: u32 = 0o2000000;
/// `O_DIRECTORY`
#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: u32 = 0o200000;
/// `O_NOFOLLOW`
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: u32 = 0o400000;
/// `O_DIRECTORY`
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: u32 = 0o40000;
/// `O_NOFOLLOW`
#[cfg(target_arch = "aarch64")]
pub const O_NOFOLLOW: u32 = 0o100000;
/// `O_PATH`
pub const O_PATH: u32 = 0o10000000;

const F_DUPFD_CLOEXEC: usize = 1030;
const F_SETFD: usize = 2;
#[cfg(not(feature = "std"))]
const FD_CLOEXEC: usize = 1;
const AT_SYMLINK_NOFOLLOW: usize = 0x100;
pub(crate) const AT_EMPTY_PATH: u32 = 0x1000;
const CLOSE_RANGE_CLOEXEC: usize = 4;

/// Opens `path` relative to `dir`; the descriptor is close-on-exec if `flags` says so.
pub fn openat(dir: Fd, path: &CStr, flags: u32, mode: u32) -> Result<NewFd> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::OPENAT, dir.number(), path.as_ptr(), flags, mode) }.map(NewFd::from_answer)
}

/// Reads at most `buffer.len()` bytes.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusively borrowed buffer.
    unsafe { syscall!(nr::READ, fd.number(), buffer.as_mut_ptr(), buffer.len()) }
}

/// Reads at most `buffer.len()` bytes from `offset` on.
pub fn pread(fd: Fd, buffer: &mut [u8], offset: usize) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusively borrowed buffer.
    unsafe { syscall!(nr::PREAD64, fd.number(), buffer.as_mut_ptr(), buffer.len(), offset) }
}

/// Moves the offset to the end; answers where that is.
#[cfg(not(feature = "std"))]
pub fn seek_end(fd: Fd) -> Result<usize> {
    const SEEK_END: usize = 2;
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::LSEEK, fd.number(), 0usize, SEEK_END) }
}

/// Writes at most `bytes.len()` bytes.
pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads at most `len` bytes of the borrowed slice.
    unsafe { syscall!(nr::WRITE, fd.number(), bytes.as_ptr(), bytes.len()) }
}

/// Writes all of `bytes`, going on after short writes and interruptions.
pub fn write_all(fd: Fd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = bytes.get(n..).unwrap_or(&[]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Copies all of `from` into `to`, within the kernel, whatever the offset of `from` is, which others may share.
pub fn copy_whole(from: Fd, to: Fd) -> Result<()> {
    const CHUNK: usize = 1 << 30;
    let mut offset = 0u64;
    loop {
        // SAFETY: the kernel reads the offset, and writes where it has got to.
        match unsafe { syscall!(nr::SENDFILE, to.number(), from.number(), &raw mut offset, CHUNK) } {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// What changes the table of descriptors by number: for `wardian-init` and a child before its exec, whose tables are all
/// their own. In a program with a standard library a number may be somebody's, and only what this crate has made itself is
/// closed.
mod table {
    use super::*;

    /// Closes `fd`; errors mean it was not open.
    pub fn close(fd: Fd) -> Result<()> {
        // SAFETY: no memory is passed.
        unsafe { syscall!(nr::CLOSE, fd.number()) }.map(drop)
    }

    /// Makes `to` a copy of `from` (dup2(2)); the copy survives exec.
    pub fn dup_onto(from: Fd, to: Fd) -> Result<()> {
        if from == to {
            // SAFETY: no memory is passed.
            return unsafe { syscall!(nr::FCNTL, from.number(), F_SETFD, 0usize) }.map(drop);
        }
        // SAFETY: no memory is passed.
        unsafe { syscall!(nr::DUP3, from.number(), to.number(), 0usize) }.map(drop)
    }

    /// Makes `to` what `from` is, which is no more; the next exec closes it.
    #[cfg(not(feature = "std"))]
    pub fn move_onto(from: Fd, to: Fd) -> Result<()> {
        if from == to {
            // SAFETY: no memory is passed.
            return unsafe { syscall!(nr::FCNTL, from.number(), F_SETFD, FD_CLOEXEC) }.map(drop);
        }
        // SAFETY: no memory is passed.
        unsafe { syscall!(nr::DUP3, from.number(), to.number(), O_CLOEXEC) }?;
        close(from)
    }

    /// Closes every descriptor from `first` to `last`.
    #[cfg(not(feature = "std"))]
    pub fn close_range(first: u32, last: u32) -> Result<()> {
        // SAFETY: no memory is passed.
        unsafe { syscall!(nr::CLOSE_RANGE, first, last, 0usize) }.map(drop)
    }
}

#[cfg(not(feature = "std"))]
pub use table::{close, close_range, dup_onto, move_onto};
#[cfg(feature = "std")]
pub(crate) use table::{close, dup_onto};

/// Copies `fd` to the lowest free number not below `at_least`, close-on-exec.
pub fn dup_at_least(fd: Fd, at_least: i32) -> Result<NewFd> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::FCNTL, fd.number(), F_DUPFD_CLOEXEC, at_least) }.map(NewFd::from_answer)
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn cloexec_from(first: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::CLOSE_RANGE, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }.map(drop)
}

/// Makes a directory.
pub fn mkdirat(dir: Fd, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::MKDIRAT, dir.number(), path.as_ptr(), mode) }.map(drop)
}

/// Makes an empty regular file, which must not exist (`S_IFREG`).
pub fn mknodat(dir: Fd, path: &CStr, mode: u32) -> Result<()> {
    const REGULAR: u32 = 0o100_000;
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::MKNODAT, dir.number(), path.as_ptr(), REGULAR | mode, 0usize) }.map(drop)
}

/// Makes a symbolic link at `path` that says `target`.
pub fn symlinkat(target: &CStr, dir: Fd, path: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated and outlive the call.
    unsafe { syscall!(nr::SYMLINKAT, target.as_ptr(), dir.number(), path.as_ptr()) }.map(drop)
}

/// Gives `path` to an owner, without following a symbolic link.
pub fn chownat(dir: Fd, path: &CStr, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::FCHOWNAT, dir.number(), path.as_ptr(), uid, gid, AT_SYMLINK_NOFOLLOW) }.map(drop)
}

/// Changes the working directory.
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::CHDIR, path.as_ptr()) }.map(drop)
}

/// Changes the working directory to an open one.
pub fn fchdir(dir: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::FCHDIR, dir.number()) }.map(drop)
}

/// Sets the file mode creation mask.
pub fn umask(mask: u32) {
    // SAFETY: no memory is passed; the call cannot fail.
    let _ = unsafe { syscall!(nr::UMASK, mask) };
}

/// Locks bytes of a file that need not have them, for as long as this opening of the file lasts; `EAGAIN` if another
/// opening has one of them (`F_OFD_SETLK`, fcntl_locking(2)). The file must be open for writing.
pub fn lock_bytes(fd: Fd, start: i64, len: i64) -> Result<()> {
    const F_OFD_SETLK: usize = 37;
    const F_WRLCK: i16 = 1;
    const SEEK_SET: i16 = 0;
    /// `struct flock` of 64-bit machines.
    #[repr(C)]
    struct Lock {
        kind: i16,
        whence: i16,
        start: i64,
        len: i64,
        /// Must be 0.
        pid: i32,
    }
    let lock = Lock { kind: F_WRLCK, whence: SEEK_SET, start, len, pid: 0 };
    // SAFETY: the kernel reads a `struct flock` that outlives the call.
    unsafe { syscall!(nr::FCNTL, fd.number(), F_OFD_SETLK, &raw const lock) }.map(drop)
}

/// One descriptor to wait for (`struct pollfd`).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    /// The descriptor's number.
    pub fd: i32,
    /// What to wait for.
    pub events: i16,
    /// What happened.
    pub revents: i16,
}

/// `POLLIN`
pub const POLLIN: i16 = 1;

/// Waits without a time limit until one of `fds` is ready.
pub fn poll(fds: &mut [PollFd]) -> Result<usize> {
    // SAFETY: the slice is exclusively borrowed; null time-out and signal mask are allowed.
    unsafe { syscall!(nr::PPOLL, fds.as_mut_ptr(), fds.len(), 0usize, 0usize, 0usize) }
}
