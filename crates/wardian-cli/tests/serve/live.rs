//! Output as it comes, input as it is typed.

use crate::client::{Answer, Request};
use crate::server::{Server, until};
use crate::websocket::{Message, WebSocket};
use serde_json::{Value, json};
use std::io::{Read, Write};

/// The events of a stream.
fn events(answer: &Answer) -> Vec<(String, Value)> {
    let text = answer.text();
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty() && !block.starts_with(':'));
    let line = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    blocks
        .map(|block| (line(block, "event:"), serde_json::from_str(&line(block, "data:")).unwrap()))
        .collect()
}

#[test]
fn a_stream_tells_output_and_then_the_report() {
    let server = Server::plain();
    let code = "import sys, time\nprint('é')\ntime.sleep(0.2)\nprint('b', file=sys.stderr)\ntime.sleep(0.2)\n\
                sys.stdout.buffer.write(b'\\xff'); sys.exit(4)";
    let answer = server.post("/v1/run/stream", &json!({"code": code, "stdin": ""}).to_string());
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    let events = events(&answer);
    // What is written at once may come in parts.
    let mut output: Vec<(&str, String)> = Vec::new();
    for (name, data) in &events[..events.len() - 1] {
        let text = data["text"].as_str().or(data["base64"].as_str()).unwrap();
        match output.last_mut() {
            Some((last, whole)) if last == name && data["text"].is_string() => whole.push_str(text),
            _ => output.push((name, text.to_owned())),
        }
    }
    let expected = [("stdout", "é\n"), ("stderr", "b\n"), ("stdout", "/w==")];
    assert_eq!(output, expected.map(|(name, text)| (name, text.to_owned())));
    let (name, report) = &events[events.len() - 1];
    assert_eq!((name.as_str(), &report["exit_code"]), ("report", &json!(4)));
    assert_eq!(server.post("/v1/run/stream", "{").status, 400);
}

#[test]
fn a_stream_comes_while_the_program_runs_and_ends_with_its_client() {
    let server = Server::plain();
    let body = json!({"code": "import time\nprint('now')\ntime.sleep(50)"}).to_string();
    let mut stream = server.connect();
    stream.write_all(&Request::post("/v1/run/stream", body).bytes()).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("now") {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0);
        seen.extend(&chunk[..read]);
    }
    drop(stream);
    until("the run's end", || server.level("wardian_gate{state=\"running\"}") == 0);
}

#[test]
fn input_is_typed_and_signals_arrive() {
    let server = Server::plain();
    let mut socket = WebSocket::open(&server, "/v1/run/ws");
    let code = "import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: print('signal'))\n\
                name = input('name? ')\nprint('hello', name)\nprint(sys.stdin.read())\nsignal.pause()\nsys.exit(5)";
    socket.send(&json!({ "code": code }));
    assert_eq!(socket.json(), json!({"type": "started"}));
    let prompt = socket.json();
    assert_eq!((&prompt["type"], &prompt["text"]), (&json!("stdout"), &json!("name? ")));
    socket.send(&json!({"type": "stdin", "text": "Eve\n"}));
    socket.send(&json!({"type": "stdin", "base64": "bW9yZQ=="}));
    socket.send(&json!({"type": "eof"}));
    assert_eq!(socket.wait_for("text", "more\n"), "hello Eve\nmore\n");
    // The program may not be waiting yet.
    std::thread::sleep(std::time::Duration::from_millis(300));
    socket.send(&json!({"type": "signal", "signal": "SIGUSR1"}));
    let (text, last) = socket.gather("stdout", "text");
    assert_eq!(text, "signal\n");
    let Message::Text(last) = last else { panic!("{last:?}") };
    assert_eq!((&last["type"], &last["report"]["exit_code"]), (&json!("report"), &json!(5)));
    assert_eq!(socket.next(), Message::Close(1000, String::new()));
}

#[test]
fn what_is_said_while_a_program_waits_for_its_turn_is_heard() {
    let server = Server::with("[runs]\nat_once = 1\n");
    let mut first = WebSocket::open(&server, "/v1/run/ws");
    first.send(&json!({"code": "input()"}));
    assert_eq!(first.json(), json!({"type": "started"}));
    let mut second = WebSocket::open(&server, "/v1/run/ws");
    second.send(&json!({"code": "import sys; print(sys.stdin.read())"}));
    second.send(&json!({"type": "stdin", "text": "early"}));
    second.send(&json!({"type": "eof"}));
    until("the queue", || server.level("wardian_gate{state=\"waiting\"}") == 1);
    first.send(&json!({"type": "eof"}));
    assert_eq!(second.json(), json!({"type": "started"}));
    assert_eq!(second.gather("stdout", "text").0, "early\n");
}

#[test]
fn messages_that_cannot_be_read_are_told() {
    let server = Server::with("[requests]\nmessage = \"64K\"\n");
    for begun in [false, true] {
        for large in [false, true] {
            let mut socket = WebSocket::open(&server, "/v1/run/ws");
            if begun {
                socket.send(&json!({"code": "input()"}));
                assert_eq!(socket.json(), json!({"type": "started"}));
            }
            if large {
                socket.send_text(&" ".repeat(70 << 10));
            } else {
                socket.send_binary(b"\xff");
            }
            assert_eq!(socket.json()["problem"]["status"], 400);
            assert_eq!(socket.next(), Message::Close(1008, String::new()));
        }
    }
}

#[test]
fn the_log_has_the_name_of_a_request_whose_run_is_watched() {
    let server = Server::plain();
    let request = Request::post("/v1/run/stream", json!({"code": ""}).to_string());
    assert_eq!(server.send(request.header("x-request-id", "watched")).status, 200);
    until("the run's line", || {
        server.log().lines().any(|line| line.contains("id=\"watched\"") && line.contains("run run="))
    });
}

#[test]
fn a_signal_from_outside_ends_a_program_as_one_from_inside() {
    let server = Server::plain();
    let mut socket = WebSocket::open(&server, "/v1/run/ws");
    socket.send(&json!({"code": "import time\nprint('ready')\ntime.sleep(50)"}));
    assert_eq!(socket.json(), json!({"type": "started"}));
    socket.wait_for("text", "ready\n");
    socket.send(&json!({"type": "signal", "signal": "SIGTERM"}));
    let last = socket.json();
    assert_eq!(last["report"]["verdict"], "signaled", "{last}");
    assert_eq!(last["report"]["signal"]["name"], "SIGTERM");
}

#[test]
fn what_is_said_wrong_is_named_and_ends_the_conversation() {
    let server = Server::with("[requests]\nhead_time = \"1s\"\n");
    for (messages, field) in [
        (vec!["{\"cod\":1}"], "cod"),
        (
            vec!["{\"code\":\"import time; time.sleep(9)\"}", "{\"type\":\"signal\",\"signal\":\"SIGNO\"}"],
            "signal",
        ),
        (
            vec!["{\"code\":\"import time; time.sleep(9)\"}", "{\"type\":\"stdin\",\"base64\":\"%\"}"],
            "base64",
        ),
        (vec!["{\"code\":\"import time; time.sleep(9)\"}", "{\"type\":\"resize\"}"], ""),
        (vec![], ""),
    ] {
        let mut socket = WebSocket::open(&server, "/v1/run/ws");
        messages.iter().for_each(|message| socket.send_text(message));
        let mut problem = socket.json();
        if problem["type"] == "started" {
            problem = socket.json();
        }
        assert_eq!(problem["type"], "problem", "{problem}");
        let said = problem["problem"]["field"].as_str().unwrap_or_default();
        assert!(said.starts_with(field), "{messages:?}: {problem}");
        assert_eq!(socket.next(), Message::Close(1008, String::new()));
    }
    let mut socket = WebSocket::open(&server, "/v1/run/ws");
    socket.send_text(&" ".repeat(2 << 20));
    assert_eq!(socket.json()["type"], "problem", "a message above the limit");
    until("the runs' end", || server.level("wardian_gate{state=\"running\"}") == 0);
    until("the memory", || server.level("wardian_memory_bytes") == 0);
}
