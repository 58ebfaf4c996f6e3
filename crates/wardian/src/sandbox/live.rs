//! A live init: whoever drops it ends it, and everything inside.

use super::SandboxError;
use super::poll::poll_until;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use wardian_sys::spawn::{InitEnd, StartedInit};

/// Init from its start to its end.
pub(super) struct Live {
    who: Who,
    ended: Option<InitEnd>,
}

enum Who {
    /// A child of ours.
    Child {
        init: StartedInit,
        /// Our end of its control socket, where it is no pid 1: its death alone would not be everybody's.
        lifeline: Option<OwnedFd>,
    },
    /// A zygote's init started it, and reaps it.
    Another { pid: i32, pidfd: OwnedFd },
}

impl Live {
    pub(super) fn new(init: StartedInit, lifeline: Option<OwnedFd>) -> Live {
        Live { who: Who::Child { init, lifeline }, ended: None }
    }

    /// One that a zygote's init started, and reaps.
    pub(super) fn of_another(pidfd: OwnedFd) -> Result<Live, SandboxError> {
        Ok(Live { who: Who::Another { pid: pid_of(&pidfd)?, pidfd }, ended: None })
    }

    /// Waits until it has been executed.
    pub(super) fn wait_until_executed(&mut self) -> Result<(), SandboxError> {
        match &mut self.who {
            Who::Child { init, .. } => Ok(init.wait_until_executed()?),
            Who::Another { .. } => Ok(()),
        }
    }

    /// Its pid in our namespace. The number is its own until it is reaped; if we do not do that, for as long as nothing
    /// says that it has ended.
    pub(super) fn pid(&self) -> i32 {
        match &self.who {
            Who::Child { init, .. } => init.pid,
            Who::Another { pid, .. } => *pid,
        }
    }

    /// Readable when it is gone, and with it everything inside.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.who {
            Who::Child { init, .. } => init.pidfd.as_fd(),
            Who::Another { pidfd, .. } => pidfd.as_fd(),
        }
    }

    /// Ends it and everything inside: its death takes a pid namespace with it; without one it does what it does when we
    /// are gone. It may be dead already.
    pub(super) fn kill(&self) {
        // What fails here has ended.
        match &self.who {
            Who::Child { lifeline: Some(lifeline), .. } => drop(shutdown(lifeline, Shutdown::Both)),
            _ => drop(pidfd_send_signal(self.pidfd(), Signal::KILL)),
        }
    }

    /// Waits until everything inside is gone.
    pub(super) fn reap(&mut self) -> InitEnd {
        if let Some(end) = self.ended {
            return end;
        }
        let end = match &mut self.who {
            Who::Child { init, .. } => init.reap(),
            Who::Another { pidfd, .. } => {
                let _ = poll_until(&mut [PollFd::new(pidfd, PollFlags::IN)], None);
                InitEnd::Unknown
            }
        };
        self.ended = Some(end);
        end
    }
}

/// The pid, in our namespace, of the process that a pidfd refers to; once that is reaped it may be anybody's.
pub(super) fn pid_of(pidfd: &OwnedFd) -> Result<i32, SandboxError> {
    let step = "ask for the pid behind a pidfd";
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(path).map_err(SandboxError::at(step))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.ok_or_else(|| SandboxError::at(step)(std::io::Error::from(std::io::ErrorKind::InvalidData)))
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            self.reap();
        }
    }
}
