//! A run whose output is passed on as it comes.

use crate::problem::Problem;
use crate::service::Going;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use tokio::net::unix::pipe::{Receiver, Sender};
use wardian::report::Report;
use wardian::sandbox::{Collect, Connections, Output, Pipes, StdinSource};

/// Most that is taken from a pipe at once.
const CHUNK: usize = 32 << 10;

/// Our ends of a run's streams.
pub(crate) struct Ends {
    stdout: Reader,
    stderr: Reader,
    /// Where there is more input to come.
    pub(crate) stdin: Option<Feed>,
}

impl Ends {
    /// Reads no more of an output stream; whether there is one of that name.
    pub(crate) fn close(&mut self, name: &str) -> bool {
        let stream = [&mut self.stdout, &mut self.stderr].into_iter().find(|stream| stream.name == name);
        stream.map(|stream| stream.pipe = None).is_some()
    }
}

/// Pipes for a run: both ends.
pub(crate) fn pipes(
    stdin: Option<Vec<u8>>,
    collect: Option<Collect>,
) -> Result<(Connections, Ends), Problem> {
    make(stdin, collect).map_err(|error| Problem::ours(format!("cannot make pipes: {error}")))
}

fn make(stdin: Option<Vec<u8>>, collect: Option<Collect>) -> io::Result<(Connections, Ends)> {
    let pipe = || -> io::Result<(OwnedFd, OwnedFd)> { Ok(pipe_with(PipeFlags::CLOEXEC)?) };
    let ((out, out_to), (err, err_to)) = (pipe()?, pipe()?);
    let (stdin, feed) = match stdin {
        Some(bytes) if bytes.is_empty() => (StdinSource::Empty, None),
        Some(bytes) => (StdinSource::Bytes(bytes), None),
        None => {
            let (from, to) = pipe()?;
            let feed = Feed { pipe: Some(Sender::from_owned_fd(to)?), pending: VecDeque::new(), ends: false };
            (StdinSource::Fd(from), Some(feed))
        }
    };
    let to = |fd| Output { pass_to: Some(fd), keep: false };
    let streams = Pipes { stdin, stdout: to(out_to), stderr: to(err_to) };
    let connections = Connections { streams, cancel: None, result: None, collect };
    let ends = Ends { stdout: Reader::new("stdout", out)?, stderr: Reader::new("stderr", err)?, stdin: feed };
    Ok((connections, ends))
}

/// What happens next in a run.
pub(crate) enum Happening {
    /// The program wrote something.
    Output {
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// What.
        piece: Piece,
    },
    /// The run is over.
    Ended(Box<Result<Report, Problem>>),
}

/// A run under way and its streams; dropping it ends the run.
pub(crate) struct LiveRun {
    pub(crate) going: Going,
    pub(crate) ends: Ends,
}

impl LiveRun {
    /// The next thing that happens. Nothing is lost when this is dropped while it waits.
    pub(crate) async fn next(&mut self) -> Happening {
        loop {
            let Ends { stdout, stderr, .. } = &mut self.ends;
            let (stream, piece) = tokio::select! {
                piece = stdout.read(), if stdout.pipe.is_some() => (stdout.name, piece),
                piece = stderr.read(), if stderr.pipe.is_some() => (stderr.name, piece),
                report = self.going.report(), if stdout.pipe.is_none() && stderr.pipe.is_none() => {
                    return Happening::Ended(Box::new(report));
                }
            };
            if let Some(piece) = piece {
                return Happening::Output { stream, piece };
            }
        }
    }
}

/// A part of an output stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Whole characters.
    Text(String),
    /// Bytes that are no text.
    Binary(Vec<u8>),
}

impl Piece {
    /// As `{"text": …}` or `{"base64": …}`.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let (key, text) = match self {
            Piece::Text(text) => ("text", text.clone()),
            Piece::Binary(bytes) => ("base64", STANDARD.encode(bytes)),
        };
        Map::from_iter([(key.to_owned(), Value::String(text))])
    }

    /// As text, whatever it is.
    pub(crate) fn into_text(self) -> String {
        match self {
            Piece::Text(text) => text,
            Piece::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

struct Reader {
    name: &'static str,
    pipe: Option<Receiver>,
    /// The beginning of a character whose rest is still to come.
    rest: Vec<u8>,
}

impl Reader {
    fn new(name: &'static str, pipe: OwnedFd) -> io::Result<Reader> {
        Ok(Reader { name, pipe: Some(Receiver::from_owned_fd(pipe)?), rest: Vec::new() })
    }

    /// What came, if it came to something.
    async fn read(&mut self) -> Option<Piece> {
        let pipe = self.pipe.as_ref()?;
        let ready = pipe.readable().await;
        let mut chunk = vec![0; CHUNK];
        match ready.and_then(|()| pipe.try_read(&mut chunk)) {
            Ok(read) if read > 0 => {
                chunk.truncate(read);
                self.rest.append(&mut chunk);
                take_whole(&mut self.rest)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The end.
            _ => {
                self.pipe = None;
                let rest = std::mem::take(&mut self.rest);
                (!rest.is_empty()).then_some(Piece::Binary(rest))
            }
        }
    }
}

/// Takes all but the beginning of a last character.
fn take_whole(bytes: &mut Vec<u8>) -> Option<Piece> {
    let (whole, is_text) = match std::str::from_utf8(bytes) {
        Ok(_) => (bytes.len(), true),
        Err(error) if error.error_len().is_none() => (error.valid_up_to(), true),
        Err(_) => (bytes.len(), false),
    };
    if whole == 0 {
        return None;
    }
    let rest = bytes.split_off(whole);
    let whole = std::mem::replace(bytes, rest);
    Some(if is_text {
        Piece::Text(String::from_utf8_lossy(&whole).into_owned())
    } else {
        Piece::Binary(whole)
    })
}

/// Standard input that comes bit by bit.
pub(crate) struct Feed {
    pipe: Option<Sender>,
    pending: VecDeque<u8>,
    ends: bool,
}

impl Feed {
    /// Beyond this nothing more is taken from the client.
    pub(crate) const ENOUGH: usize = 256 << 10;

    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < Feed::ENOUGH
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.pipe.is_some() && !self.ends {
            self.pending.extend(bytes);
        }
    }

    /// Nothing more is to come.
    pub(crate) fn end(&mut self) {
        self.ends = true;
        self.close_if_done();
    }

    fn close_if_done(&mut self) {
        if self.ends && self.pending.is_empty() {
            self.pipe = None;
        }
    }

    /// Passes on what is pending; for ever, if nothing is.
    pub(crate) async fn flow(&mut self) {
        let Some(pipe) = self.pipe.as_ref().filter(|_| !self.pending.is_empty()) else {
            return std::future::pending().await;
        };
        let ready = pipe.writable().await;
        let (front, _) = self.pending.as_slices();
        match ready.and_then(|()| pipe.try_write(front)) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Nobody reads any more.
            Err(_) => {
                self.pending.clear();
                self.pipe = None;
            }
        }
        self.close_if_done();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_cut() {
        let mut bytes = "aé".as_bytes()[..2].to_vec();
        assert_eq!(take_whole(&mut bytes), Some(Piece::Text("a".into())));
        bytes.push("é".as_bytes()[1]);
        assert_eq!(take_whole(&mut bytes), Some(Piece::Text("é".into())));
        bytes.extend([0xff, b'x']);
        assert_eq!(take_whole(&mut bytes), Some(Piece::Binary(vec![0xff, b'x'])));
        assert_eq!(take_whole(&mut bytes), None);
    }
}
