//! Refused system calls, observed by seccomp user notification and answered here.
//!
//! Only registers are looked at, never the guest's memory, which it could change meanwhile. After many
//! refusals of one kind the answers are delayed, so that a guest cannot keep the supervisor busy.

use crate::report::Denial;
use crate::seccomp;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use wardian_sys::Errno;
use wardian_sys::seccomp::{receive, respond_errno};

/// Refusals of one system call that are answered at once.
const PROMPT: u64 = 64;
const MAX_DELAY: Duration = Duration::from_millis(10);
/// Kinds of refusals that are told apart; what comes after is counted under its system call alone.
const MAX_KINDS: usize = 64;

/// The listener and what it has heard.
pub(super) struct Denials {
    profile: seccomp::Profile,
    listener: Option<OwnedFd>,
    waiting: Option<Waiting>,
    kinds: BTreeMap<(&'static str, String), Denial>,
    counts: BTreeMap<i32, u64>,
}

/// A call whose answer is delayed.
struct Waiting {
    id: u64,
    errno: Errno,
    until: Instant,
}

impl Denials {
    pub(super) fn new(profile: seccomp::Profile) -> Denials {
        Denials { profile, listener: None, waiting: None, kinds: BTreeMap::new(), counts: BTreeMap::new() }
    }

    pub(super) fn listen(&mut self, listener: OwnedFd) {
        self.listener = Some(listener);
    }

    /// The listener, while no answer is being delayed.
    pub(super) fn wants_read(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().filter(|_| self.waiting.is_none()).map(AsFd::as_fd)
    }

    /// When the delayed answer is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|waiting| waiting.until)
    }

    /// Gives the delayed answer if it is due.
    pub(super) fn answer_due(&mut self, now: Instant) {
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.until <= now) {
            self.answer(waiting.id, waiting.errno);
        }
    }

    /// Nobody is left who could make a call.
    pub(super) fn hang_up(&mut self) {
        self.listener = None;
    }

    /// Takes one refused call.
    pub(super) fn read(&mut self) {
        let Some(listener) = &self.listener else { return };
        // The caller may have died between the poll and this.
        let Ok(notification) = receive(listener.as_fd()) else { return };
        let number = u32::try_from(notification.syscall).unwrap_or(u32::MAX);
        let refused = seccomp::describe(&self.profile, seccomp::Arch::current(), number, &notification.args);
        let errno = refused.as_ref().map_or(Errno::PERM, |refused| Errno(i32::from(refused.errno)));
        let count = self.counts.entry(notification.syscall).or_insert(0);
        *count += 1;
        let count = *count;
        if let Some(refused) = refused {
            self.record(refused);
        }
        match count.checked_sub(PROMPT) {
            None | Some(0) => self.answer(notification.id, errno),
            Some(excess) => {
                let delay = Duration::from_micros(excess.saturating_mul(100)).min(MAX_DELAY);
                self.waiting = Some(Waiting { id: notification.id, errno, until: Instant::now() + delay });
            }
        }
    }

    fn record(&mut self, mut refused: seccomp::Refused) {
        if self.kinds.len() >= MAX_KINDS {
            refused.detail.clear();
        }
        let kind = (refused.syscall, refused.detail.clone());
        self.kinds.entry(kind).or_insert_with(|| refused.into_denial(0)).count += 1;
    }

    fn answer(&self, id: u64, errno: Errno) {
        if let Some(listener) = &self.listener {
            // A caller that died meanwhile needs no answer.
            let _ = respond_errno(listener.as_fd(), id, errno);
        }
    }

    pub(super) fn into_list(self) -> Vec<Denial> {
        self.kinds.into_values().collect()
    }
}
