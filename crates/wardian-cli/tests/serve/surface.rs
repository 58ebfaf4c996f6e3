//! What operators and the curious look at.

use crate::client::Request;
use crate::server::Server;

#[test]
fn it_is_healthy_and_proves_that_it_is_ready() {
    let server = Server::plain();
    assert_eq!(server.get("/healthz").json()["status"], "ok");
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(ready.json()["refused"], serde_json::json!(["file", "socket", "process"]));
}

#[test]
fn figures_count_runs_refusals_and_time() {
    let server = Server::plain();
    server.run("import socket\ntry: socket.socket(socket.AF_INET6, socket.SOCK_RAW)\nexcept OSError: pass");
    server.get("/api/v2/piston/runtimes");
    server.get("/nowhere");
    let text = server.get("/metrics").text();
    for line in [
        "wardian_runs_total{interface=\"v1\",start=\"cold\",verdict=\"ok\"} 1",
        "wardian_run_seconds_count{phase=\"total\"} 1",
        "wardian_run_seconds_count{phase=\"queue\"} 1",
        "wardian_requests_total{route=\"/v1/run\",status=\"200\"} 1",
        "wardian_requests_total{route=\"/api/v2/piston/runtimes\",status=\"200\"} 1",
        "wardian_requests_total{route=\"other\",status=\"404\"} 1",
        "wardian_gate{state=\"running\"} 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_interface_describes_itself_and_loads_nothing_from_elsewhere() {
    let server = Server::plain();
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    for path in ["/v1/run", "/v1/run/stream", "/v1/run/ws", "/eval", "/api/v2/execute"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    for text in [page.text(), server.get("/page.js").text()] {
        assert!(!text.contains("://"), "an address of another place");
    }
}

#[test]
fn a_clients_name_for_its_request_comes_back_if_it_can_stand_in_a_log() {
    let server = Server::start("log = \"json\"\nlisten = [\"127.0.0.1:0\"]", &[]);
    let named = |id: &str| server.send(Request::get("/healthz").header("x-request-id", id));
    assert_eq!(named("abc-1.x").header("x-request-id"), "abc-1.x");
    assert_ne!(named("a b").header("x-request-id"), "a b");
    assert_ne!(named(&"x".repeat(65)).header("x-request-id"), "x".repeat(65));
    server.wait_for("abc-1.x");
}
