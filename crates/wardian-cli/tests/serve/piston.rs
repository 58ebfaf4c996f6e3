//! Piston's version 2.

use crate::client::Request;
use crate::server::{Server, until};
use crate::websocket::{Message, WebSocket};
use serde_json::{Value, json};

fn request(code: &str) -> Value {
    json!({"language": "python", "version": "3.x", "files": [{"name": "main.py", "content": code}]})
}

fn execute(server: &Server, body: &Value) -> Value {
    let answer = server.post("/api/v2/execute", &body.to_string());
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()
}

#[test]
fn runtimes_are_listed_under_both_prefixes() {
    let server = Server::plain();
    for path in ["/api/v2/runtimes", "/api/v2/piston/runtimes"] {
        let runtimes = server.get(path).json();
        assert_eq!(runtimes[0]["language"], "python");
        assert!(runtimes[0]["version"].as_str().unwrap().starts_with("3."));
        assert!(runtimes[0]["aliases"].as_array().unwrap().contains(&json!("py")));
    }
    assert_eq!(server.get("/api/v2/packages").json()[0]["installed"], true);
}

#[test]
fn a_program_is_executed() {
    let server = Server::plain();
    let mut body = request(
        "import sys\nfrom lib import x\nprint(x, input(), sys.argv[1:])\nprint('e', file=sys.stderr)",
    );
    body["files"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "lib.py", "content": "783d31", "encoding": "hex"}));
    body["stdin"] = "in".into();
    body["args"] = json!(["1", "2"]);
    let answer = execute(&server, &body);
    assert_eq!(answer["language"], "python");
    let run = &answer["run"];
    assert_eq!((&run["stdout"], &run["stderr"]), (&json!("1 in ['1', '2']\n"), &json!("e\n")));
    assert_eq!(run["output"].as_str().unwrap().len(), "1 in ['1', '2']\ne\n".len());
    assert_eq!((&run["code"], &run["signal"], &run["status"]), (&json!(0), &Value::Null, &Value::Null));
    assert!(run["memory"].as_u64().unwrap() > 0 && run["wall_time"].is_u64() && run["cpu_time"].is_u64());
    let public = server.post("/api/v2/piston/execute", &request("print(1)").to_string()).json();
    assert_eq!(public["run"]["stdout"], "1\n");
}

#[test]
fn every_name_that_is_listed_will_do_and_input_ends_with_a_line() {
    let server = Server::plain();
    let aliases = server.get("/api/v2/runtimes").json()[0]["aliases"].clone();
    for alias in aliases.as_array().unwrap() {
        let mut body = request("print(repr(input()))");
        body["language"] = alias.clone();
        assert_eq!(execute(&server, &body)["run"]["stdout"], "''\n", "{alias}");
    }
    let mut body = request("import sys; print(sys.argv[0], open('b').read())");
    body["files"].as_array_mut().unwrap().extend([
        json!({"name": "/b", "content": "eA", "encoding": "base64"}),
        json!({"name": "./a/../main.py", "content": "print('the last')"}),
    ]);
    let limits =
        json!({"run_timeout": 2500.5, "run_memory_limit": -1, "compile_memory_limit": -1, "run_cpu_time": 0});
    body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    assert_eq!(execute(&server, &body)["run"]["stdout"], "the last\n");
}

#[test]
fn packages_are_not_changed() {
    let server = Server::plain();
    for (version, status) in [("*", 403), ("1.x", 404)] {
        for method in ["POST", "DELETE"] {
            let body = json!({"language": "python", "version": version}).to_string();
            let length = body.len().to_string();
            let request = Request { method: method.into(), ..Request::post("/api/v2/packages", body) };
            assert_eq!(
                server.send(request.header("content-length", &length)).status,
                status,
                "{method} {version}"
            );
        }
    }
}

#[test]
fn ends_are_told_in_its_words() {
    let server = Server::plain();
    for (code, limit, status, signal) in [
        ("exit(3)", json!({}), "RE", Value::Null),
        ("import os; os.abort()", json!({}), "SG", json!("SIGABRT")),
        ("while True: pass", json!({"run_timeout": 500}), "TO", json!("SIGKILL")),
        ("print('x' * 100_000)", json!({}), "OL", json!("SIGKILL")),
        ("import sys; print('x' * 100_000, file=sys.stderr)", json!({}), "EL", json!("SIGKILL")),
        ("x = b'x' * (1 << 28)", json!({"run_memory_limit": 67_108_864}), "SG", json!("SIGKILL")),
    ] {
        let mut body = request(code);
        body.as_object_mut().unwrap().extend(limit.as_object().unwrap().clone());
        let run = &execute(&server, &body)["run"];
        assert_eq!((&run["status"], &run["signal"]), (&json!(status), &signal), "{code}: {run}");
        assert!(run["message"].is_string());
    }
}

#[test]
fn mistakes_are_told_in_its_words() {
    let server = Server::plain();
    let with = |key: &str, value: Value| {
        let mut body = request("");
        body[key] = value;
        body
    };
    for (body, message) in [
        (with("language", json!(5)), "language is required as a string"),
        (with("version", Value::Null), "version is required as a string"),
        (with("files", json!({})), "files is required as an array"),
        (with("files", json!([{"name": "x"}])), "files[0].content is required as a string"),
        (
            with("files", json!([{"content": "aa", "encoding": "hex"}])),
            "files must include at least one utf8 encoded file",
        ),
        (with("language", json!("cobol")), "cobol-3.x runtime is unknown"),
        (with("version", json!("2.x")), "python-2.x runtime is unknown"),
        (with("run_timeout", json!("1")), "If specified, run_timeout must be a number"),
        (with("run_timeout", json!(3001)), "run_timeout cannot exceed the configured limit of 3000"),
        (with("run_timeout", json!(-1)), "run_timeout must be non-negative"),
        (
            with("compile_timeout", json!(10_001)),
            "compile_timeout cannot exceed the configured limit of 10000",
        ),
    ] {
        let answer = server.post("/api/v2/execute", &body.to_string());
        assert_eq!((answer.status, answer.json()), (400, json!({"message": message})), "{body}");
    }
    let text = Request::post("/api/v2/execute", "{}").header("content-type", "text/plain");
    let answer = server.send(text);
    assert_eq!(
        (answer.status, answer.json()),
        (415, json!({"message": "requests must be of type application/json"}))
    );
    assert_eq!(server.post("/api/v2/execute", "{").status, 400);
}

#[test]
fn a_conversation_goes_as_there() {
    let server = Server::plain();
    let mut init = request("print('hi', input(), flush=True)\nimport time; time.sleep(50)");
    init["type"] = "init".into();
    let mut socket = WebSocket::open(&server, "/api/v2/connect");
    socket.send(&init);
    assert_eq!(socket.json()["type"], "runtime");
    assert_eq!(socket.json(), json!({"type": "stage", "stage": "run"}));
    socket.send(&json!({"type": "data", "stream": "stdin", "data": "you\n"}));
    assert_eq!(socket.wait_for("data", "\n"), "hi you\n");
    socket.send(&json!({"type": "signal", "signal": "SIGINT"}));
    let (_, last) = socket.gather("data", "data");
    let Message::Text(last) = last else { panic!("{last:?}") };
    assert_eq!((&last["type"], &last["stage"]), (&json!("exit"), &json!("run")));
    assert_eq!(socket.next(), Message::Close(4999, "Job Completed".into()));
}

#[test]
fn a_conversation_ends_with_its_numbers() {
    let server = Server::plain();
    let mut init = request("import time; time.sleep(2)");
    init["type"] = "init".into();
    let mut bad = init.clone();
    bad["version"] = "1".into();
    for (messages, code) in [
        (vec![], 4001),
        (vec![json!({"type": "other"})], 4001),
        (vec![json!({"type": "other"}), json!({"type": "data", "stream": "stdin", "data": ""})], 4003),
        (vec![bad], 4002),
        (vec![init.clone(), init.clone()], 4000),
        (vec![init.clone(), json!({"type": "data", "stream": "stdout", "data": ""})], 4004),
        (vec![init, json!({"type": "signal", "signal": "SIGNO"})], 4005),
    ] {
        let mut socket = WebSocket::open(&server, "/api/v2/piston/connect");
        messages.iter().for_each(|message| socket.send(message));
        let end = loop {
            match socket.next() {
                Message::Text(_) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Message::Close(number, _) if number == code), "{messages:?}: {end:?}");
    }
}

#[test]
fn arguments_that_no_program_can_be_started_with_are_refused() {
    let server = Server::plain();
    for (args, field) in [
        (json!(["x", "x".repeat(200 << 10)]), "args[1]"),
        (json!(vec!["x".repeat(100 << 10); 20]), "args[10]"),
    ] {
        let mut body = request("");
        body["args"] = args;
        let answer = server.post("/api/v2/execute", &body.to_string());
        assert_eq!(answer.status, 400);
        assert!(answer.json()["message"].as_str().unwrap().starts_with(field), "{}", answer.text());
    }
}

#[test]
fn what_is_said_while_a_program_waits_is_heard_and_who_leaves_gives_up_the_turn() {
    let server = Server::with("[runs]\nat_once = 1\nqueue_time = \"10m\"\n");
    let waiting = |count| until("the queue", || server.level("wardian_gate{state=\"waiting\"}") == count);
    let open = || {
        let mut socket = WebSocket::open(&server, "/api/v2/connect");
        let mut init = request("print(input(), end='')");
        init["type"] = "init".into();
        socket.send(&init);
        socket
    };
    let mut first = open();
    assert_eq!(first.json()["type"], "runtime");
    let left = open();
    waiting(1);
    drop(left);
    waiting(0);
    let mut second = open();
    waiting(1);
    second.send(&json!({"type": "data", "stream": "stdin", "data": "early\n"}));
    first.send(&json!({"type": "data", "stream": "stdin", "data": "\n"}));
    assert_eq!(second.json()["type"], "runtime");
    assert_eq!(second.json()["type"], "stage");
    assert_eq!(second.json(), json!({"type": "data", "stream": "stdout", "data": "early"}));
}
