//! Limits, and what a program leaves in its private directory.

use crate::harness::{run, unavailable};
use serde_json::Value;

#[track_caller]
fn ends(report: &Value, verdict: &str, reason: &str) {
    assert_eq!((&report["verdict"], &report["reason"]), (&verdict.into(), &reason.into()), "{report:#}");
}

#[test]
fn time_is_limited() {
    if unavailable() {
        return;
    }
    ends(&run(&["--wall", "300ms"], "time.sleep(30)", &[]), "time_limit", "wall_time");
    let spin = "os.fork()\nos.setsid() if os.getpgid(0) != os.getpid() else None\nwhile True: pass";
    ends(&run(&["--cpu-time", "500ms"], spin, &[]), "time_limit", "cpu_time");
    ends(&run(&["--cpu-time", "5s"], "sum(range(1000000))", &[]), "ok", "exit");
}

#[test]
fn memory_is_limited() {
    if unavailable() {
        return;
    }
    let fill = "block = []\nwhile True: block.append(bytearray(1 << 20)); time.sleep(0.002)";
    let report = run(&["--memory", "96M", "--disk", "8M"], fill, &[]);
    assert_eq!(report["verdict"], "memory_limit", "{report:#}");
    ends(&run(&["--memory", "96M", "--disk", "8M"], "bytearray(16 << 20)", &[]), "ok", "exit");
}

#[test]
fn disk_is_limited() {
    if unavailable() {
        return;
    }
    let write = "for n in range(int(sys.argv[1])):\n    open(str(n), 'wb').write(bytes(1 << 20))\n    time.sleep(0.01)";
    ends(&run(&["--disk", "8M"], write, &["4"]), "ok", "exit");
    let report = run(&["--disk", "8M"], write, &["1000"]);
    ends(&report, "disk_limit", "disk");
    // What is in a directory that can be entered but not listed counts too.
    let hide = "os.mkdir('d', 0o300)\nos.chdir('d')\nfor n in range(1000):\n    open(str(n), 'wb').write(bytes(1 << 20))\n    time.sleep(0.01)";
    ends(&run(&["--disk", "8M"], hide, &[]), "disk_limit", "disk");
    let one = run(&["--disk", "8M"], "open('x', 'wb').write(bytes(64 << 20))", &[]);
    assert_ne!(one["verdict"], "ok", "{one:#}");
    assert!(one["usage"]["disk_bytes"].as_u64().unwrap() <= 9 << 20, "{one:#}");
}

#[test]
fn processes_are_limited() {
    if unavailable() {
        return;
    }
    let code = "children = []\ntry:\n    for _ in range(int(sys.argv[1])):\n        child = os.fork()\n        if not child: time.sleep(60)\n        children.append(child)\n    time.sleep(0.5)\nexcept OSError as e: print(e.errno)\nfor child in children: os.kill(child, 9)";
    ends(&run(&["--processes", "16"], code, &["8"]), "ok", "exit");
    let report = run(&["--processes", "16"], code, &["200"]);
    let refused = report["stdout"]["text"] == "11\n" && report["verdict"] == "ok";
    assert!(refused || report["verdict"] == "process_limit", "{report:#}");
    let single = run(&["--processes", "1"], "attempt('fork', os.fork)", &[]);
    assert!(single["stdout"]["text"].as_str().unwrap().contains("EAGAIN"), "{single:#}");
}

#[test]
fn whatever_it_leaves_is_removed() {
    if unavailable() {
        return;
    }
    // `run` checks that nothing is left.
    let nested = "for n in range(10000):\n    os.mkdir('d')\n    os.chdir('d')\nprint('made')";
    let report = run(&[], nested, &[]);
    assert!(["ok", "disk_limit"].contains(&report["verdict"].as_str().unwrap()), "{report:#}");
    let closed = "os.makedirs('a/b')\nopen('a/b/f', 'w')\nos.mkfifo('a/fifo')\nos.symlink('/', 'a/root')\nos.symlink('..', 'a/up')\nos.link('a/b/f', 'a/hard')\nfor name in (b'\\xff\\n', b'.removed-0'): open(name, 'w')\nos.mkdir('.removed-1')\nos.mkdir('none', 0)\nos.mkdir('a/enter', 0o100)\nos.mkdir(os.environ['TMPDIR'] + '/x', 0)\nprint('made')";
    let report = run(&[], closed, &[]);
    assert_eq!(report["stdout"]["text"], "made\n", "{report:#}");
}
