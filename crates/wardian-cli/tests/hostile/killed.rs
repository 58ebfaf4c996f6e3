//! `kill -9` of wardian, at any moment, takes everything inside with it.

use crate::harness::{Input, Run, wardian};
use crate::leftovers;
use std::time::Duration;

const BUSY: &str = "import os, signal, sys, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nfor _ in range(5):\n    if not os.fork(): os.setsid()\nwhile True: time.sleep(0.01)";

fn start(mark: &str) -> crate::harness::Running {
    Run::new(BUSY).wall("30s").stdin(Input::Silent).arg(mark).start()
}

#[test]
fn nothing_lives_on_after_a_kill_at_any_moment() {
    let mut seed = std::process::id();
    let mut killed = vec![];
    for number in 0..20 {
        // A linear congruence: moments from the very first to well after the program's start.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let delay = u64::from(seed >> 16) % if number < 10 { 30_000 } else { 250_000 };
        let mark = format!("mark-{}-{number}", std::process::id());
        let running = start(&mark);
        std::thread::sleep(Duration::from_micros(delay));
        let pid = running.child.id();
        running.kill_9();
        leftovers::check_mark_gone(&mark, Duration::from_secs(1));
        leftovers::check_no_mounts();
        killed.push(pid);
    }
    let next = Run::new("print('next')").run().expect("ok");
    assert_eq!(next.stdout(), "next\n");
    for pid in killed {
        leftovers::check_no_groups(pid);
    }
}

#[test]
fn gc_removes_what_a_killed_one_left() {
    let running = start("mark-gc");
    std::thread::sleep(Duration::from_millis(600));
    let pid = running.child.id();
    running.kill_9();
    let output = wardian().arg("gc").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    leftovers::check_no_groups(pid);
}

#[test]
fn gc_leaves_the_living_alone() {
    let running = Run::new("import time\ntime.sleep(1.5)\nprint('lived')").wall("10s").start();
    std::thread::sleep(Duration::from_millis(600));
    assert!(wardian().arg("gc").status().unwrap().success());
    assert_eq!(running.finish().expect("ok").stdout(), "lived\n");
}

#[test]
fn a_signal_to_wardian_is_a_cancelled_run() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let running = start("mark-cancel");
        std::thread::sleep(Duration::from_millis(600));
        let pid = running.child.id().to_string();
        let kill = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(kill.success());
        let outcome = running.finish().expect_for("cancelled", "cancelled");
        assert_eq!(outcome.exit_code, code);
        assert!(outcome.elapsed.as_secs() < 5);
    }
}
