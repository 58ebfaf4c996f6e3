//! The wall limit against programs that do not want to end.

use crate::harness::{Input, Outcome, Run};
use std::time::Duration;

/// What a noisy machine may add to the 50 ms promised on an idle one.
const OVERRUN: u64 = 500_000;

fn ends_in_time(code: &str) -> Outcome {
    let outcome = Run::new(code).wall("1s").stdin(Input::Silent).run();
    let outcome = outcome.expect_for("time_limit", "wall_time");
    let wall = outcome.number("usage.wall_us");
    assert!((990_000..1_000_000 + OVERRUN).contains(&wall), "{}", outcome.summary());
    assert!(outcome.elapsed < Duration::from_millis(2500), "{}", outcome.summary());
    assert!(outcome.get("exit_code").is_null(), "{}", outcome.summary());
    outcome
}

#[test]
fn an_endless_loop() {
    ends_in_time("while True: pass");
}

#[test]
fn sleep() {
    ends_in_time("import time\ntime.sleep(100)");
}

#[test]
fn a_read_that_gets_nothing() {
    ends_in_time("import sys\nsys.stdin.read()");
}

#[test]
fn all_signals_ignored_and_blocked() {
    ends_in_time(
        "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: time.sleep(1)",
    );
}

#[test]
fn it_stops_itself() {
    ends_in_time(
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nos.kill(0, signal.SIGSTOP)\nwhile True: pass",
    );
}

#[test]
fn it_stops_its_whole_group_and_everybody() {
    ends_in_time(
        "import os, signal\nif os.fork():\n    while True: os.kill(-1, signal.SIGSTOP)\nwhile True:\n    os.kill(os.getppid(), signal.SIGSTOP)",
    );
}

#[test]
fn children_in_sessions_of_their_own_spin() {
    ends_in_time(
        "import os\nfor _ in range(8):\n    if not os.fork():\n        os.setsid()\n        break\nwhile True: pass",
    );
}

#[test]
fn a_fork_chain_runs_away() {
    // Each generation lives for a moment only, so that a kill by process id always comes late.
    ends_in_time(
        "import os, signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork():\n    signal.pause()\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass",
    );
}

#[test]
fn a_daemon_does_not_outlive_the_program() {
    let code = "import os, time\nif not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n    while True: time.sleep(0.01)\nprint('end')";
    let outcome = Run::new(code).wall("10s").run().expect_for("ok", "exit");
    assert!(outcome.elapsed < Duration::from_secs(3), "{}", outcome.summary());
    assert_eq!(outcome.stdout(), "end\n");
}

#[test]
fn a_daemon_that_holds_the_streams_open_does_not_hold_the_end() {
    let code = "import os, time\nif not os.fork():\n    os.setsid()\n    while True: os.write(1, b'.'); time.sleep(0.01)\nos._exit(6)";
    let outcome = Run::new(code).wall("10s").run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 6);
    assert!(outcome.elapsed < Duration::from_secs(3), "{}", outcome.summary());
}

#[test]
fn a_program_just_within_its_time_is_not_ended() {
    let outcome =
        Run::new("import time\ntime.sleep(0.7)\nprint('in time')").wall("1500ms").run().expect("ok");
    assert_eq!(outcome.stdout(), "in time\n");
}

#[test]
fn timers_and_clocks_do_not_move_the_limit() {
    ends_in_time(
        "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\nwhile True:\n    try: time.clock_settime(time.CLOCK_REALTIME, 0)\n    except OSError: pass",
    );
}

#[test]
fn raised_priority_and_affinity_do_not_move_the_limit() {
    ends_in_time(
        "import os\ntry: os.nice(-20)\nexcept OSError: pass\ntry: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))\nexcept OSError: pass\nfor _ in range(20):\n    if not os.fork(): break\nwhile True: pass",
    );
}

/// Takes the processor from pid 1, which shares the program's id where wardian runs as an ordinary user.
const STARVE: &str = "import os\nfor function in (lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)), lambda: os.sched_setaffinity(1, [min(os.sched_getaffinity(0))])):\n    try: function()\n    except OSError: pass\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nfor _ in range(60):\n    if not os.fork(): break\nwhile True: pass";

#[test]
fn a_starved_init_does_not_move_the_limit() {
    ends_in_time(STARVE);
}

#[test]
fn a_starved_init_dies_with_a_killed_wardian() {
    let running = Run::new(STARVE).wall("20s").stdin(Input::Silent).start();
    std::thread::sleep(Duration::from_millis(1200));
    running.kill_9();
}
