//! Ending a run from outside: from another thread, or a signal handler.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Ends a run: every clone of it, from any thread; calling it twice is as once.
#[derive(Clone, Debug)]
pub struct Cancel {
    reader: Arc<OwnedFd>,
    writer: Arc<OwnedFd>,
    signal: Arc<AtomicUsize>,
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

    /// Whether it has been called.
    pub(crate) fn is_called(&self) -> bool {
        let mut set = [PollFd::new(&self.reader, PollFlags::IN)];
        !matches!(poll(&mut set, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
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
