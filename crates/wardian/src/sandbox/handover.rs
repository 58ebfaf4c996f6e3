//! Handing descriptors over to init: half a plan at a time, see `wardian_init`.

use super::{SandboxError, init};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use wardian_init::Seat;
use wardian_sys::socket::MOST_DESCRIPTORS;

/// Two ends of a socket that keeps messages apart.
pub(super) fn packet_pair() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(SandboxError::at("make the socket to wardian-init"))
}

/// The descriptors that half a plan refers to, in the order of their seats.
pub(super) struct Half<'a> {
    /// The seat of the half itself.
    own: Seat,
    fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Half<'a> {
    /// None yet.
    pub(super) fn at(own: Seat) -> Half<'a> {
        Half { own, fds: Vec::new() }
    }

    /// One more; answers its seat.
    pub(super) fn add(&mut self, fd: &'a impl AsFd) -> Seat {
        self.fds.push(fd.as_fd());
        Seat(self.own.0 + u32::try_from(self.fds.len()).unwrap_or(u32::MAX))
    }

    /// The seat of the half after it: one between them is init's own.
    pub(super) fn next(&self) -> Seat {
        Seat(self.own.0 + u32::try_from(self.fds.len()).unwrap_or(u32::MAX)).next().next()
    }

    /// Sends init the half, which these bytes are, with its descriptors, and the go. Answers the memfd that it is in.
    pub(super) fn send(self, control: &OwnedFd, name: &str, bytes: &[u8]) -> Result<OwnedFd, SandboxError> {
        let half = init::sealed(name, bytes, false)
            .map_err(SandboxError::at("put the plan in memory (memfd_create)"))?;
        let all: Vec<_> = std::iter::once(half.as_fd()).chain(self.fds).collect();
        go(control, &all, bytes.len())?;
        Ok(half)
    }
}

/// Sends descriptors, and the go: in the last message a length. An init that has ended meanwhile has said why.
pub(super) fn go(control: &OwnedFd, fds: &[BorrowedFd<'_>], len: usize) -> Result<(), SandboxError> {
    let mut chunks = fds.chunks(MOST_DESCRIPTORS).peekable();
    while let Some(chunk) = chunks.next() {
        let word = if chunks.peek().is_some() { 0 } else { len as u64 };
        match send(control, &word.to_le_bytes(), chunk) {
            Ok(()) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(SandboxError::at("tell wardian-init to go")(error)),
        }
    }
    Ok(())
}

/// One message with descriptors. An ordinary user may have only so many on their way (`ETOOMANYREFS`, unix(7)):
/// other sandboxes that are starting will have taken theirs in a moment.
pub(super) fn send(socket: &impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(1);
    let rights = SendAncillaryMessage::ScmRights(fds);
    let mut space = vec![MaybeUninit::uninit(); rights.size()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(rights) {
        return Err(Errno::NOBUFS);
    }
    let started = Instant::now();
    loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::TOOMANYREFS) if started.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            answer => return answer.map(drop),
        }
    }
}
