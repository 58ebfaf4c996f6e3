//! Sandboxes that are ready ahead of demand.

use crate::client::Request;
use crate::server::{Server, write_config};
use crate::websocket::{Message, WebSocket};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

const PYTHON: &str = "/usr/bin/python3";

/// With sandboxes ready, or a word why not.
fn server(test: &str, more: &str) -> Option<Server> {
    if !Path::new(PYTHON).exists() {
        let _ = writeln!(std::io::stderr(), "SKIP {test}: no {PYTHON}");
        return None;
    }
    let server =
        Server::with(&format!("[[environments]]\nname = \"p\"\npython = \"{PYTHON}\"\nready = 1\n{more}"));
    if server.log().contains("every run starts cold") {
        let _ =
            writeln!(std::io::stderr(), "SKIP {test}: no sandbox can be ready ahead here: {}", server.log());
        return None;
    }
    Some(server)
}

fn starts(server: &Server, interface: &str, start: &str) -> u64 {
    let text = server.get("/metrics").text();
    let start = format!("wardian_runs_total{{interface=\"{interface}\",start=\"{start}\"");
    let counts = text.lines().filter(|line| line.starts_with(&start));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn runs_that_fit_start_warm_and_others_cold() {
    let Some(server) =
        server("runs_that_fit_start_warm_and_others_cold", "preload = [\"json\", \"decimal\"]")
    else {
        return;
    };
    let run = |request: Value| {
        let answer = server.post("/v1/run", &request.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let loaded = json!({"code": "import sys; print('decimal' in sys.modules, sys.argv, open('d').read(), input())",
        "args": ["a"], "files": [{"path": "d", "text": "data"}], "stdin": "in", "env": {"WORD": "w"},
        "limits": {"wall": "9s", "output": "1K"}});
    let report = run(loaded);
    assert_eq!(report["stdout"]["text"], "True ['/box/main.py', 'a'] data in\n");
    assert_eq!(report["limits"]["wall_us"], 9_000_000);
    assert_eq!((starts(&server, "v1", "warm"), starts(&server, "v1", "cold")), (1, 0));
    for request in [
        json!({"code": "pass", "limits": {"memory": "8M", "disk": "1M"}}),
        json!({"code": "pass", "limits": {"processes": 1}}),
        json!({"code": "pass", "env": {"PYTHONHASHSEED": "1"}}),
        json!({"code": "import time; assert time.timezone == 18000", "env": {"TZ": "EST5EDT"}}),
    ] {
        assert_eq!(run(request)["verdict"], "ok");
    }
    assert_eq!((starts(&server, "v1", "warm"), starts(&server, "v1", "cold")), (1, 4));
    let lowered = json!({"code": "x = bytearray(200 << 20)", "limits": {"memory": "64M", "cpu": "5s"}});
    let report = run(lowered);
    assert_eq!(
        (&report["verdict"], &report["limits"]["memory_bytes"]),
        (&json!("memory_limit"), &json!(64 << 20))
    );
    assert_eq!(starts(&server, "v1", "warm"), 2, "memory, and with it disk, are lowered where they are");
    assert_eq!(run(json!({"code": "while True: pass", "limits": {"wall": 0.3}}))["verdict"], "time_limit");
    assert!(
        server
            .get("/metrics")
            .text()
            .contains("wardian_pool{environment=\"p\",policy=\"python\",state=\"ready\"}")
    );
}

#[test]
fn merged_output_keeps_its_order_and_signals_arrive() {
    let test = "merged_output_keeps_its_order_and_signals_arrive";
    let Some(server) = server(test, "policies = [\"snekbox\", \"python\"]") else { return };
    let code =
        "import sys\nfor n in range(50):\n  print(n, file=[sys.stdout, sys.stderr][n % 2], flush=True)";
    let answer = server.post("/eval", &json!({ "input": code }).to_string()).json();
    let expected: String = (0..50).map(|n| format!("{n}\n")).collect();
    assert_eq!(answer["stdout"], expected);
    assert_eq!((starts(&server, "snekbox", "warm"), starts(&server, "snekbox", "cold")), (1, 0));
    let mut socket = WebSocket::open(&server, "/v1/run/ws");
    socket.send(&json!({"code": "import signal\nsignal.signal(signal.SIGINT, lambda *_: exit(9))\nprint('ready')\nwhile True: pass"}));
    assert_eq!(socket.json()["type"], "started");
    socket.wait_for("text", "ready\n");
    socket.send(&json!({"type": "signal", "signal": "SIGINT"}));
    let Message::Text(last) = socket.next() else { panic!("gone") };
    assert_eq!(last["report"]["exit_code"], 9, "{last}");
    assert_eq!(starts(&server, "ws", "warm"), 1);
}

#[test]
fn a_course_s_code_starts_warm() {
    let Some(server) = server("a_course_s_code_starts_warm", "policies = [\"edx\"]") else { return };
    let body = "payload=%7B%22code%22%3A+%22y+%3D+x+%2B+1%22%2C+%22globals_dict%22%3A+%7B%22x%22%3A+1%7D%7D";
    let form = "application/x-www-form-urlencoded";
    for _ in 0..2 {
        let answer = server.send(Request::post("/api/v0/code-exec", body).header("content-type", form));
        assert_eq!(answer.json(), json!({"globals_dict": {"x": 1, "y": 2}}));
    }
    assert_eq!((starts(&server, "edx", "warm"), starts(&server, "edx", "cold")), (2, 0));
}

/// Groups of cgroups are used again, and their files stay open: only as many as there is room for.
#[test]
fn few_descriptors_are_enough_for_eight_at_once() {
    const TEST: &str = "few_descriptors_are_enough_for_eight_at_once";
    if !Path::new(PYTHON).exists() {
        let _ = writeln!(std::io::stderr(), "SKIP {TEST}: no {PYTHON}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let config =
        format!("[runs]\nat_once = 8\n[[environments]]\nname = \"p\"\npython = \"{PYTHON}\"\nready = 8\n");
    write_config(directory.path(), &config);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n 300; exec \"$@\"", "sh"]).arg(crate::server::binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(directory.path().join("config.toml"));
    let server = Server::spawn(command, directory);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..15 {
                    let report = server.run("print(1)");
                    assert_eq!(report["verdict"], "ok", "{report:#}");
                }
            });
        }
    });
}

#[test]
fn a_module_that_cannot_be_imported_is_an_error_at_the_start() {
    let mut command = Command::new(crate::server::binary());
    let output =
        command.args(["serve", "--listen", "127.0.0.1:0", "--preload", "no_such_module"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("error: environment `python`: cannot preload `no_such_module`"), "{stderr}");
    assert!(stderr.contains("hint: ") && stderr.contains("`--python`"), "{stderr}");
}

#[test]
fn a_warm_sandbox_is_asked_whether_it_holds_under_ceilings_too() {
    let test = "a_warm_sandbox_is_asked_whether_it_holds_under_ceilings_too";
    let Some(server) = server(test, "[ceilings]\nwall = \"5s\"\nprocesses = 8") else { return };
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["starts"]), (200, &json!(["warm", "cold"])), "{}", ready.text());
    assert_eq!(server.get("/v1/environments").json()["environments"][0]["starts"], "warm");
}

#[test]
fn an_environment_that_is_warm_for_others_only_says_cold() {
    let test = "an_environment_that_is_warm_for_others_only_says_cold";
    let Some(server) = server(test, "policies = [\"snekbox\"]") else { return };
    assert_eq!(server.get("/v1/environments").json()["environments"][0]["starts"], "cold");
    assert_eq!(server.get("/readyz").json()["starts"], json!(["cold"]));
}
