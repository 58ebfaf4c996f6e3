//! How a service begins and ends.

use crate::auth::new_key;
use crate::client::{Answer, Request};
use crate::server::{Server, binary, until, write_config};
use crate::websocket::{Message, WebSocket};
use rustix::process::Signal;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNNING: &str = "wardian_gate{state=\"running\"}";

#[test]
fn start_up_says_what_is_ready() {
    let server = Server::plain();
    let log = server.log();
    assert!(log.contains("environment ready") && log.contains("took_ms="), "{log}");
}

#[test]
fn what_runs_may_end_and_nothing_new_begins() {
    let mut server = Server::plain();
    let mut stream = server.connect();
    let body = json!({"code": "import time\ntime.sleep(1)\nprint('whole')"}).to_string();
    stream.write_all(&Request::post("/v1/run", body).bytes()).unwrap();
    until("the run", || server.level(RUNNING) == 1);
    server.signal(Signal::TERM);
    server.wait_for("ending");
    until("the end of listening", || std::net::TcpStream::connect(server.address).is_err());
    let answer = Answer::read(stream).unwrap();
    assert_eq!((answer.status, &answer.json()["stdout"]["text"]), (200, &json!("whole\n")));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_websocket_gets_its_report_before_the_end() {
    for (seconds, verdict) in [(0.5, "ok"), (50.0, "cancelled")] {
        let mut server = Server::with("[runs]\ndrain_time = \"1s\"\n");
        let mut socket = WebSocket::open(&server, "/v1/run/ws");
        // More than is on its way when nobody reads.
        let code = format!(
            "import time\nopen('large', 'w').write('x' * 8_000_000)\nprint(1)\ntime.sleep({seconds})"
        );
        socket.send(&json!({ "code": code, "collect": ["large"] }));
        assert_eq!(socket.json(), json!({"type": "started"}));
        socket.wait_for("text", "1\n");
        server.signal(Signal::TERM);
        until("the run's end", || server.log().contains("verdict="));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(socket.json()["report"]["verdict"], verdict);
        assert_eq!(socket.next(), Message::Close(1000, String::new()));
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn what_does_not_end_in_time_is_ended() {
    let mut server = Server::with("[runs]\ndrain_time = \"300ms\"\n");
    let mut stream = server.connect();
    let body = json!({"code": "import time\ntime.sleep(50)"}).to_string();
    stream.write_all(&Request::post("/v1/run", body).bytes()).unwrap();
    until("the run", || server.level(RUNNING) == 1);
    server.signal(Signal::TERM);
    assert_eq!(Answer::read(stream).unwrap().status, 503);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_killed_service_takes_its_runs_with_it() {
    let mut server = Server::plain();
    let marker = format!("marker{}", std::process::id());
    let mut stream = server.connect();
    let body = json!({"code": "import time\ntime.sleep(50)", "args": [marker]}).to_string();
    stream.write_all(&Request::post("/v1/run", body).bytes()).unwrap();
    let runs = || {
        let mut entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries.any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&marker)
        })
    };
    until("the program", runs);
    server.kill();
    until("its end", || !runs());
    assert_eq!(Server::plain().run("print(1)")["verdict"], "ok");
}

#[test]
fn who_wants_it_no_more_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lifeline");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let held = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut server = Server::start("", &["--listen", "127.0.0.1:0", "--lifeline", path.to_str().unwrap()]);
    assert_eq!(server.run("print(1)")["verdict"], "ok");
    drop(held);
    assert_eq!(server.wait().code(), Some(0));

    let output = Command::new(binary()).args(["serve", "--lifeline", "/no/such/pipe"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{words}");
    assert!(words.contains("`--lifeline /no/such/pipe`: No such file"), "{words}");
}

#[test]
fn a_unix_socket_is_for_those_who_may_open_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // One that nobody listens at is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (_, entry) = new_key("bot");
    let mut server = Server::start(&format!("listen = []\n{entry}"), &["--unix", path.to_str().unwrap()]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let request = Request::post("/v1/run", json!({"code": "print(1)"}).to_string());
    let answer = request.header("host", "anything").send(UnixStream::connect(&path).unwrap());
    assert_eq!(answer.json()["stdout"]["text"], "1\n", "{}", answer.text());
    let mut second = Command::new(binary());
    write_config(directory.path(), "listen = []");
    second.args(["serve", "--unix"]).arg(&path).arg("--config").arg(directory.path().join("config.toml"));
    let second = second.output().unwrap();
    assert_eq!(second.status.code(), Some(125));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_file_is_no_socket_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept");
    std::fs::write(&path, "mine").unwrap();
    write_config(directory.path(), "listen = []");
    let mut command = Command::new(binary());
    command.args(["serve", "--unix"]).arg(&path).arg("--config").arg(directory.path().join("config.toml"));
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{words}");
    assert!(words.contains("it is there, and no socket"), "{words}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_hang_up_changes_the_mode_of_the_socket_and_says_what_it_cannot_change() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::start("listen = []\n", &["--unix", path.to_str().unwrap()]);
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    write_config(server.directory.path(), "listen = []\nunix_mode = \"0660\"\n");
    server.signal(Signal::HUP);
    server.wait_for("the new configuration is in effect");
    assert_eq!(mode(), 0o660);
    write_config(server.directory.path(), "listen = []\nlog = \"json\"\n");
    server.signal(Signal::HUP);
    server.wait_for("`log`: takes effect at a start only");
    assert_eq!(mode(), 0o660);
}

#[test]
fn sockets_of_the_service_manager_are_used() {
    if !Path::new("/usr/bin/python3").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP sockets_of_the_service_manager_are_used: no /usr/bin/python3 to play the manager"
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), "");
    let manager = "import os, socket, sys\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nos.dup2(s.fileno(), 3)\nos.set_inheritable(3, True)\n\
                   os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\nos.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(["-c", manager])
        .arg(binary())
        .args(["serve", "--config"])
        .arg(directory.path().join("config.toml"));
    let server = Server::spawn(command, directory);
    assert_eq!(server.run("print(1)")["stdout"]["text"], "1\n");
}

#[test]
fn a_wrong_configuration_is_an_error_with_its_place() {
    for (config, words) in [
        ("[runs]\nat_onze = 1", "at_onze"),
        ("policies = [\"nowhere\"]", "nowhere"),
        ("policies = [\"python\", \"python\"]", "hint: give one of them another name"),
        ("listen = [\"here\"]", "here"),
        ("[ceilings]\nmemory = \"512K\"", "`ceilings.memory`: 512K is less than 1M"),
        ("[[environments]]\nname = \"x\"\npython = \"9.9\"", "environment `x`: no Python found"),
        ("[[keys]]\nname = \"k\"\nsha256 = \"00\"", "keys.k.sha256"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), config);
        let mut command = Command::new(binary());
        let output =
            command.args(["serve", "--config"]).arg(directory.path().join("config.toml")).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{config}: {stderr}");
        assert!(stderr.contains(words), "{config}: {stderr}");
    }
}

/// A start with a module that takes its time to be loaded; none where there is no interpreter for it.
fn slow(directory: &Path, seconds: u32) -> Option<String> {
    if !Path::new("/usr/bin/python3").exists() {
        let _ = writeln!(std::io::stderr(), "SKIP a test of slow starts: no /usr/bin/python3");
        return None;
    }
    let path = directory.join("slow.py");
    std::fs::write(&path, format!("import time\ntime.sleep({seconds})\n")).unwrap();
    let path = path.display();
    Some(format!(
        "[[environments]]\nname = \"p\"\npython = \"/usr/bin/python3\"\nready = 1\npreload = [\"{path}\"]\n"
    ))
}

#[test]
fn a_hang_up_while_it_starts_is_heard_when_it_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let Some(config) = slow(directory.path(), 2) else { return };
    write_config(directory.path(), &config);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "(sleep 1; kill -HUP $$) & exec \"$@\"", "sh"]).arg(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(directory.path().join("config.toml"));
    let server = Server::spawn(command, directory);
    server.wait_for("the new configuration is in effect");
    assert_eq!(server.run("print(1)")["verdict"], "ok");
}

#[test]
fn an_end_is_heard_while_a_configuration_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let Some(config) = slow(directory.path(), 50) else { return };
    let mut server = Server::plain();
    write_config(server.directory.path(), &config);
    server.signal(Signal::HUP);
    std::thread::sleep(Duration::from_secs(1));
    let told = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
}
