//! What bad requests get: a precise status, and a body that names the field.

use crate::client::Request;
use crate::server::Server;
use crate::websocket::{Message, WebSocket};
use serde_json::json;
use std::io::Write;

#[test]
fn every_mistake_is_named() {
    let server = Server::with("[requests]\nfiles = 3\nbody = \"12M\"");
    let nested = format!("{{\"code\":{}", "[".repeat(10 << 20));
    let long_args = format!("{{\"code\":\"\",\"args\":[{}\"\"]}}", "\"\",".repeat(1 << 20));
    let long_env = format!(
        "{{\"code\":\"\",\"env\":{{{}}}}}",
        (0..1025).map(|n| format!("\"{n}\":\"\"")).collect::<Vec<_>>().join(",")
    );
    let nested_args = format!("{{\"args\":{}", "[".repeat(10 << 20));
    for (body, status, field) in [
        ("", 400, ""),
        ("{", 400, ""),
        ("{} x", 400, ""),
        ("\u{feff}{}", 400, ""),
        ("[]", 422, ""),
        ("{}", 422, "code"),
        (r#"{"code":"","command":""}"#, 422, "command"),
        (r#"{"command":"","module":""}"#, 422, "module"),
        (r#"{"command":"\u0000"}"#, 422, "command"),
        (r#"["print(1)"]"#, 422, ""),
        (r#"{"code":"","files":[{"text":""}]}"#, 422, "files[0].path"),
        (r#"{"code":"","files":[["x","y"]]}"#, 422, "files[0]"),
        (r#"{"code":"","limits":[5]}"#, 422, "limits"),
        (r#"{"code":5}"#, 422, "code"),
        (r#"{"code":"","cod":1}"#, 422, "cod"),
        (r#"{"code":"","code":""}"#, 422, "code"),
        (r#"{"code":"\ud800"}"#, 400, ""),
        (nested.as_str(), 422, "code"),
        (nested_args.as_str(), 422, "args[0]"),
        (long_args.as_str(), 422, "args"),
        (long_env.as_str(), 422, "env"),
        (r#"{"code":"","entry":"x.py"}"#, 422, "entry"),
        (r#"{"files":[{"path":"x.py","text":""}],"entry":"y.py"}"#, 422, "entry"),
        (r#"{"code":"","files":[{"path":"main.py","text":""}]}"#, 422, "files"),
        (r#"{"code":"","files":[{"path":"x"}]}"#, 422, "files[0]"),
        (r#"{"code":"","files":[{"path":"x","text":"","base64":""}]}"#, 422, "files[0].base64"),
        (r#"{"code":"","files":[{"path":"x","base64":"%"}]}"#, 422, "files[0].base64"),
        (r#"{"code":"","files":[{"path":"x","text":"","mode":1}]}"#, 422, "files[0].mode"),
        (r#"{"code":"","files":[{"path":"a","text":""},{"path":"../x","text":""}]}"#, 422, "files[1].path"),
        (r#"{"code":"","files":[{"path":"/x","text":""}]}"#, 422, "files[0].path"),
        (r#"{"code":"","files":[{"path":"a/../x","text":""}]}"#, 422, "files[0].path"),
        (r#"{"code":"","files":[{"path":"x\u0000","text":""}]}"#, 422, "files[0].path"),
        (r#"{"code":"","files":[{"path":"","text":""}]}"#, 422, "files[0].path"),
        (
            r#"{"files":[{"path":"1","text":""},{"path":"2","text":""},{"path":"3","text":""},{"path":"4","text":""}]}"#,
            422,
            "files",
        ),
        (r#"{"code":"","files":[{"path":"a","text":""},{"path":"a/b","text":""}]}"#, 422, "files"),
        (r#"{"code":"","args":["\u0000"]}"#, 422, "args[0]"),
        (r#"{"code":"","args":"x"}"#, 422, "args"),
        (r#"{"code":"","env":{"A=B":""}}"#, 422, "env.A=B"),
        (r#"{"code":"","env":{"A":"\u0000"}}"#, 422, "env.A"),
        (r#"{"code":"","stdin_base64":"?"}"#, 422, "stdin_base64"),
        (r#"{"code":"","stdin":"","stdin_base64":""}"#, 422, "stdin_base64"),
        (r#"{"code":"","limits":{"wall":"61s"}}"#, 422, "limits.wall"),
        (r#"{"code":"","limits":{"wall":-1}}"#, 422, "limits.wall"),
        (r#"{"code":"","limits":{"wall":0}}"#, 422, "limits.wall"),
        (r#"{"code":"","limits":{"wall":"soon"}}"#, 422, "limits.wall"),
        (r#"{"code":"","limits":{"memory":"2G"}}"#, 422, "limits.memory"),
        (r#"{"code":"","limits":{"memory":1}}"#, 422, "limits.memory"),
        (r#"{"code":"","limits":{"memory":1048577.5}}"#, 422, "limits.memory"),
        (r#"{"code":"","limits":{"cpu":1,"cpu_time":1}}"#, 422, "limits.cpu"),
        (r#"{"code":"","limits":{"processes":65}}"#, 422, "limits.processes"),
        (r#"{"code":"","limits":{"processes":0}}"#, 422, "limits.processes"),
        (r#"{"code":"","limits":{"disk":"1T"}}"#, 422, "limits.disk"),
        (r#"{"code":"","limits":{"memory":"100M","disk":"200M"}}"#, 422, "limits.disk"),
        (r#"{"code":"","limits":{"cpus":1}}"#, 422, "limits.cpus"),
        (r#"{"code":"","environment":"nowhere"}"#, 422, "environment"),
        (r#"{"code":"","environment":"/etc/passwd"}"#, 422, "environment"),
        (r#"{"code":"","policy":{"network":"loopback"}}"#, 422, "policy"),
        (r#"{"code":"","policy":"./x.toml"}"#, 422, "policy"),
        (r#"{"code":"","policy":"judge"}"#, 422, "policy"),
        (r#"{"code":"","collect":["/etc/*"]}"#, 422, "collect"),
        (r#"{"code":"","collect":["../*"]}"#, 422, "collect"),
    ] {
        let shown: String = body.chars().take(100).collect();
        let answer = server.post("/v1/run", body);
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["field"].as_str().unwrap_or(""), field, "{shown}: {problem}");
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(server.run("print(1)")["verdict"], "ok");
}

#[test]
fn a_mistake_is_told_in_plain_words_and_with_what_helps() {
    let server = Server::plain();
    let told = |body: &str, key: &str| server.post("/v1/run", body).json()[key].clone();
    let nothing = "nothing says what is run: give `code`, or `files`";
    assert_eq!(told("{}", "detail"), nothing);
    let kind = "invalid type: integer `5`, expected a string";
    assert_eq!(told(r#"{"code": 5}"#, "detail"), kind, "without the place in the text");
    let hint = told(r#"{"code": "", "limits": {"wall": "61s"}}"#, "hint");
    assert!(hint.as_str().is_some_and(|hint| hint.contains("`[ceilings]`")), "{hint}");
    let twice = told(r#"{"code": "", "files": [{"path": "main.py", "text": ""}]}"#, "detail");
    assert_eq!(twice, "`code` is the file `main.py`, and another is called so");
    let more = told(r#"{"code": "", "limits": {"memory": "100M", "disk": "200M"}}"#, "detail");
    assert!(
        more.as_str().is_some_and(|text| text.starts_with("200M is more than `limits.memory`")),
        "{more}"
    );
}

#[test]
fn what_does_not_fit_into_a_sandbox_is_refused_before_its_turn() {
    let server = Server::with("[runs]\nat_once = 1\n");
    let deep = format!("{}x", "d/".repeat(65));
    let long = "x".repeat(128 << 10);
    let many: Vec<_> =
        (0..199).map(|at| json!({"path": format!("{at}/{}x", "d/".repeat(60)), "text": ""})).collect();
    for (request, field) in [
        (json!({"code": "", "files": [{"path": deep, "text": ""}]}), "files"),
        (json!({"code": "", "files": many, "limits": {"disk": "600K"}}), ""),
        (json!({"code": "", "files": [{"path": "x", "text": long}], "limits": {"disk": "64K"}}), "files"),
        (json!({"code": "", "args": ["", long]}), "args[1]"),
        (json!({"code": "", "args": vec!["x".repeat(100_000); 11]}), "args[10]"),
        (json!({"code": "", "env": {"A": long}}), "env.A"),
        (json!({"command": long}), "command"),
    ] {
        let answer = server.post("/v1/run", &request.to_string());
        let found = answer.json()["field"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (answer.status, found.as_str()),
            (if field.is_empty() { 200 } else { 422 }, field),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_problem_does_not_repeat_all_that_was_sent() {
    let server = Server::plain();
    let long = "9".repeat(1 << 20);
    for request in [json!({"code": "", long.as_str(): 1}), json!({"code": "", "limits": {"wall": long}})] {
        let answer = server.post("/v1/run", &request.to_string());
        assert_eq!(answer.status, 422);
        assert!(answer.body.len() < 16 << 10, "{}", answer.body.len());
    }
}

#[test]
fn what_a_web_page_could_send_is_refused() {
    let server = Server::with("origins = [\"https://listed.example\"]\nhosts = [\"wardian.example\"]");
    let run = || Request::post("/v1/run", json!({"code": "print(1)"}).to_string());
    for (request, status) in [
        (run(), 200),
        (run().header("content-type", ""), 415),
        (run().header("content-type", "text/plain"), 415),
        (run().header("content-type", "application/x-www-form-urlencoded"), 415),
        (run().header("content-type", "application/json; charset=utf-8"), 200),
        (run().header("host", ""), 400),
        (run().header("host", "evil.example"), 421),
        (run().header("host", "evil.example:8060"), 421),
        (run().header("host", "wardian.example"), 200),
        (run().header("host", "127.0.0.1"), 200),
        (run().header("host", "localhost:1"), 200),
        (run().header("origin", "https://evil.example"), 403),
        (run().header("origin", "null"), 403),
        (run().header("origin", "http://localhost"), 200),
        (run().header("origin", "https://listed.example"), 200),
        (run().header("origin", "https://listed.example.evil.example"), 403),
        (Request::get("/metrics").header("host", "evil.example"), 421),
        (Request::get("/v1/run"), 405),
        (Request::get("/v1/run/ws"), 426),
        (Request::get("/api/v2/connect"), 426),
        (run().header("content-encoding", "identity"), 200),
        (run().header("content-encoding", "gzip"), 415),
        (Request::get("/v1/nothing"), 404),
        (Request::get("/../etc/passwd"), 404),
    ] {
        let shown = String::from_utf8_lossy(&request.bytes()).into_owned();
        let answer = server.send(request);
        assert_eq!(answer.status, status, "{shown}\n{}", answer.text());
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    for path in ["/eval", "/api/v2/execute", "/api/v0/code-exec"] {
        let answer = server.send(Request::post(path, "{}").header("host", "evil.example"));
        assert!(answer.status == 421 && answer.text().contains("in `hosts`"), "{}", answer.text());
    }
    let allowed = server.send(run().header("origin", "https://listed.example"));
    assert_eq!(allowed.header("access-control-allow-origin"), "https://listed.example");
    assert_eq!(server.send(run()).header("access-control-allow-origin"), "");
    let preflight = Request::new("OPTIONS", "/v1/run").header("origin", "https://listed.example");
    let preflight = server.send(preflight.header("access-control-request-method", "POST"));
    assert_eq!(preflight.status, 204);
}

#[test]
fn what_fails_here_is_told_to_the_log_and_not_to_clients() {
    let python = std::path::Path::new("/usr/bin/python3");
    if !python.exists() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP what_fails_here_is_told_to_the_log_and_not_to_clients: no {python:?}"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("gone3");
    std::os::unix::fs::symlink(python, &link).unwrap();
    let server = Server::with(&format!(
        "[[environments]]\nname = \"p\"\npython = \"{}\"\nready = 0\n",
        link.display()
    ));
    std::fs::remove_file(&link).unwrap();
    let piston = json!({"language": "py", "version": "*", "files": [{"content": ""}]});
    let post = |path: &str, body: &str| server.send(Request::post(path, body).header("x-request-id", "r-1"));
    for (answer, status) in [
        (post("/v1/run", &json!({"code": ""}).to_string()), 500),
        (post("/eval", &json!({"input": ""}).to_string()), 500),
        (post("/api/v2/execute", &piston.to_string()), 500),
        (server.send(Request::get("/readyz").header("x-request-id", "r-1")), 503),
    ] {
        let text = answer.text();
        assert_eq!(answer.status, status, "{text}");
        assert!(!text.contains("gone3") && text.contains("log says why (request r-1)"), "{text}");
    }
    let mut socket = WebSocket::open(&server, "/v1/run/ws");
    socket.send(&json!({"code": ""}));
    let (_, last) = socket.gather("started", "type");
    let Message::Text(last) = last else { panic!("{last:?}") };
    let detail = last["problem"]["detail"].as_str().unwrap();
    assert!(detail.contains("log says why (request ") && !detail.contains("gone3"), "{detail}");
    server.wait_for("gone3");
}
