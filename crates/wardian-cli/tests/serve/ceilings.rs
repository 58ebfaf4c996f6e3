//! The service's ceilings hold for the interfaces of other systems too.

use crate::client::Request;
use crate::server::Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn what_other_systems_give_is_lowered_to_the_service_s_ceilings() {
    let server =
        Server::with("[ceilings]\nwall = \"1s\"\nmemory = \"64M\"\n[piston.limits]\nwall = \"5s\"\n");
    let started = Instant::now();
    let eval = server.post("/eval", &json!({"input": "import time; time.sleep(20)"}).to_string()).json();
    assert_eq!(eval["returncode"], 137, "{eval}");

    let mut piston =
        json!({"language": "py", "version": "*", "files": [{"content": "import time; time.sleep(20)"}]});
    let usual = server.post("/api/v2/execute", &piston.to_string()).json();
    assert_eq!(usual["run"]["status"], "TO", "{usual}");
    piston["run_timeout"] = 1001.into();
    let more = server.post("/api/v2/execute", &piston.to_string());
    let message = "run_timeout cannot exceed the configured limit of 1000";
    assert_eq!((more.status, more.json()), (400, json!({"message": message})));

    let body =
        "payload=%7B%22code%22%3A+%22import+time%3B+time.sleep%2820%29%22%2C+%22globals_dict%22%3A+%7B%7D%7D";
    let form = "application/x-www-form-urlencoded";
    let edx = server.send(Request::post("/api/v0/code-exec", body).header("content-type", form)).json();
    assert!(edx["emsg"].as_str().unwrap().ends_with("with status code: -9"), "{edx}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}
