//! File descriptors without a standard library.

/// A file descriptor's number, borrowed: whoever made it keeps it open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fd(i32);

impl Fd {
    /// `AT_FDCWD`: relative paths start at the working directory.
    pub const CWD: Fd = Fd(-100);
    /// No descriptor, where a call takes an optional one.
    pub const NONE: Fd = Fd(-1);

    /// The descriptor of this number; whether it is open shows when it is used.
    pub const fn from_number(number: i32) -> Fd {
        Fd(number)
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

/// A descriptor that a system call has just made: nobody else owns it.
///
/// It is not closed on drop (in `wardian-init` descriptors end with the process, or by `exec`); in a program
/// with a standard library turn it into an `OwnedFd` at once.
#[derive(Debug)]
#[must_use]
pub struct NewFd(i32);

impl NewFd {
    /// Only for the answer of a call that makes a descriptor.
    pub(crate) fn from_answer(answer: usize) -> NewFd {
        NewFd(i32::try_from(answer).unwrap_or(-1))
    }

    /// Its number, borrowed.
    pub fn fd(&self) -> Fd {
        Fd(self.0)
    }
}

#[cfg(feature = "std")]
mod owned {
    use super::{Fd, NewFd};
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    impl From<NewFd> for OwnedFd {
        fn from(new: NewFd) -> OwnedFd {
            // SAFETY: a `NewFd` is only made from the answer of a call that created the descriptor, and is
            // consumed here: this is its one owner.
            unsafe { OwnedFd::from_raw_fd(new.0) }
        }
    }

    impl From<BorrowedFd<'_>> for Fd {
        fn from(fd: BorrowedFd<'_>) -> Fd {
            Fd(fd.as_raw_fd())
        }
    }

    impl From<&OwnedFd> for Fd {
        fn from(fd: &OwnedFd) -> Fd {
            Fd(fd.as_raw_fd())
        }
    }
}
