//! Standard streams: pipes of ours between the guest and its caller, or a terminal of ours.
//!
//! The guest never holds a descriptor of the caller's: through `/proc/self/fd` it could open the same file
//! anew, with more rights than it was given. What it writes is counted, bounded, kept or passed on here.

use super::callers_file::CallersFile;
use super::terminal::{Resizer, Terminal, master_and_slave};
use super::{Pipes, Streams};
use crate::policy::Stderr;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most that is read ahead of whoever takes it.
const CHUNK: usize = 64 << 10;
/// The end that is kept of a stream whose middle is dropped.
const TAIL: usize = 4 << 10;
/// What a pipe takes without blocking once it polls as writable (PIPE_BUF, pipe(7)).
const PIPE_BUF: usize = 4096;

/// Where standard input comes from.
#[derive(Debug)]
pub enum StdinSource {
    /// Nowhere: the end of file at once.
    Empty,
    /// A descriptor, read at most 64 KiB ahead of the guest.
    Fd(OwnedFd),
    /// Memory.
    Bytes(Vec<u8>),
}

/// Where an output stream goes.
#[derive(Debug)]
pub struct Output {
    /// Passed on as it comes.
    pub pass_to: Option<OwnedFd>,
    /// Kept for the report.
    pub keep: bool,
}

/// A pipe whose one end is for the guest.
pub(super) struct GuestPipe {
    pub(super) ours: OwnedFd,
    pub(super) guests: OwnedFd,
}

impl Stderr {
    /// The pipe that the guest's standard error is. Of its own one, where that is not it, nobody inside holds an
    /// end: it is at its end at once.
    pub(super) fn of<'a>(self, stdout: &'a GuestPipe, own: &'a GuestPipe) -> &'a GuestPipe {
        match self {
            Stderr::Own => own,
            Stderr::Stdout => stdout,
        }
    }
}

/// The pipe of standard input (`guest_reads`), or of an output stream.
pub(super) fn guest_pipe(guest_reads: bool, owner: Option<u32>) -> io::Result<GuestPipe> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ours, guests) = if guest_reads { (write, read) } else { (read, write) };
    rustix::io::ioctl_fionbio(&ours, true)?;
    if let Some(id) = owner {
        give_to(&guests, id)?;
    }
    Ok(GuestPipe { ours, guests })
}

/// Our ends of the standard streams.
pub(super) struct Ends {
    pub(super) stdin: Feeder,
    pub(super) stdout: Taker,
    pub(super) stderr: Taker,
    /// Where they are one terminal.
    pub(super) terminal: Option<Resizer>,
}

impl Ends {
    /// A terminal is over when either side is: the caller's, of which the guest is told by hanging its own up, or
    /// the guest's, who has closed it for good. All our descriptors of it are closed then.
    pub(super) fn hang_up_if_over(&mut self) {
        if self.terminal.is_some() && (self.stdin.is_at_end() || self.stdout.is_closed()) {
            self.terminal = None;
            self.stdin.close();
            self.stdout.close();
        }
    }
}

/// Makes the standard streams: our ends, and what becomes the guest's descriptors 0, 1 and 2.
pub(super) fn make(
    streams: Streams,
    stderr: Stderr,
    owner: Option<u32>,
    limit: u64,
) -> io::Result<(Ends, [OwnedFd; 3])> {
    match streams {
        Streams::Pipes(pipes) => make_pipes(pipes, stderr, owner, limit),
        Streams::Terminal(terminal) => make_terminal(terminal, owner, limit),
    }
}

fn make_pipes(
    pipes: Pipes,
    merge: Stderr,
    owner: Option<u32>,
    limit: u64,
) -> io::Result<(Ends, [OwnedFd; 3])> {
    let (stdin, stdout, stderr) =
        (guest_pipe(true, owner)?, guest_pipe(false, owner)?, guest_pipe(false, owner)?);
    let errors = merge.of(&stdout, &stderr).guests.try_clone()?;
    let ends = Ends {
        stdin: Feeder::new(pipes.stdin, stdin.ours),
        stdout: Taker::new(stdout.ours, pipes.stdout, limit),
        stderr: Taker::new(stderr.ours, pipes.stderr, limit),
        terminal: None,
    };
    Ok((ends, [stdin.guests, stdout.guests, errors]))
}

fn make_terminal(terminal: Terminal, owner: Option<u32>, limit: u64) -> io::Result<(Ends, [OwnedFd; 3])> {
    let (master, slave) = master_and_slave(&terminal.input)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    if let Some(id) = owner {
        give_to(&slave, id)?;
    }
    let Terminal { input, output, resized } = terminal;
    let stderr = Output { pass_to: None, keep: output.keep };
    let ends = Ends {
        terminal: Some(Resizer::new(input.try_clone()?, master.try_clone()?, resized)),
        stdin: Feeder::new(StdinSource::Fd(input), master.try_clone()?),
        stdout: Taker::new(master, output, limit),
        stderr: Taker::of(None, stderr, limit),
    };
    Ok((ends, [slave.try_clone()?, slave.try_clone()?, slave]))
}

/// So that the guest can open /dev/stdin and its like: that is a new open, with a check of the owner.
fn give_to(fd: &OwnedFd, id: u32) -> io::Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(id), rustix::fs::Gid::from_raw(id));
    Ok(rustix::fs::fchown(fd, Some(uid), Some(gid))?)
}

/// Feeds standard input.
pub(super) struct Feeder {
    source: Source,
    buffer: VecDeque<u8>,
    pipe: Option<OwnedFd>,
}

enum Source {
    Done,
    File(CallersFile),
}

impl Feeder {
    pub(super) fn new(source: StdinSource, pipe: OwnedFd) -> Feeder {
        let (source, buffer) = match source {
            StdinSource::Empty => (Source::Done, VecDeque::new()),
            StdinSource::Bytes(bytes) => (Source::Done, bytes.into()),
            StdinSource::Fd(fd) => (Source::File(CallersFile::new(fd)), VecDeque::new()),
        };
        let mut feeder = Feeder { source, buffer, pipe: Some(pipe) };
        feeder.close_if_done();
        feeder
    }

    /// The caller's descriptor, while there is room for more.
    pub(super) fn wants_read(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::File(file) if self.pipe.is_some() && self.buffer.is_empty() => Some(file.as_fd()),
            _ => None,
        }
    }

    /// The guest's pipe, while there is something for it.
    pub(super) fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| !self.buffer.is_empty()).map(AsFd::as_fd)
    }

    /// Takes what the source has.
    pub(super) fn read(&mut self) {
        let Source::File(file) = &mut self.source else { return };
        let mut chunk = vec![0; CHUNK];
        match file.read(&mut chunk) {
            Ok(0) => self.source = Source::Done,
            Ok(n) => self.buffer.extend(chunk.iter().take(n)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // A caller's stdin that cannot be read (closed, a directory) is at its end.
            Err(_) => self.source = Source::Done,
        }
        self.close_if_done();
    }

    pub(super) fn write(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let (front, _) = self.buffer.as_slices();
        match rustix::io::write(pipe, front.get(..front.len().min(CHUNK)).unwrap_or(front)) {
            Ok(n) => drop(self.buffer.drain(..n)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // The guest has closed its end: it wants no more.
            Err(_) => self.pipe = None,
        }
        self.close_if_done();
    }

    /// Whether the guest has been given everything there was.
    pub(super) fn is_at_end(&self) -> bool {
        self.buffer.is_empty() && matches!(self.source, Source::Done)
    }

    pub(super) fn close(&mut self) {
        self.pipe = None;
    }

    fn close_if_done(&mut self) {
        if self.is_at_end() {
            self.pipe = None;
        }
    }
}

/// Takes one output stream.
pub(super) struct Taker {
    pipe: Option<OwnedFd>,
    pass_to: Option<CallersFile>,
    pending: VecDeque<u8>,
    kept: Option<Kept>,
    limit: u64,
    bytes: u64,
    /// Why not all of it went to the caller, other than that nobody reads it any more.
    write_error: Option<String>,
}

/// What is kept of a stream for the report.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) head: Vec<u8>,
    pub(super) tail: VecDeque<u8>,
}

impl Taker {
    pub(super) fn new(pipe: OwnedFd, output: Output, limit: u64) -> Taker {
        Taker::of(Some(pipe), output, limit)
    }

    fn of(pipe: Option<OwnedFd>, output: Output, limit: u64) -> Taker {
        Taker {
            pipe,
            pass_to: output.pass_to.map(CallersFile::new),
            pending: VecDeque::new(),
            kept: output.keep.then(Kept::default),
            limit,
            bytes: 0,
            write_error: None,
        }
    }

    /// Takes what goes nowhere but into the report.
    pub(super) fn keeper(pipe: OwnedFd, limit: u64) -> Taker {
        Taker::new(pipe, Output { pass_to: None, keep: true }, limit)
    }

    /// The guest's pipe, while we can take more.
    pub(super) fn wants_read(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| self.pending.is_empty()).map(AsFd::as_fd)
    }

    /// The caller's descriptor, while there is something for it.
    pub(super) fn wants_write(&self) -> Option<BorrowedFd<'_>> {
        self.pass_to.as_ref().filter(|_| !self.pending.is_empty()).map(AsFd::as_fd)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_over_limit(&self) -> bool {
        self.bytes > self.limit
    }

    /// Whether everything the guest wrote is where it belongs.
    pub(super) fn is_done(&self) -> bool {
        self.pipe.is_none() && (self.pending.is_empty() || self.pass_to.is_none())
    }

    /// Whether nothing more comes from the guest, or for it to go to.
    pub(super) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    pub(super) fn close(&mut self) {
        self.pipe = None;
    }

    pub(super) fn passes_on(&self) -> bool {
        self.pass_to.is_some()
    }

    pub(super) fn into_kept(self) -> Option<Kept> {
        self.kept
    }

    pub(super) fn read(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        // Neither filled with zeros nor on the stack, which is probed page by page: most output is a line, and each page
        // touched is a fault.
        let mut chunk = Vec::with_capacity(CHUNK);
        match rustix::io::read(pipe, spare_capacity(&mut chunk)) {
            Ok(0) => self.pipe = None,
            Ok(_) => self.take(&chunk),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // EIO: of a terminal that nobody inside has open any more.
            Err(_) => self.pipe = None,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.limit.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let (within, beyond) = bytes.split_at(room.min(bytes.len()));
        self.bytes += bytes.len() as u64;
        if self.pass_to.is_some() {
            self.pending.extend(within);
        }
        if let Some(kept) = &mut self.kept {
            kept.head.extend_from_slice(within);
            kept.tail.extend(beyond);
            let excess = kept.tail.len().saturating_sub(TAIL);
            kept.tail.drain(..excess);
        }
    }

    pub(super) fn write(&mut self) {
        let Some(to) = &mut self.pass_to else { return };
        let (front, _) = self.pending.as_slices();
        match to.write(front.get(..front.len().min(PIPE_BUF)).unwrap_or(front)) {
            Ok(n) => drop(self.pending.drain(..n)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                // Of a terminal whose user has gone EIO, of a socket's ECONNRESET.
                let is_gone = matches!(error, Errno::PIPE | Errno::IO | Errno::CONNRESET);
                self.write_error = Some(io::Error::from(error).to_string()).filter(|_| !is_gone);
                self.caller_is_gone();
            }
        }
    }

    /// Nobody has taken the rest for too long, and nobody waits any longer.
    pub(super) fn give_up(&mut self) {
        if self.pass_to.is_some() && !self.pending.is_empty() {
            self.write_error = Some("what takes it took no more for too long after the program's end".into());
        }
    }

    pub(super) fn take_write_error(&mut self) -> Option<String> {
        self.write_error.take()
    }

    /// Nobody takes the output any more: the guest is told as it would be outside, by EPIPE.
    fn caller_is_gone(&mut self) {
        self.pass_to = None;
        self.pending.clear();
        if self.kept.is_none() {
            self.pipe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(limit: u64) -> Taker {
        let (read, _write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Taker::keeper(read, limit)
    }

    #[test]
    fn the_head_ends_at_the_limit_and_the_tail_is_the_end() {
        let mut taker = keeper(5);
        taker.take(b"abc");
        taker.take(b"defgh");
        assert!(taker.is_over_limit());
        assert_eq!(taker.bytes(), 8);
        let kept = taker.into_kept().unwrap();
        assert_eq!(kept.head, b"abcde");
        assert_eq!(kept.tail, b"fgh");
    }

    #[test]
    fn a_flood_keeps_memory_bounded() {
        let mut taker = keeper(10);
        for _ in 0..1000 {
            taker.take(&[b'x'; CHUNK]);
        }
        let kept = taker.into_kept().unwrap();
        assert_eq!((kept.head.len(), kept.tail.len()), (10, TAIL));
        assert!(kept.tail.capacity() <= 2 * (CHUNK + TAIL));
    }
}
