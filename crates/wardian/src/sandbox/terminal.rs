//! A terminal of ours for the guest: it behaves as the caller's does, and is another.
//!
//! Who holds the caller's terminal can change it for good, and type into the shell that comes after us (TIOCSTI).

use super::Output;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Standard streams that are one terminal, made for the run. Raw mode of the caller's own is up to the caller.
#[derive(Debug)]
pub struct Terminal {
    /// The caller's terminal: its modes, its window size and what is typed are passed on. Its end hangs the
    /// guest's up (SIGHUP).
    pub input: OwnedFd,
    /// Where standard output and standard error go, which are one stream.
    pub output: Output,
    /// A pipe, not blocking, that is readable whenever the window size may have changed (SIGWINCH).
    pub resized: OwnedFd,
}

/// A new terminal with the modes and the window size of `model`: our end, and the guest's.
pub(super) fn master_and_slave(model: &OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    // By descriptor: by name, another mount of devpts could give another's.
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    tcsetattr(&slave, OptionalActions::Now, &tcgetattr(model)?)?;
    tcsetwinsize(&master, tcgetwinsize(model)?)?;
    Ok((master, slave))
}

/// Keeps the window size of the guest's terminal that of the caller's.
pub(super) struct Resizer {
    caller: OwnedFd,
    master: OwnedFd,
    resized: Option<OwnedFd>,
}

impl Resizer {
    pub(super) fn new(caller: OwnedFd, master: OwnedFd, resized: OwnedFd) -> Resizer {
        Resizer { caller, master, resized: Some(resized) }
    }

    pub(super) fn wants_read(&self) -> Option<BorrowedFd<'_>> {
        self.resized.as_ref().map(AsFd::as_fd)
    }

    /// The kernel tells the guest (SIGWINCH) where the size is a new one.
    pub(super) fn follow(&mut self) {
        let mut notices = [0u8; 64];
        let received = self.resized.as_ref().map(|resized| rustix::io::read(resized, &mut notices));
        if matches!(received, Some(Ok(0))) {
            self.resized = None;
        }
        if let Ok(size) = tcgetwinsize(&self.caller) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }
}
