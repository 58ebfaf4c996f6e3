//! Messages with descriptors over Unix sockets, and the loopback interface.

use crate::arch::syscall;
use crate::{Errno, Fd, Result, file, nr};

const MSG_NOSIGNAL: usize = 0x4000;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;

#[repr(C)]
struct IoVec {
    base: usize,
    len: usize,
}

#[repr(C)]
struct MsgHdr {
    name: usize,
    name_len: u32,
    iov: usize,
    iov_len: usize,
    control: usize,
    control_len: usize,
    flags: i32,
}

#[repr(C, align(8))]
struct ControlFd {
    len: usize,
    level: i32,
    kind: i32,
    fd: i32,
}

/// Sends one message with a copy of `passed`; an absent reader is an error, not a signal.
pub fn send_with_fd(socket: Fd, bytes: &[u8], passed: Fd) -> Result<()> {
    const CONTROL_LEN: usize = 20; // header of 16 bytes and one int, without the trailing padding
    let iov = IoVec { base: bytes.as_ptr().expose_provenance(), len: bytes.len() };
    let control = ControlFd { len: CONTROL_LEN, level: SOL_SOCKET, kind: SCM_RIGHTS, fd: passed.number() };
    let message = MsgHdr {
        name: 0,
        name_len: 0,
        iov: (&raw const iov).expose_provenance(),
        iov_len: 1,
        control: (&raw const control).expose_provenance(),
        control_len: size_of::<ControlFd>(),
        flags: 0,
    };
    // SAFETY: the header names one buffer and one control message; both outlive the call.
    let sent = unsafe { syscall!(nr::SENDMSG, socket.number(), &raw const message, MSG_NOSIGNAL) }?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Most descriptors that one message carries (`SCM_MAX_FD`, unix(7)).
pub const MOST_DESCRIPTORS: usize = 253;

/// Receives one message and the descriptors with it (close-on-exec), each at the lowest free number, in order.
/// Returns the bytes received, none at the end, and the number of descriptors; more than `N` are an error.
pub fn receive<const N: usize>(socket: Fd, bytes: &mut [u8], fds: &mut [Fd; N]) -> Result<(usize, usize)> {
    #[repr(C, align(8))]
    struct Control<const N: usize> {
        len: usize,
        level: i32,
        kind: i32,
        fds: [i32; N],
    }
    const HEADER: usize = 16;
    const MSG_TRUNC_OR_CTRUNC: i32 = 0x20 | 0x8;
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    let iov = IoVec { base: bytes.as_mut_ptr().expose_provenance(), len: bytes.len() };
    let mut control = Control { len: 0, level: 0, kind: 0, fds: [-1; N] };
    let mut message = MsgHdr {
        name: 0,
        name_len: 0,
        iov: (&raw const iov).expose_provenance(),
        iov_len: 1,
        control: (&raw mut control).expose_provenance(),
        control_len: size_of::<Control<N>>(),
        flags: 0,
    };
    // SAFETY: the header names one buffer and room for one control message; both outlive the call.
    let received = unsafe { syscall!(nr::RECVMSG, socket.number(), &raw mut message, MSG_CMSG_CLOEXEC) }?;
    let count = match (message.control_len, control.level, control.kind) {
        _ if message.flags & MSG_TRUNC_OR_CTRUNC != 0 => return Err(Errno::PROTO),
        (0, ..) => 0,
        (_, SOL_SOCKET, SCM_RIGHTS) => control.len.saturating_sub(HEADER) / size_of::<i32>(),
        _ => return Err(Errno::PROTO),
    };
    for (fd, number) in fds.iter_mut().zip(control.fds.get(..count).ok_or(Errno::PROTO)?) {
        *fd = Fd::from_number(*number);
    }
    Ok((received, count))
}

/// As [`receive`]; the descriptors get the numbers from `first` on, from which on none is in use. Returns the bytes
/// received and the number of descriptors.
#[cfg(not(feature = "std"))]
pub fn receive_at(socket: Fd, bytes: &mut [u8], first: Fd) -> Result<(usize, usize)> {
    let mut fds = [Fd::NONE; MOST_DESCRIPTORS];
    let (received, count) = receive(socket, bytes, &mut fds)?;
    // They came at the lowest free numbers, none beyond its place: from the last one on, none lies in another's way.
    for (index, fd) in fds.iter().enumerate().take(count).rev() {
        let place = Fd::from_number(first.number() + i32::try_from(index).map_err(|_| Errno::PROTO)?);
        file::move_onto(*fd, place)?;
    }
    Ok((received, count))
}

/// Makes the terminal behind `fd` the controlling terminal of our session.
pub fn take_terminal(fd: Fd) -> Result<()> {
    const TIOCSCTTY: usize = 0x540E;
    // SAFETY: the request takes a number, not memory.
    unsafe { syscall!(nr::IOCTL, fd.number(), TIOCSCTTY, 0usize) }.map(drop)
}

/// Brings the loopback interface of our network namespace up.
pub fn bring_loopback_up() -> Result<()> {
    const AF_INET: usize = 2;
    const SOCK_DGRAM_CLOEXEC: usize = 2 | 0o2000000;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: i16 = 1;
    #[repr(C)]
    struct IfReq {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    let mut request = IfReq { name: [0; 16], flags: IFF_UP, rest: [0; 22] };
    if let Some(name) = request.name.get_mut(..2) {
        name.copy_from_slice(b"lo");
    }
    // SAFETY: no memory is passed.
    let socket = unsafe { syscall!(nr::SOCKET, AF_INET, SOCK_DGRAM_CLOEXEC, 0usize) }
        .map(crate::NewFd::from_answer)?;
    // SAFETY: `request` is the kernel's `struct ifreq` of 40 bytes.
    let answer = unsafe { syscall!(nr::IOCTL, socket.fd().number(), SIOCSIFFLAGS, &raw const request) };
    let _ = file::close(socket.fd());
    answer.map(drop)
}
