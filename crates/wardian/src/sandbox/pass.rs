//! Passing a signal on to the guest.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;

/// Sends `signal` to the first child of init that is left: the program, as long as it lives. A guest that is gone,
/// or a number that is no signal, is nobody's fault.
pub(super) fn to_guest(init: i32, signal: i32) {
    let Some(signal) = Signal::from_named_raw(signal) else { return };
    let Some(guest) = first_child(init) else { return };
    let Ok(pidfd) = pidfd_open(guest, PidfdFlags::empty()) else { return };
    // It is still init's child: the number was not another process's when the descriptor was opened.
    if first_child(init) == Some(guest) {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// Children are listed in the order in which they came (`proc_pid_children(5)`).
fn first_child(init: i32) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
    Pid::from_raw(text.split_ascii_whitespace().next()?.parse().ok()?)
}
