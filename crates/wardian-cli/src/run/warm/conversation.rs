//! A WebSocket with a service (RFC 6455), as far as one run needs it.

use super::super::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
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
        let mut conversation = Conversation { stream };
        let head = "GET /v1/run/ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: d2FyZGlhbiBydW4gLS13YXI=\r\n\r\n";
        conversation.stream.write_all(head.as_bytes()).ok()?;
        conversation.switch()?;
        conversation.say(request).ok()?;
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

    /// Passes input and output on, until the report comes.
    pub(super) fn go_on(mut self, cancel: &Cancel) -> Result<Report, Failure> {
        let lost =
            |error: io::Error| Failure::new(format!("lost the service that runs the program: {error}"), None);
        let mut input_is_open = true;
        loop {
            let [service, signal, input] = self.wait(cancel, input_is_open).map_err(lost)?;
            if signal {
                return Ok(cancelled(cancel));
            }
            if input {
                input_is_open = self.pass_input().map_err(lost)?;
            }
            if !service {
                continue;
            }
            match self.hear().map_err(lost)? {
                Said::Message(message) => {
                    if let Some(report) = take(&message)? {
                        return Ok(report);
                    }
                }
                Said::Nothing => {}
                Said::Gone => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    fn wait(&self, cancel: &Cancel, input_is_open: bool) -> io::Result<[bool; 3]> {
        let stdin = io::stdin();
        let mut set = vec![
            PollFd::new(&self.stream, PollFlags::IN),
            PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN),
        ];
        if input_is_open {
            set.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut set, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok([false; 3]),
            Err(error) => return Err(error.into()),
        }
        let happened = |at: usize| set.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok([happened(0), happened(1), happened(2)])
    }

    /// Whether there may be more.
    fn pass_input(&mut self) -> io::Result<bool> {
        const CHUNK: usize = 32 << 10;
        let mut chunk = vec![0; CHUNK];
        // A standard input that cannot be read is at its end.
        let read = rustix::io::read(io::stdin().as_fd(), &mut chunk).unwrap_or(0);
        if read == 0 {
            self.say(&json!({ "type": "eof" }))?;
            return Ok(false);
        }
        let bytes = STANDARD.encode(chunk.get(..read).unwrap_or_default());
        self.say(&json!({ "type": "stdin", "base64": bytes }))?;
        Ok(true)
    }

    /// One masked text frame; the mask is zeros, since nothing between us and the service could be misled.
    fn say(&mut self, message: &Value) -> io::Result<()> {
        let text = message.to_string();
        let mut frame = vec![0x81, 0x80 | 127];
        frame.extend((text.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame)
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
fn take(message: &Value) -> Result<Option<Report>, Failure> {
    let of = |key: &str| message.get(key).and_then(Value::as_str);
    let bytes = || match (of("text"), of("base64")) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, text) => STANDARD.decode(text.unwrap_or_default()).unwrap_or_default(),
    };
    match of("type") {
        // Whoever does not read our output does not get it.
        Some("stdout") => {
            let mut out = io::stdout().lock();
            let _ = out.write_all(&bytes()).and_then(|()| out.flush());
        }
        Some("stderr") => drop(io::stderr().lock().write_all(&bytes())),
        Some("report") => {
            let report = message.get("report").cloned().unwrap_or_default();
            let read = serde_json::from_value(report);
            return read
                .map(Some)
                .map_err(|error| Failure::new(format!("the service's report: {error}"), None));
        }
        Some("problem") => {
            let problem = message.get("problem");
            let text = |key: &str| problem.and_then(|problem| problem.get(key)?.as_str()).map(str::to_owned);
            return Err(Failure::new(text("detail").unwrap_or_default(), text("hint")));
        }
        _ => {}
    }
    Ok(None)
}

/// The service ends the run when we leave.
fn cancelled(cancel: &Cancel) -> Report {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let name = |number: i32| match number {
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
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
