//! The caller's descriptors: read and written without ever waiting.
//!
//! poll(2) says what would not block, but others may hold the same pipe or terminal (standard error is often standard
//! output) and take the room, or the bytes, first; and a supervisor that waits there ends nobody at their limit. Making
//! the file itself non-blocking is no way: it would be so for everybody.

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{RecvFlags, SendFlags};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// "Where the file is": preadv2(2), pwritev2(2).
const CURRENT: u64 = u64::MAX;

/// A descriptor of the caller's.
#[derive(Debug)]
pub(super) struct CallersFile {
    fd: OwnedFd,
    way: Way,
}

/// How not to wait.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The call says so: pipes since Linux 6.4.
    Nowait,
    /// The call says so, as sockets have it.
    Dontwait,
    /// A file never makes us wait for others; nor does what we opened for ourselves.
    Plain,
}

impl CallersFile {
    pub(super) fn new(fd: OwnedFd) -> CallersFile {
        let kind = rustix::fs::fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let way = match kind {
            Ok(FileType::Fifo | FileType::CharacterDevice) => Way::Nowait,
            Ok(FileType::Socket) => Way::Dontwait,
            _ => Way::Plain,
        };
        CallersFile { fd, way }
    }

    /// read(2), with `AGAIN` where it would wait.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Errno> {
        if matches!(self.way, Way::Nowait) {
            let mut parts = [IoSliceMut::new(chunk)];
            match rustix::io::preadv2(&self.fd, &mut parts, CURRENT, ReadWriteFlags::NOWAIT) {
                Err(error) if is_unknown(error) => self.open_for_ourselves(OFlags::RDONLY),
                answer => return answer,
            }
        }
        match self.way {
            Way::Dontwait => rustix::net::recv(&self.fd, chunk, RecvFlags::DONTWAIT).map(|(read, _)| read),
            Way::Plain | Way::Nowait => rustix::io::read(&self.fd, chunk),
        }
    }

    /// write(2), with `AGAIN` where it would wait.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if matches!(self.way, Way::Nowait) {
            match rustix::io::pwritev2(&self.fd, &[IoSlice::new(bytes)], CURRENT, ReadWriteFlags::NOWAIT) {
                Err(error) if is_unknown(error) => self.open_for_ourselves(OFlags::WRONLY),
                answer => return answer,
            }
        }
        match self.way {
            Way::Dontwait => rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Way::Plain | Way::Nowait => rustix::io::write(&self.fd, bytes),
        }
    }

    /// Terminals, and pipes of older kernels: the same file opened once more is ours to make non-blocking. Whoever may
    /// not open it (another user's terminal, no `/proc`) is left with what poll says.
    fn open_for_ourselves(&mut self, access: OFlags) {
        self.way = Way::Plain;
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
            self.fd = own;
        }
    }
}

/// Of a kernel, or a file, that does not know the flag.
fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL)
}

impl AsFd for CallersFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::pipe::{PipeFlags, pipe_with};
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    /// All ways that a file of this kind may be treated.
    fn every_way(fd: &OwnedFd) -> Vec<CallersFile> {
        let new = || CallersFile::new(fd.try_clone().unwrap());
        let mut own = new();
        own.open_for_ourselves(OFlags::RDWR);
        vec![new(), own]
    }

    fn fill(file: &mut CallersFile) -> Errno {
        (0..10_000).find_map(|_| file.write(&[b'x'; 4096]).err()).unwrap()
    }

    #[test]
    fn a_full_pipe_and_an_empty_one_are_no_reason_to_wait() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        for mut file in every_way(&read) {
            assert_eq!(file.read(&mut [0; 8]), Err(Errno::AGAIN), "{file:?}");
        }
        for mut file in every_way(&write) {
            assert_eq!(fill(&mut file), Errno::AGAIN, "{file:?}");
        }
        // The caller's own descriptors are as they were.
        for fd in [&read, &write] {
            assert!(!rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
        }
    }

    #[test]
    fn nor_are_sockets_and_terminals() {
        let (one, _other) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let mut socket = CallersFile::new(one);
        assert_eq!(socket.read(&mut [0; 8]), Err(Errno::AGAIN));
        assert_eq!(fill(&mut socket), Errno::AGAIN);
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let mut terminal = CallersFile::new(ioctl_tiocgptpeer(&master, flags).unwrap());
        assert_eq!(fill(&mut terminal), Errno::AGAIN);
    }

    #[test]
    fn a_file_is_read_and_written_where_it_is() {
        use std::io::{Read, Seek, Write};
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\n").unwrap();
        assert_eq!(CallersFile::new(file.try_clone().unwrap().into()).write(b"two\n"), Ok(4));
        file.rewind().unwrap();
        let mut text = [0; 4];
        assert_eq!(CallersFile::new(file.try_clone().unwrap().into()).read(&mut text), Ok(4));
        assert_eq!(&text, b"one\n");
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two\n");
    }
}
