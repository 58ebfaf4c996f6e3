//! Limits, and what a program leaves in its private directory.

use crate::harness::{run, run_watched, unavailable};
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
    let closed = run(&[], "os.mkdir('d', 0)\ntime.sleep(1)", &[]);
    let told = closed["message"].as_str().unwrap().contains("closed to their owner");
    assert!(told || closed["verdict"] == "ok", "{closed:#}");
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
    // What a cgroup refuses it counts: no other limit may come first.
    if report["enforced_by"]["processes"]["layer"] == "cgroup" {
        assert_eq!(report["denials"][0]["syscall"], "limit", "{report:#}");
    }
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
    // Who looks in time cannot look into all of it.
    assert!(report["stdout"]["text"] == "made\n" || report["verdict"] == "disk_limit", "{report:#}");
}

/// When the program was told to end, and when all of it had, in microseconds.
fn end_and_gone(report: &Value) -> (u64, u64) {
    let at = |event: &str| report["timeline_us"][event].as_u64().unwrap();
    (at("ended") - at("started"), at("collected") - at("started"))
}

#[test]
fn generations_that_spin_end_at_one_moment() {
    if unavailable() {
        return;
    }
    // Each has a child. If they were ended one after the other, each would have to wait for its turn to die.
    let code = "for _ in range(50):\n    if os.fork(): break\nwhile True: pass";
    let report = run_watched(&["--wall", "1s"], code, &[]);
    ends(&report, "time_limit", "wall_time");
    let (_, gone) = end_and_gone(&report);
    assert!(gone < 4_000_000, "{report:#}");
}

#[test]
fn memory_that_many_share_does_not_move_the_limit_of_time() {
    if unavailable() {
        return;
    }
    // To see that it is shared means to walk the page tables of every one.
    let code = "import mmap\nm = mmap.mmap(-1, 400 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nfor at in range(0, 400 << 20, 4096): m[at] = 1\nfor _ in range(60):\n    if not os.fork():\n        for at in range(0, 400 << 20, 4096): m[at]\n        break\ntime.sleep(100)";
    let report = run_watched(&["--wall", "5s", "--memory", "1G"], code, &[]);
    ends(&report, "time_limit", "wall_time");
    let (ended, _) = end_and_gone(&report);
    assert!((5_000_000..5_250_000).contains(&ended), "{report:#}");
}

#[test]
fn page_tables_are_memory() {
    if unavailable() {
        return;
    }
    let code = "import mmap\nm = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\nm.madvise(15)\nfor at in range(0, 1 << 40, 1 << 21): m[at]";
    ends(&run_watched(&["--memory", "96M", "--disk", "8M"], code, &[]), "memory_limit", "memory_watch");
}
