//! The error of a system call.

/// A Linux error number as the kernel returned it (errno(3)); always positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Operation not permitted.
    pub const PERM: Errno = Errno(1);
    /// No such file or directory.
    pub const NOENT: Errno = Errno(2);
    /// No such process.
    pub const SRCH: Errno = Errno(3);
    /// Interrupted by a signal.
    pub const INTR: Errno = Errno(4);
    /// Input/output error; also our word for a peer that broke the protocol.
    pub const IO: Errno = Errno(5);
    /// No child processes.
    pub const CHILD: Errno = Errno(10);
    /// Try again.
    pub const AGAIN: Errno = Errno(11);
    /// Permission denied.
    pub const ACCES: Errno = Errno(13);
    /// Device or resource busy.
    pub const BUSY: Errno = Errno(16);
    /// File exists.
    pub const EXIST: Errno = Errno(17);
    /// Invalid argument.
    pub const INVAL: Errno = Errno(22);
    /// No space left on device.
    pub const NOSPC: Errno = Errno(28);
    /// Function not implemented.
    pub const NOSYS: Errno = Errno(38);
    /// Protocol error: a plan that cannot be decoded.
    pub const PROTO: Errno = Errno(71);
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

#[cfg(feature = "std")]
impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        std::io::Error::from_raw_os_error(errno.0)
    }
}

/// The kernel answers -4095..=-1 for an error, anything else for success.
pub(crate) fn check(ret: isize) -> crate::Result<usize> {
    if (-4095..0).contains(&ret) {
        #[allow(clippy::cast_possible_truncation, reason = "the range above fits i32")]
        Err(Errno(-ret as i32))
    } else {
        Ok(ret.cast_unsigned())
    }
}
