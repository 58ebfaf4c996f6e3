//! A live init: whoever drops it ends it, and everything inside.

use super::SandboxError;
use super::poll::poll_until;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use wardian_sys::spawn::StartedInit;

/// Init from its start to its reaping.
pub(super) struct Live {
    init: StartedInit,
    /// Our end of its control socket, where it is no pid 1: its death alone would not be everybody's.
    lifeline: Option<OwnedFd>,
    status: Option<i32>,
    /// Whether it is ours to reap.
    is_child: bool,
}

impl Live {
    pub(super) fn new(init: StartedInit, lifeline: Option<OwnedFd>) -> Live {
        Live { init, lifeline, status: None, is_child: true }
    }

    /// One that a zygote's init started, and reaps.
    pub(super) fn of_another(pidfd: OwnedFd) -> Result<Live, SandboxError> {
        let pid = pid_of(&pidfd)?;
        Ok(Live { init: StartedInit::of_another(pid, pidfd), lifeline: None, status: None, is_child: false })
    }

    /// Waits until it has been executed.
    pub(super) fn wait_until_executed(&mut self) -> Result<(), SandboxError> {
        Ok(self.init.wait_until_executed()?)
    }

    /// Its pid in our namespace; a number nobody else has until it is reaped.
    pub(super) fn pid(&self) -> i32 {
        self.init.pid
    }

    /// Readable when it is gone, and with it everything inside.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.init.pidfd.as_fd()
    }

    /// Ends it and everything inside: its death takes a pid namespace with it; without one it does what it does when we
    /// are gone. It may be dead already.
    pub(super) fn kill(&self) {
        // What fails here has ended.
        match &self.lifeline {
            Some(lifeline) => drop(shutdown(lifeline, Shutdown::Both)),
            None => drop(pidfd_send_signal(&self.init.pidfd, Signal::KILL)),
        }
    }

    /// Waits until everything inside is gone; its exit code, or the signal that ended it.
    pub(super) fn reap(&mut self) -> i32 {
        /// `__WALL`: init's end sends us no signal, which wait calls must be told.
        const ALL_CHILDREN: WaitIdOptions = WaitIdOptions::from_bits_retain(0x4000_0000);
        if let Some(status) = self.status {
            return status;
        }
        let code = |status: WaitIdStatus| status.exit_status().or(status.terminating_signal());
        if !self.is_child {
            let mut set = [PollFd::from_borrowed_fd(self.pidfd(), PollFlags::IN)];
            let _ = poll_until(&mut set, None);
            self.status = Some(0);
            return 0;
        }
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd()), WaitIdOptions::EXITED | ALL_CHILDREN) {
                Err(rustix::io::Errno::INTR) => {}
                answer => break answer.ok().flatten().and_then(code).unwrap_or(-1),
            }
        };
        self.status = Some(status);
        status
    }
}

/// The pid, in our namespace, of the process that a pidfd refers to; nobody else's until it is reaped.
pub(super) fn pid_of(pidfd: &OwnedFd) -> Result<i32, SandboxError> {
    let step = "ask for the pid behind a pidfd";
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(path).map_err(SandboxError::at(step))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.ok_or_else(|| SandboxError::at(step)(std::io::Error::from(std::io::ErrorKind::InvalidData)))
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill();
            self.reap();
        }
    }
}
