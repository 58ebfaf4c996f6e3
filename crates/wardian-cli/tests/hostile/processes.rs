//! The limit of processes and threads.

use crate::harness::{Outcome, Run, skip};

fn at_most(outcome: &Outcome, limit: u64) {
    let peak = outcome.get("usage.processes_peak").as_u64();
    assert!(peak.is_none_or(|peak| peak <= limit), "{}", outcome.summary());
}

#[test]
fn a_fork_bomb_is_held_and_ended() {
    let outcome =
        Run::new("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass").wall("2s").run();
    let outcome = outcome.expect_for("time_limit", "wall_time");
    assert!(outcome.number("usage.wall_us") < 2_600_000, "{}", outcome.summary());
    assert!(outcome.elapsed.as_millis() < 4000, "{}", outcome.summary());
    at_most(&outcome, 64);
}

#[test]
fn a_fork_bomb_that_raises_is_an_exit() {
    let outcome = Run::new("import os\nwhile True: os.fork()").wall("5s").run();
    at_most(&outcome, 64);
    assert_ne!(outcome.text("verdict"), "sandbox_error", "{}", outcome.summary());
}

#[test]
fn the_limit_is_exact() {
    let code = "import os, time\ncount = 1\nwhile True:\n    try:\n        if not os.fork(): time.sleep(30); os._exit(0)\n        count += 1\n    except OSError: break\nprint(count)";
    for limit in [1, 2, 5, 64] {
        let outcome = Run::new(code).option("--processes", &limit.to_string()).wall("10s").run().expect("ok");
        assert_eq!(outcome.stdout(), format!("{limit}\n"), "{}", outcome.summary());
        at_most(&outcome, limit);
    }
}

#[test]
fn threads_count() {
    let code = "import threading\nstop = threading.Event()\ncount = 1\nthreading.stack_size(131072)\ntry:\n    for _ in range(10_000):\n        threading.Thread(target=stop.wait).start(); count += 1\nexcept RuntimeError: pass\nprint(count)\nstop.set()";
    let outcome = Run::new(code).option("--processes", "20").wall("10s").run().expect("ok");
    assert_eq!(outcome.stdout(), "20\n");
}

#[test]
fn ten_thousand_threads_on_the_default() {
    let code = "import threading\nstop = threading.Event()\nthreading.stack_size(131072)\ntry:\n    for _ in range(10_000): threading.Thread(target=stop.wait).start()\nfinally: stop.set()";
    let outcome = Run::new(code).wall("10s").run();
    assert!(outcome.text("stderr.text").contains("can't start new thread"), "{}", outcome.summary());
    at_most(&outcome, 64);
    failed_of_the_limit(outcome, 64);
}

/// It failed after it was refused a process, where somebody counts that.
#[track_caller]
fn failed_of_the_limit(outcome: Outcome, limit: u64) {
    assert_eq!(outcome.number("exit_code"), 1);
    if outcome.text("enforced_by.processes.layer") != "cgroup" {
        outcome.expect_for("nonzero_exit", "exit");
        return skip("only a cgroup counts the processes that it refused");
    }
    let outcome = outcome.expect_for("process_limit", "processes");
    let message = outcome.text("message");
    assert!(
        message.contains(&format!("the {limit} processes")) && message.contains("`limits.processes`"),
        "{message}"
    );
    let denials = outcome.get("denials").as_array().unwrap();
    assert!(denials.iter().any(|denial| denial["errno"] == "EAGAIN"), "{}", outcome.summary());
}

#[test]
fn a_program_that_fails_when_it_may_not_fork_failed_of_the_limit() {
    let code = "import os, time\nfor _ in range(5):\n    if not os.fork(): time.sleep(60)";
    failed_of_the_limit(Run::new(code).option("--processes", "3").run(), 3);
    let below = "import os\nif not os.fork(): os._exit(0)\nos.wait()\nos._exit(1)";
    Run::new(below).option("--processes", "3").run().expect_for("nonzero_exit", "exit");
    let killed =
        format!("import time\ntry:\n    {}\nexcept OSError: time.sleep(60)", code.replace('\n', "\n    "));
    Run::new(killed).option("--processes", "3").wall("2s").run().expect_for("time_limit", "wall_time");
}

#[test]
fn reached_limits_show_as_denials() {
    let code = "import os, time\nfor _ in range(5):\n    try:\n        if not os.fork(): time.sleep(1); os._exit(0)\n    except OSError: pass\nos._exit(0)";
    let outcome = Run::new(code).option("--processes", "3").run().expect("ok");
    if outcome.text("enforced_by.processes.layer") != "cgroup" {
        return skip("only a cgroup counts the processes that it refused");
    }
    let denials = outcome.get("denials").as_array().unwrap();
    assert!(denials.iter().any(|denial| denial["errno"] == "EAGAIN"), "{}", outcome.summary());
}

#[test]
fn zombies_that_nobody_reaps_fill_the_limit_and_nothing_else() {
    let code = "import os, time\ncount = 0\nwhile True:\n    try:\n        if not os.fork(): os._exit(0)\n        count += 1\n    except OSError: break\nprint(count)";
    let outcome = Run::new(code).wall("10s").run().expect("ok");
    assert_eq!(outcome.stdout(), "63\n");
}

#[test]
fn vfork_and_clone_count_too() {
    let code = "import time\ncount = 1\nfor _ in range(100):\n    pid = libc.syscall(NR['clone'], 17, 0, 0, 0, 0)\n    if pid == 0: time.sleep(30); os._exit(0)\n    if pid < 0: break\n    count += 1\nprint(count)";
    let outcome = Run::with_library(code).option("--processes", "10").wall("10s").run().expect("ok");
    assert_eq!(outcome.stdout(), "10\n");
}

#[test]
fn one_sandboxs_bomb_leaves_others_their_share() {
    let bomb =
        Run::new("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass").wall("3s").start();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let code = "import os\npids = [os.fork() for _ in range(1)]\nif pids == [0]: os._exit(0)\nos.wait()\nprint('forked')";
    let outcome = Run::new(code).option("--processes", "2").wall("20s").run().expect("ok");
    assert_eq!(outcome.stdout(), "forked\n");
    bomb.finish().expect("time_limit");
}
