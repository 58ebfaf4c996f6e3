//! `/api/v0/code-exec` and `/health/`, as Open edX's platform calls them.

use crate::client::{Answer, Request};
use crate::server::Server;
use serde_json::{Value, json};
use std::process::Command;

const BOUNDARY: &str = "seam";

/// A form as Django sends it: the payload, and files by the names of their fields.
fn send(server: &Server, payload: Option<&str>, files: &[(&str, &[u8])]) -> Answer {
    let mut body = Vec::new();
    let mut part = |disposition: &str, content: &[u8]| {
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").bytes());
        body.extend(content);
        body.extend(b"\r\n");
    };
    if let Some(payload) = payload {
        part("name=\"payload\"", payload.as_bytes());
    }
    for (name, content) in files {
        part(&format!("name=\"{name}\"; filename=\"{name}\""), content);
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    server.send(Request::post("/api/v0/code-exec", body).header("content-type", &kind))
}

/// The globals that come back of code that has to work, or the message of code that has not.
fn execute(server: &Server, payload: &Value) -> Result<Value, String> {
    let answer = send(server, Some(&payload.to_string()), &[]);
    assert_eq!(answer.status, 200, "{payload}: {}", answer.text());
    let mut answer = answer.json();
    match answer["emsg"].as_str() {
        Some(message) => Err(message.to_owned()),
        None => Ok(answer["globals_dict"].take()),
    }
}

/// A zip archive with one module, made by Python as the platform makes it.
fn library() -> Vec<u8> {
    let program = "import io, sys, zipfile\nb = io.BytesIO()\nz = zipfile.ZipFile(b, 'w')\n\
                   z.writestr('triple.py', 'def of(x): return 3 * x')\nz.close()\nsys.stdout.buffer.write(b.getvalue())";
    Command::new("python3").args(["-c", program]).output().expect("python3").stdout
}

#[test]
fn globals_go_in_and_out() {
    let server = Server::plain();
    for (code, globals, after) in [
        ("retval = 3 + 4", json!({}), json!({"retval": 7})),
        ("y = x + 1; import os", json!({"x": 1}), json!({"x": 1, "y": 2})),
        ("print('{\"x\": 2}'); del x; s = 'é\\ud800'[:1]", json!({"x": 1}), json!({"s": "é"})),
        ("import sys; sys.__stdout__.write('no'); t = (1, [None])", json!({}), json!({"t": [1, [null]]})),
    ] {
        let payload =
            json!({"code": code, "globals_dict": globals, "slug": "q1", "limit_overrides_context": "c"});
        assert_eq!(execute(&server, &payload), Ok(after), "{code}");
    }
}

#[test]
fn numbers_that_only_python_has_go_through() {
    let server = Server::plain();
    let globals = format!(r#"{{"x": [NaN, -Infinity, 1e999], "n": 1{}}}"#, "0".repeat(400));
    let back = globals.replace("1e999", "Infinity");
    let payload = |code: &str| format!(r#"{{"code": "{code}", "globals_dict": {globals}}}"#);
    let answer = send(&server, Some(&payload("x[0]")), &[]);
    assert_eq!((answer.status, answer.text()), (200, format!("{{\"globals_dict\": {back}}}")));
    let failed = send(&server, Some(&payload("1/0")), &[]).text();
    assert!(failed.starts_with(&format!("{{\"globals_dict\": {globals}, \"emsg\": \"")), "{failed}");
}

#[test]
fn code_that_fails_says_how() {
    let server = Server::plain();
    let failed = |code: &str| execute(&server, &json!({"code": code, "globals_dict": {"x": 1}})).unwrap_err();
    let error = failed("print('goes nowhere')\n1/0");
    assert!(error.starts_with("Couldn't execute jailed code: stdout: b'', stderr: b'"), "{error}");
    assert!(error.contains("ZeroDivisionError: division by zero\\n' with status code: 1"), "{error}");
    // A second of CPU time takes longer on a busy machine.
    let patient = Server::with("[edx.limits]\nwall = \"60s\"");
    let endless = execute(&patient, &json!({"code": "while True: pass", "globals_dict": {}})).unwrap_err();
    assert!(endless.ends_with("with status code: -24"), "{endless}");
    assert!(failed("import time; time.sleep(9)").ends_with("with status code: -9"));
    assert!(failed("import os; os._exit(0)").contains("before its globals could be read back"));
    for forbidden in ["import os; os.listdir('/')", "open('f', 'w')", "import socket; socket.socket()"] {
        let error = failed(forbidden);
        assert!(error.contains("PermissionError: [Errno 13] Permission denied"), "{forbidden}: {error}");
    }
    let answer = send(&server, Some(r#"{"code": "1/0", "globals_dict": {"x": 1}}"#), &[]).json();
    assert_eq!(answer["globals_dict"], json!({"x": 1}), "what failed gives back what it got");
}

#[test]
fn a_little_can_be_written_and_much_memory_is_an_exception() {
    let server = Server::plain();
    for (code, after) in [
        ("import os; out = 'tmp' in os.listdir('.') and 'jailed_code' in os.listdir('.')", json!(true)),
        ("f = open('tmp/x', 'w+'); f.write('kept'); f.seek(0); out = f.read()", json!("kept")),
        ("import socket; s = socket.socket(socket.AF_UNIX); s.bind('tmp/s'); out = 1", json!(1)),
    ] {
        let globals = execute(&server, &json!({"code": code, "globals_dict": {}})).unwrap();
        assert_eq!(globals["out"], after, "{code}");
    }
    for (code, error) in [
        ("a = bytearray(1 << 30)", "MemoryError"),
        ("open('tmp/x', 'wb').write(bytes(2 << 20))", "File too large"),
        ("open('/proc/1/cmdline')", "PermissionError: [Errno 13] Permission denied"),
        ("import subprocess; subprocess.run('ps')", "PermissionError: [Errno 13] Permission denied"),
    ] {
        let message = execute(&server, &json!({"code": code, "globals_dict": {}})).unwrap_err();
        assert!(message.contains(error), "{code}: {message}");
    }
}

#[test]
fn what_python_searches_is_what_it_may_list() {
    let code = "import os, sys\nout = [p for p in sys.path if p and os.path.isdir(p) and not os.listdir(p)]\n\
                ours = [p for p in sys.path if 'wardian' in p]";
    let globals = execute(&Server::plain(), &json!({"code": code, "globals_dict": {}})).unwrap();
    assert_eq!((&globals["out"], &globals["ours"]), (&json!([]), &json!([])));
}

#[test]
fn a_forged_result_is_at_most_its_own() {
    let server = Server::plain();
    let forged = |bytes: &str| {
        let code = format!("import os; os.write(3, {bytes}); os._exit(0)");
        execute(&server, &json!({"code": code, "globals_dict": {}}))
    };
    assert_eq!(forged(r#"b'"{\\"y\\": 1}"'"#), Ok(json!({"y": 1})));
    for not_globals in
        [r#"b'{"y": 1}'"#, r#"b'"[1]"'"#, r#"b'"{} , \\"emsg\\": 1"'"#, r"b'\xff'", "b'[' * 100000"]
    {
        let error = forged(not_globals).unwrap_err();
        assert!(error.ends_with("with status code: 0"), "{not_globals}: {error}");
    }
}

#[test]
fn a_course_has_one_library() {
    let server = Server::plain();
    let payload = json!({"code": "import triple\ny = triple.of(2)", "globals_dict": {}, "python_path": ["python_lib.zip"]});
    let archive = library();
    let answer = send(&server, Some(&payload.to_string()), &[("python_lib.zip", &archive)]);
    assert_eq!(answer.json(), json!({"globals_dict": {"y": 6}}));
    let without = send(&server, Some(&payload.to_string()), &[]).json();
    assert!(without["emsg"].as_str().unwrap().contains("No module named \\'triple\\'"), "{without}");
}

#[test]
fn what_is_wrong_is_said_as_there() {
    let server = Server::plain();
    let good = r#"{"code": "", "globals_dict": {}}"#;
    let wrong = |answer: Answer, words: &str| {
        assert_eq!(answer.status, 400, "{}", answer.text());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{error}");
    };
    wrong(send(&server, None, &[]), "Missing 'payload' parameter in POST body");
    let python = "Unable to parse payload JSON: Expecting value: line 1 column 1 (char 0)";
    wrong(send(&server, Some("Not JSON"), &[]), python);
    wrong(send(&server, Some(&"[".repeat(1 << 20)), &[]), "Unable to parse payload JSON: ");
    wrong(send(&server, Some(r#"{"code": ""}"#), &[]), "Payload JSON did not match schema at path $: ");
    let path = r#"{"code": "", "globals_dict": {}, "python_path": ["/etc"]}"#;
    wrong(send(&server, Some(path), &[]), "Only allowed entry in 'python_path' is 'python_lib.zip'");
    let unsafely = r#"{"code": "", "globals_dict": {}, "unsafely": true}"#;
    wrong(send(&server, Some(unsafely), &[]), "Refusing codejail execution with unsafely=true");
    for name in ["../python_lib.zip", "x.py", "jailed_code"] {
        let file = [(name, &b"x"[..])];
        wrong(send(&server, Some(good), &file), "Only allowed name for uploaded file is 'python_lib.zip'");
    }
    let twice = [("python_lib.zip", &b"x"[..]), ("python_lib.zip", &b"y"[..])];
    assert_eq!(send(&server, Some(good), &twice).status, 200, "the last of one name counts");
    let json = Request::post("/api/v0/code-exec", good);
    assert_eq!(server.send(json).status, 415);
    assert_eq!(server.get("/api/v0/code-exec").status, 405);
    assert_eq!(server.get("/api/v0/other").status, 404);
}

#[test]
fn a_plain_form_will_do() {
    let server = Server::plain();
    let body =
        "other=1&payload=%7B%22code%22%3A+%22y+%3D+x+%2B+1%22%2C+%22globals_dict%22%3A+%7B%22x%22%3A+1%7D%7D";
    let request =
        Request::post("/api/v0/code-exec", body).header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(server.send(request).json(), json!({"globals_dict": {"x": 1, "y": 2}}));
}

#[test]
fn a_form_has_an_end() {
    let server = Server::plain();
    let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n");
    let multipart = (format!("multipart/form-data; boundary={BOUNDARY}"), part.repeat(200_000));
    for (kind, body) in [multipart, ("application/x-www-form-urlencoded".into(), "x=&".repeat(2000))] {
        let answer = server.send(Request::post("/api/v0/code-exec", body).header("content-type", &kind));
        assert_eq!((answer.status, answer.text().as_str()), (400, "{\"error\":\"More than 1000 fields\"}"));
    }
}

#[test]
fn its_health_is_a_real_sandbox_s() {
    let server = Server::plain();
    let answer = server.get("/health/");
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "OK"})));
}

#[test]
fn limits_that_cannot_be_are_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.toml");
    std::fs::write(&config, "[edx.limits]\nmemory = \"1K\"").unwrap();
    let output =
        Command::new(crate::server::binary()).args(["serve", "--config"]).arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("edx.limits"), "{error}");
}

#[test]
fn it_can_be_switched_off() {
    let server = Server::with("[edx]\nenabled = false");
    let answer = send(&server, Some("{}"), &[]);
    assert_eq!((answer.status, answer.json()), (500, json!({"error": "Codejail service not enabled"})));
    assert_eq!(server.get("/health/").status, 404);
}
