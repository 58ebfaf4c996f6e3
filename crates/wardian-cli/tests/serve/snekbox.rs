//! `/eval`, as snekbox's own tests see it.

use crate::client::Request;
use crate::server::Server;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Write as _;

fn eval(server: &Server, body: &Value) -> Value {
    let answer = server.post("/eval", &body.to_string());
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()
}

#[test]
fn code_is_run_and_output_comes_back() {
    let server = Server::plain();
    for (body, stdout, returncode) in [
        (json!({"input": "print('Hello')"}), "Hello\n", 0),
        (json!({"args": ["-c", "print('abc12')"]}), "abc12\n", 0),
        (json!({"args": ["", "-c", "import sys; print(sys.argv)", "x"]}), "['-c', 'x']\n", 0),
        (json!({"input": "import sys; print(sys.argv)", "args": ["-I", "-c"]}), "['-c']\n", 0),
        (json!({"input": "import sys\nprint(1)\nprint(2, file=sys.stderr)\nprint(3)"}), "1\n2\n3\n", 0),
        (json!({"input": "exit(7)"}), "", 7),
        (json!({"input": "import os; print(os.environ['PYTHON_COLORS'])", "extra": 1}), "1\n", 0),
        (json!({"input": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"}), "", 139),
        (json!({"input": "input()"}), "", 1),
    ] {
        let answer = eval(&server, &body);
        assert_eq!(answer["returncode"], returncode, "{body}: {answer}");
        if returncode != 1 {
            assert_eq!(answer["stdout"], stdout, "{body}");
        }
        assert_eq!(answer["files"], json!([]));
        assert_eq!(answer.as_object().unwrap().len(), 3);
    }
    let timeit = eval(&server, &json!({"input": "pass", "args": ["-m", "timeit"]}));
    assert!(timeit["stdout"].as_str().unwrap().contains("loops"), "{timeit}");
}

#[test]
fn limits_end_as_they_do_there() {
    let server = Server::with("[snekbox.limits]\nwall = \"1s\"");
    let flood = eval(&server, &json!({"input": "while True: print('a' * 99)"}));
    assert_eq!(
        (flood["returncode"].as_i64(), flood["stdout"].as_str().map(str::len)),
        (Some(143), Some(1_000_000))
    );
    let memory = eval(&server, &json!({"input": "x = b'1' * 200_000_000\nprint(len(x))"}));
    assert_eq!(memory["returncode"], 137, "{memory}");
    let time = eval(&server, &json!({"input": "print('a')\nwhile True: pass"}));
    assert_eq!((&time["returncode"], &time["stdout"]), (&json!(137), &json!("a\n")));
    let forks = "import os\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: os.read(os.pipe()[0], 1)\n    n += 1\nexcept OSError: print(n < 15)\n";
    assert_eq!(eval(&server, &json!({"input": forks}))["stdout"], "True\n");
    let binary = eval(&server, &json!({"input": "import sys; sys.stdout.buffer.write(b'\\xff')"}));
    assert_eq!(binary["stdout"], "UnicodeDecodeError: invalid Unicode in output pipe");
    assert_eq!(binary["returncode"], Value::Null);
    let null = eval(&server, &json!({"input": "\u{0}"}));
    assert_eq!(
        (&null["stdout"], &null["returncode"]),
        (&json!("ValueError: embedded null byte"), &Value::Null)
    );
}

#[test]
fn one_process_out_of_memory_is_one_process() {
    let program = "import time\nfrom multiprocessing import Process\ndef f():\n    o = 'A' * 40_000_000\n    time.sleep(0.5)\n\
                   a, b = Process(target=f), Process(target=f)\na.start(); b.start(); a.join(); b.join()\nprint(a.exitcode, b.exitcode)";
    let server = Server::plain();
    let report = server.post("/v1/run", &json!({"code": "pass"}).to_string()).json();
    if report["enforced_by"]["memory"]["level"] == "watched" {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP one_process_out_of_memory_is_one_process: no memory cgroup, and the watch ends the whole run"
        );
        return;
    }
    let answer = eval(&server, &json!({"input": program}));
    assert!(answer["stdout"].as_str().unwrap().contains("-9"), "{answer}");
}

#[test]
fn large_files_come_back_and_holes_count() {
    let program = "for n, size in (('a', 20 << 20), ('b', 24 << 20), ('c', 24 << 20), ('d', 1 << 50)):\n    open(n, 'w').truncate(size)";
    let answer = eval(&Server::plain(), &json!({"input": program}));
    assert_eq!(answer["returncode"], 0, "{}", answer["stdout"]);
    let files: Vec<_> =
        answer["files"].as_array().unwrap().iter().map(|file| (&file["path"], &file["size"])).collect();
    assert_eq!(files, [(&json!("a"), &json!(20 << 20)), (&json!("b"), &json!(24 << 20))]);
}

#[test]
fn links_are_files_and_names_are_as_they_are() {
    let program = "import os\nopen('100%.txt', 'w').write('x')\nos.mkdir('sub')\nos.symlink('../100%.txt', 'sub/link')\n\
                   os.symlink('/etc/passwd', 'out')\nos.symlink('..', 'up')";
    let answer = eval(&Server::plain(), &json!({"input": program}));
    let file = |path: &str| json!({"path": path, "size": 1, "content": STANDARD.encode("x")});
    assert_eq!(answer["files"], json!([file("100%.txt"), file("sub/link")]), "{}", answer["stdout"]);
}

#[test]
fn files_that_cannot_be_told_are_said_in_the_output() {
    let server = Server::plain();
    for (program, text) in [
        ("open(b'\\xC3.txt', 'w')", "invalid bytes in filename"),
        ("import os\nos.makedirs('a/' * 200)\nopen('a/' * 200 + 'x', 'w')", "Exceeded directory depth limit"),
    ] {
        let stdout = format!("FileParsingError: {text} while parsing attachments");
        let answer = eval(&server, &json!({"input": program}));
        assert_eq!(answer, json!({"stdout": stdout, "returncode": null, "files": []}), "{program}");
    }
}

#[test]
fn there_is_no_other_place_to_write() {
    let program = "import errno, tempfile\nfor path in ('/', '/etc', '/usr', '/snekbox', '/tmp', '/proc'):\n\
                   \x20 try: open(path + '/hello', 'w')\n  except OSError as e: print(path, errno.errorcode[e.errno])\n\
                   with tempfile.TemporaryFile() as f: print(f.write(b'x'))";
    let places = "/ EROFS\n/etc EROFS\n/usr EROFS\n/snekbox EROFS\n/tmp ENOENT\n/proc ENOENT\n1\n";
    assert_eq!(eval(&Server::plain(), &json!({"input": program}))["stdout"], places);
}

#[test]
fn shared_memory_is_of_one_size() {
    let server = Server::with("[snekbox.limits]\nmemory = \"500M\"");
    let end = |bytes: usize| {
        let program = format!(
            "from multiprocessing.shared_memory import SharedMemory\ns = SharedMemory(create=True, size={bytes})\n\
             s.buf[:{bytes}] = bytearray({bytes})\ns.unlink()"
        );
        eval(&server, &json!({"input": program}))["returncode"].clone()
    };
    assert_eq!((end(40 << 20), end((40 << 20) + 1)), (json!(0), json!(135)));
}

#[test]
fn files_that_cannot_both_be_are_said_in_the_output() {
    let files = json!([{"path": "dir/test.txt"}, {"path": "dir"}]);
    let answer = eval(&Server::plain(), &json!({"args": [""], "files": files}));
    let stdout = "IsADirectoryError: Failed to create file 'dir'.";
    assert_eq!(answer, json!({"stdout": stdout, "returncode": null, "files": []}));
}

#[test]
fn files_go_in_and_out() {
    let server = Server::plain();
    let encode = |text: &str| STANDARD.encode(text);
    let main = "from pathlib import Path\nfrom mod import lib\nprint(lib.var)\nopen('test.txt', 'w').write('test 1')\n\
                Path('dir').mkdir()\nPath('dir/test2.txt').write_text('test 2')\nPath('_no').write_text('x')\n\
                Path('sent.txt').write_text('new')\nPath('.hidden').write_text('x')";
    let request = json!({
        "args": ["main.py"],
        "files": [
            {"path": "main.py", "content": encode(main)}, {"path": "mod/__init__.py"},
            {"path": "mod/../mod/./lib.py", "content": encode("var = 'hello'")},
            {"path": "sent.txt", "content": encode("old")}, {"path": "kept.txt", "content": encode("kept")},
        ],
    });
    let answer = eval(&server, &request);
    let expected = json!({
        "stdout": "hello\n", "returncode": 0,
        "files": [
            {"path": "dir/test2.txt", "size": 6, "content": encode("test 2")},
            {"path": "sent.txt", "size": 3, "content": encode("new")},
            {"path": "test.txt", "size": 6, "content": encode("test 1")},
        ],
    });
    assert_eq!(answer, expected);
}

#[test]
fn interpreters_are_chosen_by_path_and_other_files_are_not_there() {
    let server = Server::plain();
    let version = json!({"input": "import sys; print('.'.join(map(str, sys.version_info[:2])))"});
    let expected = eval(&server, &version)["stdout"].as_str().unwrap().to_owned();
    let with = |path: &str| {
        let mut body = version.clone();
        body["executable_path"] = path.into();
        server.post("/eval", &body.to_string())
    };
    let own = format!("/snekbin/python/{}/bin/python", expected.trim());
    for path in ["/snekbin/python/default/bin/python", own.as_str()] {
        assert_eq!(with(path).json()["stdout"], expected, "{path}");
    }
    for path in ["/abc/def", "/bin/sh", "/etc/hostname", "/etc"] {
        let answer = with(path);
        assert_eq!((answer.status, &answer.json()["title"]), (400, &json!("executable_path does not exist")));
    }
}

#[test]
fn mistakes_are_told_in_its_words() {
    let server = Server::plain();
    for (body, title, description) in [
        (
            json!({"stuff": "foo"}),
            "Request data failed validation",
            "{'stuff': 'foo'} is not valid under any of the given schemas",
        ),
        (json!({"args": 400}), "Request data failed validation", "400 is not of type 'array'"),
        (
            json!({"args": [], "files": [215]}),
            "Request data failed validation",
            "215 is not of type 'object'",
        ),
        (
            json!({"args": [], "files": [{"path": "/etc"}]}),
            "Request data failed validation",
            r"'/etc' does not match '^(?!/)(?!.*\\\\0).*$'",
        ),
        (
            json!({"args": [], "files": [{"path": "dir/../../x"}]}),
            "Request file is invalid",
            "File path 'dir/../../x' may not traverse beyond root",
        ),
        (
            json!({"args": [], "files": [{"path": "x", "content": "a"}]}),
            "Request file is invalid",
            "Invalid base64 encoding for file 'x'",
        ),
    ] {
        let answer = server.post("/eval", &body.to_string());
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json(), json!({"title": title, "description": description}), "{body}");
    }
    let many: Vec<Value> = (0..201).map(|at| json!({"path": at.to_string()})).collect();
    assert_eq!(server.post("/eval", &json!({"input": "", "files": many}).to_string()).status, 400);
    let xml =
        server.send(Request::post("/eval", "{'input': 'foo'}").header("content-type", "application/xml"));
    let expected = json!({"title": "415 Unsupported Media Type", "description": "application/xml is an unsupported media type."});
    assert_eq!((xml.status, xml.json()), (415, expected));
    assert_eq!(server.get("/eval").status, 405);
    let options = server.send(Request::new("OPTIONS", "/eval"));
    assert_eq!((options.status, options.header("allow")), (200, "POST"));
    let off = Server::with("snekbox.enabled = false");
    assert_eq!(off.post("/eval", "{\"input\":\"\"}").status, 404);
}

#[test]
fn runs_do_not_share_their_memory_limits() {
    let server = Server::with("[runs]\nat_once = 3\n");
    let code = "import time; x = ' ' * 33000000; time.sleep(0.1)";
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..3).map(|_| scope.spawn(|| eval(&server, &json!({"args": ["-c", code]})))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap()["returncode"], 0);
        }
    });
}
