//! Ending a run from outside: from another thread, or a signal handler.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Ends a run: every clone of it, from any thread; calling it twice is as once.
#[derive(Clone, Debug)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    signal: AtomicI32,
}

impl Cancel {
    /// A new one, not yet called.
    ///
    /// # Errors
    /// No descriptor left (eventfd(2)).
    pub fn new() -> io::Result<Cancel> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Cancel { shared: Arc::new(Shared { event, signal: AtomicI32::new(0) }) })
    }

    /// Ends the run, now or as soon as it starts.
    pub fn cancel(&self) {
        // A full counter has been called before.
        let _ = rustix::io::write(&self.shared.event, &1u64.to_ne_bytes());
    }

    /// As `cancel`, noting the signal that asks for it.
    pub fn cancel_for_signal(&self, signal: i32) {
        self.shared.signal.store(signal, Ordering::Relaxed);
        self.cancel();
    }

    /// The signal noted, if any.
    pub fn signal(&self) -> Option<i32> {
        Some(self.shared.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }
}

impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}
