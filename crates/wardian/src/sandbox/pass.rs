//! Passing a signal on to the program. One that is gone, or a number that is no signal, is nobody's fault.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;

/// Sends `signal` to a process.
pub(super) fn to(pidfd: &OwnedFd, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        let _ = pidfd_send_signal(pidfd, signal);
    }
}

/// Sends `signal` to the first child of init that is left: the program, as long as it lives.
pub(super) fn to_child_of(init: i32, signal: i32) {
    let Some(guest) = first_child(init) else { return };
    let Ok(pidfd) = pidfd_open(guest, PidfdFlags::empty()) else { return };
    // It is still init's child: the number was not another process's when the descriptor was opened.
    if first_child(init) == Some(guest) {
        to(&pidfd, signal);
    }
}

/// Children are listed in the order in which they came (`proc_pid_children(5)`).
fn first_child(init: i32) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
    Pid::from_raw(text.split_ascii_whitespace().next()?.parse().ok()?)
}
