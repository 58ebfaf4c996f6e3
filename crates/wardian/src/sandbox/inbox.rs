//! What init says: one message at a time, with a descriptor or without.

use super::SandboxError;
use super::poll::poll_now;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io;
use std::os::fd::OwnedFd;
use wardian_init::{MESSAGE_BYTES, Message};

/// One message; `None` at the end. Blocks if there is neither, so it is called when poll says so or init is gone.
pub(super) fn receive(socket: &OwnedFd) -> Result<Option<(Message, Option<OwnedFd>)>, SandboxError> {
    let mut bytes = [0u8; MESSAGE_BYTES];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut iov = [io::IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, &mut iov, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // The other end was closed with our go unread.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            answer => break answer.map_err(SandboxError::at("hear from wardian-init"))?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a message of its protocol");
    Message::decode(bytes.get(..received.bytes).unwrap_or(&[]))
        .map(|message| Some((message, passed)))
        .ok_or_else(|| SandboxError::at("hear from wardian-init")(broken()))
}

/// Whether there is one, or the end.
pub(super) fn is_readable(socket: &OwnedFd) -> bool {
    let mut set = [PollFd::new(socket, PollFlags::IN)];
    poll_now(&mut set) == Ok(1)
}
