//! Clients that mean harm, or are merely slow.

use crate::client::{Answer, Request};
use crate::server::{Server, binary, until, write_config};
use crate::websocket::WebSocket;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

const SHORT: &str =
    "[requests]\nbody = \"1M\"\nhead_time = \"1s\"\nbody_time = \"1s\"\nwrite_time = \"2s\"\n";
const RUNNING: &str = "wardian_gate{state=\"running\"}";

fn serves(server: &Server) {
    assert_eq!(server.run("print(1)")["stdout"]["text"], "1\n");
}

fn sleeping(seconds: u32) -> String {
    json!({ "code": format!("import time\ntime.sleep({seconds})") }).to_string()
}

#[test]
fn too_large_a_body_is_refused_announced_or_not() {
    let server = Server::with(SHORT);
    let announced = Request::post("/v1/run", vec![]).header("content-length", "1048577");
    assert_eq!(server.send(announced).status, 413);
    let mut body = Vec::new();
    for _ in 0..40 {
        body.extend(format!("{:x}\r\n", 32 << 10).bytes());
        body.extend([b' '; 32 << 10]);
        body.extend(b"\r\n");
    }
    let chunked = Request::post("/v1/run", body).header("transfer-encoding", "chunked");
    assert_eq!(server.send(chunked).status, 413);
    serves(&server);
}

#[test]
fn a_slow_client_is_sent_away() {
    let server = Server::with(SHORT);
    let started = Instant::now();
    let mut stream = server.connect();
    let request = Request::post("/v1/run", b"{\"code\":".to_vec()).header("content-length", "500");
    stream.write_all(&request.bytes()).unwrap();
    assert_eq!(Answer::read(&mut stream).unwrap().status, 408);
    let mut stream = server.connect();
    stream.write_all(b"POST /v1/run HTTP/1.1\r\nhost: localh").unwrap();
    // Nothing, or an answer: but an end.
    let _ = stream.read_to_end(&mut Vec::new());
    let mut silent = server.connect();
    let _ = silent.read_to_end(&mut Vec::new());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    serves(&server);
}

#[test]
fn what_is_no_http_gets_a_clean_end() {
    let server = Server::with(SHORT);
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"POST /v1/run HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n".to_vec(),
        b"POST /v1/run HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n{}"
            .to_vec(),
        [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 1 << 20]].concat(),
        [b"GET /".to_vec(), vec![b'a'; 1 << 20], b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        if let Some(answer) = Answer::read(&mut stream) {
            assert!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    serves(&server);
}

#[test]
fn who_leaves_ends_the_run() {
    let server = Server::with("[runs]\nat_once = 1\n");
    for half in [false, true] {
        let mut stream = server.connect();
        stream.write_all(&Request::post("/v1/run", sleeping(50)).bytes()).unwrap();
        until("the run", || server.level(RUNNING) == 1);
        let _kept = if half {
            stream.shutdown(Shutdown::Write).unwrap();
            Some(stream)
        } else {
            drop(stream);
            None
        };
        until("the run's end", || server.level(RUNNING) == 0);
    }
    // They are told all the same.
    let cancelled = "wardian_runs_total{interface=\"v1\",start=\"cold\",verdict=\"cancelled\"}";
    until("both in the figures", || server.level(cancelled) == 2);
    until("both in the log", || server.log().matches("verdict=\"cancelled\"").count() == 2);
    serves(&server);
}

#[test]
fn streams_that_wait_for_their_turn_hold_no_pipes() {
    let server = Server::with("[runs]\nat_once = 1\n");
    let body = json!({ "code": "import time\nprint('begun')\ntime.sleep(50)" }).to_string();
    let begin = || {
        let mut stream = server.connect();
        stream.write_all(&Request::post("/v1/run/stream", body.as_str()).bytes()).unwrap();
        stream
    };
    let mut running = begin();
    // What a run opens, it has open by then.
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("begun") {
        let mut byte = [0];
        running.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    let before = server.descriptors();
    let queued: Vec<TcpStream> = (0..20).map(|_| begin()).collect();
    until("the queue", || server.level("wardian_gate{state=\"waiting\"}") == 20);
    let after = server.descriptors();
    assert!(after < before + 40, "{before}, and {after} with 20 connections more");
    drop((queued, running));
}

#[test]
fn a_full_queue_says_so_and_who_leaves_it_makes_room() {
    let server = Server::with("[runs]\nat_once = 1\nqueue = 1\n");
    let begin = || {
        let mut stream = server.connect();
        stream.write_all(&Request::post("/v1/run", sleeping(20)).bytes()).unwrap();
        stream
    };
    let waiting = "wardian_gate{state=\"waiting\"}";
    let running = begin();
    until("the run", || server.level(RUNNING) == 1);
    let queued = begin();
    until("the queue", || server.level(waiting) == 1);
    let refused = server.post("/v1/run", &sleeping(0));
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    drop(queued);
    until("the queue's end", || server.level(waiting) == 0);
    drop(running);
    serves(&server);
}

#[test]
fn a_client_that_reads_slower_than_a_program_writes_slows_it_down() {
    let server = Server::with("[requests]\nwrite_time = \"60s\"\n");
    let flood = "import sys\nfor _ in range(1000): sys.stdout.write('x' * 100_000)";
    let body = json!({ "code": flood, "limits": {"output": "16M", "wall": "2s"} }).to_string();
    let mut stream = server.connect();
    stream.write_all(&Request::post("/v1/run/stream", body).bytes()).unwrap();
    let mut some = vec![0; 1 << 16];
    stream.read_exact(&mut some).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(server.memory() < 200 << 20, "{}", server.memory());
    assert!(server.level("wardian_memory_bytes") > 0, "events that wait count");
    serves(&server);
    drop(stream);
    until("the run's end", || server.level(RUNNING) == 0);
    until("the events' end", || server.level("wardian_memory_bytes") == 0);
}

#[test]
fn answers_that_are_not_read_count_until_they_are() {
    let server = Server::with("[requests]\nmemory = \"40M\"\n");
    const MEMORY: &str = "wardian_memory_bytes";
    const LARGE: i64 = 15_000_000;
    let output = "print('x' * 15_000_000)";
    let files = "open('a', 'w').write('x' * 15_000_000)";
    let write = |path: &str, body: String| {
        let mut stream = server.connect();
        stream.write_all(&Request::post(path, body).bytes()).unwrap();
        stream
    };
    let plain = json!({ "code": output }).to_string();
    let collected = json!({ "code": files, "collect": ["a"] }).to_string();
    for (path, body) in [("/v1/run", plain.clone()), ("/v1/run/stream", collected)] {
        let unread = write(path, body);
        until("the answer", || server.level(MEMORY) > LARGE);
        std::thread::sleep(Duration::from_millis(300));
        assert!(server.level(MEMORY) > LARGE, "{path}");
        drop(unread);
        until("its end", || server.level(MEMORY) == 0);
    }
    let unread: Vec<TcpStream> = (0..2).map(|_| write("/v1/run", plain.clone())).collect();
    until("both answers", || server.level(MEMORY) > 2 * LARGE);
    assert_eq!(server.post("/v1/run", &plain).status, 503);
    drop(unread);
    until("their end", || server.level(MEMORY) == 0);
    let whole = server.post("/v1/run", &plain).json();
    assert_eq!(whole["stdout"]["text"].as_str().unwrap().len(), 15_000_001);
}

#[test]
fn many_connections_cost_little_and_the_idle_ones_make_room() {
    let server = Server::with("[requests]\nconnections = 200\n");
    let before = server.memory();
    let mut kept = server.connect();
    let mut asks = || {
        kept.write_all(&Request::get("/healthz").header("connection", "").bytes()).unwrap();
        assert!(kept.read(&mut [0; 4096]).unwrap() > 0, "who asks now and then is the longest idle one");
    };
    let connect = |at: usize| {
        if at.is_multiple_of(50) {
            asks();
        }
        server.connect()
    };
    let begun = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(15 << 10));
    let streams: Vec<TcpStream> =
        (0..600).map(connect).inspect(|mut stream| stream.write_all(begun.as_bytes()).unwrap()).collect();
    serves(&server);
    assert!(server.memory() < before + (10 << 20), "{} {}", before, server.memory());
    let mut first = &streams[0];
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0, "the oldest is still served");
    serves(&server);
}

#[test]
fn connections_that_are_served_make_no_room() {
    let server = Server::with("[requests]\nconnections = 2\n[runs]\nat_once = 2\n");
    let begin = || {
        let mut stream = server.connect();
        stream.write_all(&Request::post("/v1/run", sleeping(3)).bytes()).unwrap();
        stream
    };
    let served = [begin(), begin()];
    std::thread::sleep(Duration::from_millis(500));
    let refused = Answer::read(server.connect()).unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    // Nor is the answer lost on who sends a body first.
    let mut sending = server.connect();
    sending.write_all(&Request::post("/v1/run", vec![b' '; 60 << 10]).bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(Answer::read(sending).unwrap().status, 503);
    for stream in served {
        assert_eq!(Answer::read(stream).unwrap().status, 200);
    }
    serves(&server);
}

#[test]
fn connections_leave_descriptors_to_runs() {
    let start = |config: &str| {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), config);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ulimit -n 512; exec \"$@\"", "sh"]).arg(binary());
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--config").arg(directory.path().join("config.toml"));
        Server::spawn(command, directory)
    };
    let idle = start("");
    let _streams: Vec<TcpStream> = (0..600).map(|_| idle.connect()).collect();
    serves(&idle);
    assert!(idle.descriptors() < 350, "{}", idle.descriptors());
    assert!(idle.log().contains("fewer connections"), "{}", idle.log());
    let served = start("[requests]\nconnections = 50\n");
    let begin = || {
        let mut stream = served.connect();
        let head = Request::post("/v1/run", "{").header("content-length", "100");
        stream.write_all(&head.bytes()).unwrap();
        stream
    };
    let _served: Vec<TcpStream> = (0..50).map(|_| begin()).collect();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(Answer::read(served.connect()).unwrap().status, 503);
    let mut most = 0;
    let _refused: Vec<TcpStream> = (0..600)
        .map(|_| {
            most = most.max(served.descriptors());
            served.connect()
        })
        .collect();
    assert!(most < 200, "{most}");
}

#[test]
fn websockets_are_connections() {
    let server = Server::with("[requests]\nconnections = 2\n[runs]\nat_once = 2\n");
    let mut sockets = [(); 2].map(|()| WebSocket::open(&server, "/v1/run/ws"));
    for socket in &mut sockets {
        socket.send(&json!({"code": "input()"}));
        assert_eq!(socket.json(), json!({"type": "started"}));
    }
    assert_eq!(Answer::read(server.connect()).unwrap().status, 503);
    for socket in &mut sockets {
        socket.send(&json!({"type": "stdin", "text": "\n"}));
        assert_eq!(socket.json()["report"]["verdict"], "ok");
    }
    drop(sockets);
    serves(&server);
}

#[test]
fn websockets_that_say_nothing_leave_memory_to_others() {
    let server = Server::with("[requests]\nbody = \"1M\"\nmemory = \"4M\"\nhead_time = \"20s\"\n");
    let silent: Vec<_> = (0..40).map(|_| WebSocket::open(&server, "/v1/run/ws")).collect();
    serves(&server);
    let mut spoken = WebSocket::open(&server, "/v1/run/ws");
    spoken.send(&json!({"code": format!("print(input()) # {}", "x".repeat(100 << 10))}));
    assert_eq!(spoken.json(), json!({"type": "started"}));
    let silent_ones = 40 * (16 << 10);
    let held = server.level("wardian_memory_bytes");
    assert!(
        held >= silent_ones + (400 << 10) && held < silent_ones + (1 << 20),
        "as much as was said: {held}"
    );
    let mut others: Vec<_> = (0..3).map(|_| WebSocket::open(&server, "/v1/run/ws")).collect();
    for other in &mut others {
        other.send(&json!({"code": "x".repeat(1000 << 10)}));
    }
    let refused = others.iter_mut().map(|other| other.json()).find(|answer| answer["type"] == "problem");
    assert_eq!(refused.unwrap()["problem"]["status"], 503);
    drop((silent, spoken, others));
    until("the memory", || server.level("wardian_memory_bytes") == 0);
}

#[test]
fn bodies_of_all_clients_together_are_bounded() {
    let server = Server::with("[requests]\nbody = \"4M\"\nmemory = \"8M\"\nbody_time = \"5s\"\n");
    let begin = |_| {
        let mut stream = server.connect();
        let head = Request::post("/v1/run", vec![b' '; 3 << 20]).header("content-length", "4000000");
        let _ = stream.write_all(&head.bytes());
        stream
    };
    let streams: Vec<TcpStream> = (0..6).map(begin).collect();
    let statuses: Vec<u16> =
        streams.into_iter().filter_map(|stream| Answer::read(stream).map(|answer| answer.status)).collect();
    assert!(statuses.contains(&503) && statuses.contains(&408), "{statuses:?}");
    serves(&server);
    assert_eq!(server.level("wardian_memory_bytes"), 0);
}

#[test]
fn a_body_of_small_values_takes_no_more_memory_than_it_was_given() {
    let server = Server::plain();
    serves(&server);
    let before = server.memory_peak();
    let small = format!("[{}{{}}]", "{\"\":[]},".repeat(700_000));
    for (path, known, status) in [
        ("/eval", "\"args\":[\"-c\",\"\"]", 200),
        ("/eval", "\"args\":[], \"files\":5", 400),
        ("/api/v2/execute", "\"language\":\"py\",\"version\":\"*\",\"files\":[{\"content\":\"\"}]", 200),
        ("/api/v2/packages", "\"language\":\"py\",\"version\":\"*\"", 403),
        ("/v1/run", "\"code\":\"\"", 422),
    ] {
        let answer = server.post(path, &format!("{{\"x\":{small},{known}}}"));
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    for (key, item) in [("args", "\"\","), ("collect", "\"\","), ("files", "{\"path\":\"\"},")] {
        let many = item.repeat((6 << 20) / item.len());
        let answer = server.post("/v1/run", &format!("{{\"{key}\":[{}]}}", many.trim_end_matches(',')));
        assert_eq!((answer.status, &answer.json()["field"]), (422, &json!(key)), "{}", answer.text());
    }
    let version = format!("\"language\":\"py\",\"version\":\"{}\"", ">".repeat(small.len()));
    let answer = server.post("/api/v2/execute", &format!("{{{version},\"files\":[{{\"content\":\"\"}}]}}"));
    assert_eq!(answer.status, 400);
    let bodies = 4 * small.len() as u64;
    assert!(server.memory_peak() < before + bodies + (40 << 20), "{before} {}", server.memory_peak());
}
