//! Ending a run from outside, or passing it a signal: from another thread, or a signal handler.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Ends a run: every clone of it, from any thread; calling it twice is as once.
///
/// Through its pipe go signals to be passed on, by number, and orders to end, which are any other byte.
#[derive(Clone, Debug)]
pub struct Cancel {
    reader: Arc<OwnedFd>,
    writer: Arc<OwnedFd>,
    signal: Arc<AtomicUsize>,
}

/// The kernel's last signal (`_NSIG`, signal(7)).
const MOST_SIGNAL: u8 = 64;

/// What is asked for.
pub(super) enum Order {
    /// To end.
    End,
    /// To pass a signal on.
    Pass(i32),
    /// Nothing any more.
    None,
}

impl Cancel {
    /// A new one, not yet called.
    ///
    /// # Errors
    /// No descriptor left (pipe2(2)).
    pub fn new() -> io::Result<Cancel> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Cancel {
            reader: Arc::new(reader),
            writer: Arc::new(writer),
            signal: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// Ends the run, now or as soon as it starts.
    pub fn cancel(&self) {
        // A full pipe has been written to before.
        let _ = rustix::io::write(&self.writer, &[0]);
    }

    /// Whether it has been called; signals for a program that has not been started are dropped.
    pub(crate) fn is_called(&self) -> bool {
        loop {
            match self.order() {
                Order::End => return true,
                Order::Pass(_) => {}
                Order::None => return false,
            }
        }
    }

    /// Passes a signal on to the program, if it has been started; 1 to 64.
    pub fn pass_signal(&self, number: u8) {
        if (1..=MOST_SIGNAL).contains(&number) {
            let _ = rustix::io::write(&self.writer, &[number]);
        }
    }

    /// What is asked for, when its descriptor is readable.
    pub(super) fn order(&self) -> Order {
        let mut byte = [0u8];
        match rustix::io::read(&self.reader, &mut byte) {
            Ok(1) if (1..=MOST_SIGNAL).contains(&byte[0]) => Order::Pass(byte[0].into()),
            Ok(_) => {
                // An order to end is for every run that has a clone of this.
                self.cancel();
                Order::End
            }
            // Another run has taken it.
            Err(_) => Order::None,
        }
    }

    /// For a signal handler: where it notes its signal's number, then a descriptor to write one byte to.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn for_handler(&self) -> io::Result<(Arc<AtomicUsize>, OwnedFd)> {
        Ok((Arc::clone(&self.signal), self.writer.try_clone()?))
    }

    /// The signal noted, if any.
    pub fn signal(&self) -> Option<i32> {
        i32::try_from(self.signal.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }
}

impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_passed_on_once_and_an_order_to_end_stays() {
        let cancel = Cancel::new().unwrap();
        cancel.pass_signal(2);
        cancel.pass_signal(65);
        cancel.cancel();
        assert!(matches!(cancel.order(), Order::Pass(2)));
        for _ in 0..3 {
            assert!(matches!(cancel.order(), Order::End));
        }
    }

    #[test]
    fn what_a_signal_handler_writes_is_an_order_to_end() {
        let cancel = Cancel::new().unwrap();
        let (_, wake) = cancel.for_handler().unwrap();
        rustix::io::write(&wake, b"X").unwrap();
        assert!(matches!(cancel.order(), Order::End));
    }
}
