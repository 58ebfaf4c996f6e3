//! The CPU limit counts the whole tree, user and system time.

use crate::harness::{Outcome, Run};

fn ends_by_cpu(code: &str, options: &[(&str, &str)]) -> Outcome {
    let run = Run::new(code).wall("15s").option("--cpu-time", "1s");
    let run = options.iter().fold(run, |run, (name, value)| run.option(name, value));
    let outcome = run.run().expect_for("time_limit", "cpu_time");
    let used = outcome.number("usage.cpu_user_us") + outcome.number("usage.cpu_system_us");
    assert!((950_000..1_800_000).contains(&used), "{used} µs: {}", outcome.summary());
    outcome
}

#[test]
fn a_busy_loop() {
    ends_by_cpu("while True: pass", &[]);
}

#[test]
fn system_time_counts() {
    ends_by_cpu(
        "import os\nfd = os.open('/dev/zero', os.O_RDONLY)\nwhile True: os.read(fd, 10_000_000)",
        &[],
    );
}

#[test]
fn many_children_spin() {
    ends_by_cpu("import os\nfor _ in range(60):\n    if not os.fork(): break\nwhile True: pass", &[]);
}

#[test]
fn short_lived_children_that_nobody_waits_for_count() {
    let code = "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    try:\n        if not os.fork():\n            end = time.process_time() + 0.02\n            while time.process_time() < end: pass\n            os._exit(0)\n    except OSError: pass\n    time.sleep(0.02)";
    ends_by_cpu(code, &[]);
}

#[test]
fn threads_count() {
    ends_by_cpu(
        "import hashlib, threading\ndata = b'x' * 50_000_000\ndef work():\n    while True: hashlib.sha256(data)\nfor _ in range(4): threading.Thread(target=work).start()",
        &[],
    );
}

#[test]
fn a_handler_for_sigxcpu_and_a_raised_soft_limit_do_not_help() {
    let code = "import resource, signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nsoft, hard = resource.getrlimit(resource.RLIMIT_CPU)\ntry: resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))\nexcept (OSError, ValueError): pass\nwhile True: pass";
    ends_by_cpu(code, &[]);
}

#[test]
fn a_lowered_own_limit_is_the_programs_doing() {
    // It sets itself a CPU limit below ours and dies of it: no limit of ours was reached.
    let code = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass";
    let outcome =
        Run::new(code).wall("10s").option("--cpu-time", "8s").run().expect_for("signaled", "signal");
    assert_eq!(outcome.text("signal.name"), "SIGXCPU");
}

#[test]
fn sleeping_costs_no_cpu_time() {
    let outcome = Run::new("import time\ntime.sleep(1.5)\nprint('woke')").option("--cpu-time", "1s").run();
    assert_eq!(outcome.expect("ok").stdout(), "woke\n");
}

#[test]
fn the_judge_stops_a_loop_by_cpu_before_wall() {
    let outcome = Run::new("while True: pass").policy("judge").option("--cpu-time", "1s").run();
    outcome.expect_for("time_limit", "cpu_time");
}

/// Without a cgroup half a core is a whole one: the report says so, and who requires it is refused.
#[test]
fn cores_that_are_not_shared_out_are_told() {
    let run = |cpus: &str| {
        Run::new("pass").option("--cpus", cpus).env("WARDIAN_TEST_CAP", "cgroup:none").run().expect("ok")
    };
    let half = run("0.5");
    assert_eq!(half.text("enforced_by.cpus.level"), "absent");
    assert!(half.text("enforced_by.cpus.note").contains("0.5 were granted"), "{}", half.summary());
    assert_eq!(run("1").text("enforced_by.cpus.level"), "enforced");
    let required = Run::new("pass").option("--cpus", "0.5").option("--require", "cpus");
    required.env("WARDIAN_TEST_CAP", "cgroup:none").run().expect("sandbox_error");
}
