//! Keys: who gets in, how often, how much.

use crate::client::Request;
use crate::server::{Server, binary, write_config};
use base64::Engine;
use rustix::process::Signal;
use serde_json::json;
use std::io::{Read, Write};
use std::process::Command;

/// A key and its entry.
pub fn new_key(name: &str) -> (String, String) {
    let output = Command::new(binary()).args(["serve", "--new-key", name]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let (first, entry) = text.split_once('\n').unwrap();
    (first.rsplit(' ').next().unwrap().to_owned(), entry.to_owned())
}

fn run(key: &str) -> Request {
    let request = Request::post("/v1/run", json!({"code": "print(1)"}).to_string());
    request.header("authorization", &format!("Bearer {key}"))
}

#[test]
fn beyond_loopback_a_key_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), "");
    let mut command = Command::new(binary());
    command.arg("serve").arg("--config").arg(directory.path().join("config.toml"));
    let output = command.args(["--listen", "0.0.0.0:0"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("without a key") && stderr.contains("--new-key"), "{stderr}");
    let (key, entry) = new_key("bot");
    let server = Server::start(&entry, &["--listen", "0.0.0.0:0"]);
    assert_eq!(server.send(run(&key).header("host", "anything.example")).status, 200);
    assert_eq!(server.send(run("").header("authorization", "")).status, 401);
}

#[test]
fn a_key_opens_and_nothing_else_does() {
    let (key, entry) = new_key("bot");
    let server = Server::with(&entry);
    assert!(!entry.contains(&key));
    let password = base64::engine::general_purpose::STANDARD.encode(format!("any:{key}"));
    for (value, status) in [
        (format!("Bearer {key}"), 200),
        (format!("Basic {password}"), 200),
        (String::new(), 401),
        (format!("Bearer {key}x"), 401),
        (format!("Bearer {}", &key[..key.len() - 1]), 401),
        ("Bearer".into(), 401),
        (key.clone(), 401),
    ] {
        let answer = server.send(run(&key).header("authorization", &value));
        assert_eq!(answer.status, status, "{value}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate").is_empty(), status == 200);
    }
    let open = ["/", "/page.js", "/healthz", "/openapi.json"].map(|path| server.get(path).status);
    assert_eq!(open, [200; 4]);
    let closed = ["/metrics", "/v1/environments", "/api/v2/runtimes"].map(|path| server.get(path).status);
    assert_eq!(closed, [401; 3]);
    server.wait_for("key=\"bot\"");
    assert!(!server.log().contains(&key), "the log shows the key");
}

#[test]
fn a_key_has_its_rate_and_its_ceilings() {
    let (slow, slow_entry) = new_key("slow");
    let (small, small_entry) = new_key("small");
    let config = format!(
        "{slow_entry}rate = 0.1\nburst = 2\n{small_entry}\n[keys.ceilings]\nwall = \"2s\"\nmemory = \"64M\"\n"
    );
    let server = Server::with(&config);
    let statuses = [(); 3].map(|()| server.send(run(&slow)));
    assert_eq!(statuses.each_ref().map(|answer| answer.status), [200, 200, 429]);
    let seconds: u64 = statuses[2].header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
    let report = server.send(run(&small)).json();
    assert_eq!(
        (&report["limits"]["wall_us"], &report["limits"]["memory_bytes"]),
        (&json!(2_000_000), &json!(64 << 20))
    );
    let body = json!({"code": "", "limits": {"wall": 3}}).to_string();
    let answer = server.send(Request { body: body.into(), ..run(&small) });
    assert_eq!((answer.status, &answer.json()["field"]), (422, &json!("limits.wall")));
}

#[test]
fn whatever_has_a_body_counts_and_says_what_it_is() {
    let (key, entry) = new_key("slow");
    let server = Server::with(&format!("{entry}rate = 0.1\nburst = 2\n"));
    let delete = |content_type: &str| {
        let body = json!({"language": "python", "version": "*"}).to_string();
        let length = body.len().to_string();
        let request = Request::post("/api/v2/packages", body).header("content-type", content_type);
        let request = request.header("authorization", &format!("Bearer {key}"));
        Request { method: "DELETE".into(), ..request.header("content-length", &length) }
    };
    assert_eq!(server.send(delete("text/plain")).status, 415);
    let statuses = [(); 3].map(|()| server.send(delete("application/json")).status);
    assert_eq!(statuses, [403, 403, 429]);
}

#[test]
fn a_key_leaves_memory_to_the_others() {
    let ((first, first_entry), (second, second_entry)) = (new_key("first"), new_key("second"));
    let server = Server::with(&format!(
        "[requests]\nbody = \"1M\"\nmemory = \"8M\"\nbody_time = \"5s\"\n{first_entry}{second_entry}"
    ));
    let held = || {
        let mut stream = server.connect();
        let request = Request { body: vec![b' '; 900 << 10], ..run(&first) };
        let _ = stream.write_all(&request.header("content-length", "1000000").bytes());
        stream
    };
    let _streams: Vec<_> = (0..12).map(|_| held()).collect();
    crate::server::until("the first key's share", || {
        let text =
            server.send(Request::get("/metrics").header("authorization", &format!("Bearer {second}"))).text();
        let level =
            text.lines().find_map(|line| line.strip_prefix("wardian_memory_bytes ")?.parse::<u64>().ok());
        level.is_some_and(|level| level > 3 << 20)
    });
    assert_eq!(server.send(run(&second)).status, 200);
}

#[test]
fn a_key_leaves_connections_to_the_others() {
    let ((first, first_entry), (second, second_entry)) = (new_key("first"), new_key("second"));
    let server = Server::with(&format!("[requests]\nconnections = 8\n{first_entry}{second_entry}"));
    let begin = || {
        let mut stream = server.connect();
        stream.write_all(&run(&first).header("content-length", "1000").bytes()).unwrap();
        stream
    };
    let held: Vec<_> = (0..4).map(|_| begin()).collect();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let refused = server.send(run(&first));
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(server.send(run(&second)).status, 200);
    drop(held);
    crate::server::until("its connections", || server.send(run(&first)).status == 200);
}

#[test]
fn a_hang_up_reads_the_configuration_again_and_a_bad_one_is_refused() {
    let (first, first_entry) = new_key("first");
    let (second, second_entry) = new_key("second");
    let server = Server::with(&first_entry);
    let statuses = || [&first, &second].map(|key| server.send(run(key)).status);
    assert_eq!(statuses(), [200, 401]);
    for bad in [
        "listen = 5",
        "[runs]\nat_once = 0",
        "policies = [\"nowhere\"]",
        "unix = \"/nowhere/at/all\"",
        "[[keys]]",
    ] {
        write_config(server.directory.path(), &format!("{bad}\n{second_entry}"));
        let before = server.log().matches("stays as it was").count();
        server.signal(Signal::HUP);
        crate::server::until("the refusal", || server.log().matches("stays as it was").count() > before);
        assert_eq!(statuses(), [200, 401], "{bad}");
    }
    write_config(server.directory.path(), &second_entry);
    server.signal(Signal::HUP);
    server.wait_for("the new configuration is in effect");
    assert_eq!(statuses(), [401, 200]);
}

#[test]
fn a_connection_from_beyond_loopback_needs_a_key_whatever_is_configured_later() {
    let (_, entry) = new_key("bot");
    let server = Server::start(&format!("listen = [\"0.0.0.0:0\"]\n{entry}"), &[]);
    let mut kept = server.connect();
    kept.write_all(&Request::get("/healthz").header("connection", "").bytes()).unwrap();
    assert!(kept.read(&mut [0; 4096]).unwrap() > 0);
    write_config(server.directory.path(), "listen = [\"127.0.0.1:0\"]");
    server.signal(Signal::HUP);
    server.wait_for("the new configuration is in effect");
    assert_eq!(run("").header("authorization", "").send(kept).status, 401);
}
