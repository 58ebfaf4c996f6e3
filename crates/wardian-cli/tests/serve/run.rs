//! `POST /v1/run`.

use crate::client::Request;
use crate::server::Server;
use serde_json::{Value, json};

fn report(server: &Server, request: &Value) -> Value {
    let answer = server.post("/v1/run", &request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.header("x-request-id").is_empty());
    answer.json()
}

#[test]
fn a_program_gets_what_it_is_given_and_its_report_comes_back() {
    let server = Server::plain();
    let program = "import os, sys\nprint(sys.argv[1:], sys.stdin.read(), os.environ['WORD'], open('data/a.bin','rb').read())\n\
                   os.makedirs('out')\nopen('out/b.txt','w').write('kept')\nprint('err', file=sys.stderr)\nsys.exit(3)";
    let request = json!({
        "files": [{"path": "prog.py", "text": program}, {"path": "data/a.bin", "base64": "/wA="}],
        "entry": "prog.py", "args": ["x", "-y"], "stdin": "in", "env": {"WORD": "w"}, "collect": ["out/*"],
        "limits": {"wall": "20s", "memory": 134_217_728, "processes": 4},
    });
    let report = report(&server, &request);
    assert_eq!(report["verdict"], "nonzero_exit");
    assert_eq!(report["exit_code"], 3);
    assert_eq!(report["stdout"]["text"], "['x', '-y'] in w b'\\xff\\x00'\n");
    assert_eq!(report["stderr"]["text"], "err\n");
    assert_eq!(report["limits"]["wall_us"], 20_000_000);
    assert_eq!(report["limits"]["memory_bytes"], 134_217_728);
    assert_eq!(report["files"][0]["path"], "out/b.txt");
    assert_eq!(report["files"][0]["base64"], "a2VwdA==");
}

#[test]
fn whatever_a_program_does_the_answer_is_a_report() {
    let server = Server::plain();
    for (request, verdict) in [
        (json!({"code": "while True: pass", "limits": {"wall": 0.5}}), "time_limit"),
        (json!({"code": "while True: pass", "limits": {"cpu": "300ms"}}), "time_limit"),
        (json!({"code": "x = b'x' * (1 << 30)", "limits": {"memory": "64M"}}), "memory_limit"),
        (json!({"code": "import os; os.abort()"}), "signaled"),
        (json!({"code": "this is no Python"}), "nonzero_exit"),
        (json!({"code": "print('é' * 100)", "limits": {"output": 11}}), "ok"),
    ] {
        let report = report(&server, &request);
        assert_eq!(report["verdict"], verdict, "{request}");
    }
}

#[test]
fn files_come_as_parts_of_a_form() {
    let server = Server::plain();
    let body = b"--B\r\ncontent-disposition: form-data; name=\"request\"\r\n\r\n{\"args\":[\"z\"]}\r\n\
        --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"main.py\"\r\n\r\n\
        import sys; print(open('d.bin','rb').read(), sys.argv[1])\r\n\
        --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"d.bin\"\r\n\r\n\x00\xff\r\n--B--\r\n";
    let request =
        Request::post("/v1/run", &body[..]).header("content-type", "multipart/form-data; boundary=B");
    let answer = server.send(request);
    assert_eq!(answer.json()["stdout"]["text"], "b'\\x00\\xff' z\n", "{}", answer.text());
    let broken =
        Request::post("/v1/run", &body[..60]).header("content-type", "multipart/form-data; boundary=B");
    assert_eq!(server.send(broken).status, 400);
}

#[test]
fn a_form_may_be_as_large_as_any_body() {
    let server = Server::plain();
    let mut body = b"--B\r\ncontent-disposition: form-data; name=\"f\"; filename=\"main.py\"\r\n\r\n\
        import os; print(os.path.getsize('big'))\r\n\
        --B\r\ncontent-disposition: form-data; name=\"f\"; filename=\"big\"\r\n\r\n"
        .to_vec();
    body.resize(body.len() + (3 << 20), 0);
    body.extend(b"\r\n--B--\r\n");
    let answer =
        server.send(Request::post("/v1/run", body).header("content-type", "multipart/form-data; boundary=B"));
    assert_eq!(answer.json()["stdout"]["text"], "3145728\n", "{}", answer.text());
}

#[test]
fn a_result_comes_back_beside_the_output() {
    let server = Server::plain();
    let code = "import os; print('out'); os.write(3, b'{\"x\": [1, 2]}')";
    let report = server.post("/v1/run", &json!({"code": code, "result": "1K"}).to_string()).json();
    assert_eq!((&report["result"], &report["stdout"]["text"]), (&json!({"x": [1, 2]}), &json!("out\n")));
    let without = server.run(code);
    assert_eq!((&without["verdict"], without.get("result")), (&json!("nonzero_exit"), None));
    for wrong in [json!(0), json!("1G"), json!(-1)] {
        let answer = server.post("/v1/run", &json!({"code": "", "result": wrong}).to_string());
        assert_eq!((answer.status, answer.json()["field"].as_str()), (422, Some("result")), "{wrong}");
    }
}

#[test]
fn a_repeated_request_is_not_run_again() {
    let server = Server::plain();
    let send = |key: &str, code: &str| {
        let body = json!({ "code": code }).to_string();
        server.send(Request::post("/v1/run", body).header("idempotency-key", key))
    };
    let first = send("a", "import time; print(time.time())").json();
    let again = send("a", "import time; print(time.time())").json();
    assert_eq!(first["id"], again["id"]);
    assert_eq!(first["stdout"], again["stdout"]);
    assert_ne!(send("b", "import time; print(time.time())").json()["id"], first["id"]);
    assert_eq!(send("a", "print(1)").status, 422);
}

#[test]
fn environments_and_policies_are_listed() {
    let server = Server::with("policies = [\"python\", \"strict\"]\n[ceilings]\nwall = \"7s\"");
    let listed = server.get("/v1/environments").json();
    assert_eq!(listed["environments"][0]["name"], "python");
    assert!(listed["environments"][0]["python"].as_str().unwrap().starts_with("3."));
    assert_eq!(listed["policies"][1]["name"], "strict");
    assert_eq!(listed["policies"][0]["ceilings"]["wall"], "7s");
    let strict = report(&server, &json!({"code": "print(1)", "policy": "strict", "environment": "python"}));
    assert_eq!(strict["policy"]["name"], "strict");
    assert_eq!(strict["limits"]["wall_us"], 7_000_000);
}
