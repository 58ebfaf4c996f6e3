//! The caller's terminal: while a program has one of ours, the caller's passes every key on as it is.

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, QueueSelector, Termios, isatty, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Whether standard input and output are terminals, and we are in the foreground: a job in the background that
/// changes its terminal's modes is stopped (SIGTTOU).
pub(super) fn is_ours() -> bool {
    let (stdin, stdout) = (io::stdin(), io::stdout());
    if !isatty(&stdin) || !isatty(&stdout) {
        return false;
    }
    match tcgetpgrp(&stdin) {
        Ok(foreground) => foreground == getpgrp(),
        // A terminal that is not our session's has no jobs of ours to tell apart.
        Err(error) => error == Errno::NOTTY,
    }
}

/// A pipe that is readable when the window size may have changed.
pub(super) fn resized() -> io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGWINCH, writer)?;
    Ok(reader)
}

/// Raw mode of standard input, undone when dropped.
pub(super) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    pub(super) fn enter() -> io::Result<RawMode> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        // What has been typed ahead stays.
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // What has not been read is dropped: it may be the terminal's answers to a program that asked for them, and
        // the caller's shell would take them for commands.
        // In two steps: what does both in one waits for a terminal that shows nothing at the moment.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        let _ = tcflush(&self.terminal, QueueSelector::IFlush);
    }
}
