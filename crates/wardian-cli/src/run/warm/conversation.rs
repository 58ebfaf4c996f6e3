//! A WebSocket with a service (RFC 6455), as far as one run needs it.

use super::super::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use wardian::report::{Reason, Report, Signal, Verdict};
use wardian::sandbox::Cancel;

/// Most that a service may say at once: a report.
const MOST: u64 = 64 << 20;
/// How long a service may take for a turn, before the program is run here.
const PATIENCE: Duration = Duration::from_secs(2);

/// A service that runs our program.
pub(super) struct Conversation {
    stream: UnixStream,
    /// What it has not taken yet.
    pending: VecDeque<u8>,
}

/// Whether more of our standard input is to be passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Closed,
}

/// What there is to do.
#[derive(Default)]
struct Happened {
    service: bool,
    room: bool,
    signal: bool,
    input: bool,
}

/// What became of something that the service said.
enum Taken {
    Report(Box<Report>),
    /// Nobody reads this stream of ours any more.
    Unread(&'static str),
    Passed,
}

/// What a service says.
enum Said {
    Message(Value),
    Nothing,
    Gone,
}

impl Conversation {
    /// Sends the request; none if the service does not start it.
    pub(super) fn begin(stream: UnixStream, request: &Value) -> Option<Conversation> {
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let mut conversation = Conversation { stream, pending: VecDeque::new() };
        let head = "GET /v1/run/ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: d2FyZGlhbiBydW4gLS13YXI=\r\n\r\n";
        conversation.stream.write_all(head.as_bytes()).ok()?;
        conversation.switch()?;
        conversation.say(request);
        conversation.stream.write_all(conversation.pending.make_contiguous()).ok()?;
        conversation.pending.clear();
        let Ok(Said::Message(message)) = conversation.hear() else { return None };
        if message.get("type")? != "started" {
            return None;
        }
        conversation.stream.set_read_timeout(None).ok()?;
        conversation.stream.set_write_timeout(None).ok()?;
        Some(conversation)
    }

    /// Reads the head of the answer, which is to say 101, and nothing beyond it.
    fn switch(&mut self) -> Option<()> {
        const MOST_HEAD: usize = 8 << 10;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
            if head.len() > MOST_HEAD {
                return None;
            }
        }
        head.starts_with(b"HTTP/1.1 101").then_some(())
    }

    /// Passes input and output on, until the report comes. Neither waits for the other: a program may want to be read
    /// before it reads.
    pub(super) fn go_on(mut self, cancel: &Cancel) -> Result<Report, Failure> {
        let lost =
            |error: io::Error| Failure::new(format!("lost the service that runs the program: {error}"), None);
        let mut input = Input::Open;
        loop {
            let happened = self.wait(cancel, input).map_err(lost)?;
            if happened.signal {
                return Ok(cancelled(cancel));
            }
            if happened.input {
                input = self.take_input();
            }
            if happened.room && self.flush().is_err() {
                // It has closed its side, and may have said why.
                self.pending.clear();
                input = Input::Closed;
            }
            if !happened.service {
                continue;
            }
            match self.hear().map_err(lost)? {
                Said::Message(message) => match take(&message)? {
                    Taken::Report(report) => return Ok(*report),
                    Taken::Unread(stream) => self.say(&json!({ "type": "close", "stream": stream })),
                    Taken::Passed => {}
                },
                Said::Nothing => {}
                Said::Gone => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    fn wait(&self, cancel: &Cancel, input: Input) -> io::Result<Happened> {
        let stdin = io::stdin();
        let out = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let mut set = vec![
            PollFd::new(&self.stream, PollFlags::IN | out),
            PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN),
        ];
        if input == Input::Open && self.pending.is_empty() {
            set.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut set, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Happened::default()),
            Err(error) => return Err(error.into()),
        }
        let flags = |at: usize| set.get(at).map_or(PollFlags::empty(), PollFd::revents);
        Ok(Happened {
            service: flags(0).intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            room: flags(0).contains(PollFlags::OUT),
            signal: !flags(1).is_empty(),
            input: !flags(2).is_empty(),
        })
    }

    /// A part of standard input goes out next; one that cannot be read is at its end.
    fn take_input(&mut self) -> Input {
        const CHUNK: usize = 32 << 10;
        let mut chunk = vec![0; CHUNK];
        let read = rustix::io::read(io::stdin().as_fd(), &mut chunk).unwrap_or(0);
        if read == 0 {
            self.say(&json!({ "type": "eof" }));
            return Input::Closed;
        }
        let bytes = STANDARD.encode(chunk.get(..read).unwrap_or_default());
        self.say(&json!({ "type": "stdin", "base64": bytes }));
        Input::Open
    }

    /// One masked text frame, to be sent; the mask is zeros, since nothing between us and the service could be misled.
    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        self.pending.extend([0x81, 0x80 | 127]);
        self.pending.extend((text.len() as u64).to_be_bytes());
        self.pending.extend([0; 4]);
        self.pending.extend(text.as_bytes());
    }

    /// Sends what the service takes now.
    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            let (front, _) = self.pending.as_slices();
            match send(&self.stream, front, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> io::Result<Said> {
        const TEXT: u8 = 0x81;
        const CLOSE: u8 = 0x88;
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let [kind, short] = head;
        let bytes = match short & 0x7f {
            126 => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes)?;
                u16::from_be_bytes(bytes).into()
            }
            127 => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes)?;
                u64::from_be_bytes(bytes)
            }
            short => short.into(),
        };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a message of its protocol");
        if bytes > MOST {
            return Err(broken());
        }
        let mut payload = Vec::new();
        (&mut self.stream).take(bytes).read_to_end(&mut payload)?;
        match kind {
            TEXT => serde_json::from_slice(&payload).map(Said::Message).map_err(|_| broken()),
            CLOSE => Ok(Said::Gone),
            _ => Ok(Said::Nothing),
        }
    }
}

/// Output goes to where it belongs; a report is the end.
fn take(message: &Value) -> Result<Taken, Failure> {
    let of = |key: &str| message.get(key).and_then(Value::as_str);
    let bytes = || match (of("text"), of("base64")) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, text) => STANDARD.decode(text.unwrap_or_default()).unwrap_or_default(),
    };
    match of("type") {
        Some("stdout") => passed_on(io::stdout().lock(), &bytes(), "stdout"),
        Some("stderr") => passed_on(io::stderr().lock(), &bytes(), "stderr"),
        Some("report") => {
            let report = message.get("report").cloned().unwrap_or_default();
            let read = serde_json::from_value(report).map(Box::new).map(Taken::Report);
            read.map_err(|error| Failure::new(format!("the service's report: {error}"), None))
        }
        Some("problem") => {
            let problem = message.get("problem");
            let text = |key: &str| problem.and_then(|problem| problem.get(key)?.as_str()).map(str::to_owned);
            Err(Failure::new(text("detail").unwrap_or_default(), text("hint")))
        }
        _ => Ok(Taken::Passed),
    }
}

fn passed_on(mut to: impl Write, bytes: &[u8], stream: &'static str) -> Result<Taken, Failure> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Ok(()) => Ok(Taken::Passed),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Taken::Unread(stream)),
        Err(error) => Err(Failure::new(format!("cannot write the program's {stream}: {error}"), None)),
    }
}

/// The service ends the run when we leave.
fn cancelled(cancel: &Cancel) -> Report {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let name = |number: i32| match number {
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        SIGQUIT => "SIGQUIT",
        SIGTERM => "SIGTERM",
        _ => "a signal",
    };
    let signal = cancel.signal().map(|number| Signal { number, name: name(number).into() });
    let message = match &signal {
        Some(signal) => format!("The run was cancelled by {}.", signal.name),
        None => "The run was cancelled.".into(),
    };
    Report {
        verdict: Verdict::Cancelled,
        reason: Reason::Cancelled,
        signal,
        ..Report::sandbox_error(message)
    }
}
