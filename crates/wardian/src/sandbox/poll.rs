//! Waiting for descriptors, however many signals the program that we live in handles meanwhile.

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::{Errno, Result};
use std::time::Instant;

/// poll(2), at the latest until a deadline if there is one; how many are ready.
pub(super) fn poll_until(set: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<usize> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // What is too long for the kernel is as good as for ever.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(set, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

/// How many are ready now.
pub(super) fn poll_now(set: &mut [PollFd<'_>]) -> Result<usize> {
    poll_until(set, Some(Instant::now()))
}
