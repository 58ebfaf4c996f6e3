//! Refused calls show in the report, and cannot be used to harm the one who writes it.

use crate::harness::{OWN_MEMORY, Outcome, Run, skip};

fn unavailable(outcome: &Outcome) -> bool {
    let reason = outcome.report.get("denials_unavailable").and_then(|reason| reason.as_str());
    if let Some(reason) = reason {
        skip(&format!("denials cannot be seen here: {reason}"));
    }
    reason.is_some()
}

#[test]
fn each_refused_call_is_reported_with_its_count() {
    let code = "import socket\nfor _ in range(3):\n    attempt('inet', lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))\nattempt('mount', lambda: syscall('mount', b'x', b'/tmp', b'tmpfs', 0, None))\nattempt('bpf', lambda: syscall('bpf', 0, 0, 0))\nattempt('unshare', lambda: syscall('unshare', 0x10000000))\nattempt('ptrace', lambda: syscall('ptrace', 16, 1, 0, 0))\nattempt('chroot', os.chroot, '/')";
    let outcome = Run::with_library(code).run().expect("ok");
    if unavailable(&outcome) {
        return;
    }
    assert_eq!(outcome.denied("socket"), 3, "{}", outcome.summary());
    for name in ["mount", "bpf", "unshare", "ptrace", "chroot"] {
        assert_eq!(outcome.denied(name), 1, "{name}: {}", outcome.summary());
    }
    let denials = outcome.get("denials").as_array().unwrap();
    let socket = denials.iter().find(|denial| denial["syscall"] == "socket").unwrap();
    assert!(socket["detail"].as_str().unwrap().contains("AF_INET"), "{socket}");
    assert!(socket["hint"].as_str().unwrap().contains("`network = "), "{socket}");
}

#[test]
fn a_program_that_does_nothing_has_no_denials() {
    for policy in ["python", "strict", "judge", "codejail"] {
        let outcome =
            Run::new("import json, threading, tempfile, subprocess, ctypes, decimal, random\nprint(1)")
                .policy(policy)
                .times("20s")
                .run();
        let outcome = outcome.expect("ok");
        assert_eq!(outcome.get("denials").as_array().unwrap().len(), 0, "{policy}: {}", outcome.summary());
    }
}

#[test]
fn a_flood_of_refused_calls_does_not_hold_up_the_wall_limit() {
    let code = "while True:\n    libc.syscall(NR['mount'], 0, 0, 0, 0, 0)";
    let outcome = Run::with_library(code).wall("4s").run().expect_for("time_limit", "wall_time");
    assert!(outcome.number("usage.wall_us") < 4_500_000, "{}", outcome.summary());
    if !unavailable(&outcome) {
        assert!(outcome.denied("mount") > 64, "{}", outcome.summary());
    }
}

#[test]
fn a_flood_from_many_processes_of_many_calls_stays_bounded() {
    let code = "for _ in range(15):\n    if not os.fork(): break\ncalls = {NR[name] for name in 'mount umount2 pivot_root chroot unshare bpf perf_event_open userfaultfd keyctl add_key request_key io_uring_setup init_module kexec_load ptrace'.split()}\nnumber = 0\nwhile True:\n    number = (number + 1) % 600\n    if number in calls: libc.syscall(number, -1, number, 0, -1, 0)\n    libc.socket(number % 60, number % 7, number % 300)";
    let outcome = Run::with_library(code).wall("3s").run().expect("time_limit");
    assert!(outcome.number("usage.wall_us") < 3_600_000, "{}", outcome.summary());
    assert!(outcome.get("denials").as_array().unwrap().len() <= 1000, "{}", outcome.summary());
    assert!(outcome.own_memory <= OWN_MEMORY, "{} KiB", outcome.own_memory >> 10);
}

#[test]
fn a_refused_call_of_a_dying_process_does_not_hang() {
    let code = "import signal, time\nend = time.time() + 1.5\nwhile time.time() < end:\n    pid = os.fork()\n    if not pid:\n        while True: libc.syscall(NR['mount'], 0, 0, 0, 0, 0)\n    time.sleep(0.002)\n    os.kill(pid, signal.SIGKILL)\n    os.waitpid(pid, 0)\nprint('end')";
    let outcome = Run::with_library(code).wall("10s").run().expect_for("ok", "exit");
    assert_eq!(outcome.stdout(), "end\n");
}
