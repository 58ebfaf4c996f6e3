//! The client's side of a WebSocket (RFC 6455), as far as tests need it.

use crate::client::Answer;
use crate::server::Server;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

pub struct WebSocket(TcpStream);

#[derive(Debug, PartialEq)]
pub enum Message {
    Text(Value),
    Close(u16, String),
    Gone,
}

impl WebSocket {
    pub fn open(server: &Server, path: &str) -> WebSocket {
        let mut stream = server.connect();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
        }
        assert_eq!(Answer::parse(&answer).unwrap().status, 101, "{}", String::from_utf8_lossy(&answer));
        WebSocket(stream)
    }

    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.send_frame(0x82, bytes);
    }

    fn send_frame(&mut self, kind: u8, bytes: &[u8]) {
        let mut frame = vec![kind];
        match bytes.len() {
            len @ 0..126 => frame.push(0x80 | u8::try_from(len).unwrap()),
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(bytes);
        let _ = self.0.write_all(&frame);
    }

    pub fn next(&mut self) -> Message {
        let mut head = [0; 2];
        if self.0.read_exact(&mut head).is_err() {
            return Message::Gone;
        }
        let mut len = u64::from(head[1] & 0x7f);
        if len == 126 {
            let mut bytes = [0; 2];
            self.0.read_exact(&mut bytes).unwrap();
            len = u16::from_be_bytes(bytes).into();
        } else if len == 127 {
            let mut bytes = [0; 8];
            self.0.read_exact(&mut bytes).unwrap();
            len = u64::from_be_bytes(bytes);
        }
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        match head[0] & 0xf {
            1 => Message::Text(serde_json::from_slice(&payload).unwrap()),
            8 if payload.len() >= 2 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                Message::Close(code, String::from_utf8_lossy(&payload[2..]).into_owned())
            }
            8 => Message::Gone,
            _ => self.next(),
        }
    }

    /// The next text.
    pub fn json(&mut self) -> Value {
        match self.next() {
            Message::Text(value) => value,
            other => panic!("{other:?}"),
        }
    }

    /// Texts, until they end so.
    pub fn wait_for(&mut self, key: &str, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text += self.json()[key].as_str().unwrap();
        }
        text
    }

    /// The texts of one stream until the first message of another kind, and that.
    pub fn gather(&mut self, kind: &str, key: &str) -> (String, Message) {
        let mut text = String::new();
        loop {
            match self.next() {
                Message::Text(value) if value["type"] == kind => text += value[key].as_str().unwrap(),
                other => return (text, other),
            }
        }
    }
}
