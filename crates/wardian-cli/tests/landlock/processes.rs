//! Other processes, and the run's own: none is reached, none survives.

use crate::harness::{self, PYTHON, Place, attempts, command, outside, processes_of, run, unavailable};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// What a program may do to a process of the same user, `argv[1]`; the last attempt ends it.
const VICTIM: &str = r#"
import resource
victim = int(sys.argv[1])
attempt("signal 0", lambda: os.kill(victim, 0))
attempt("stop", lambda: os.kill(victim, signal.SIGCONT))
attempt("limit", lambda: resource.prlimit(victim, resource.RLIMIT_NOFILE, (64, 64)))
attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, victim, 5))
attempt("affinity", lambda: os.sched_setaffinity(victim, os.sched_getaffinity(0)))
attempt("scheduler", lambda: os.sched_setscheduler(victim, os.SCHED_BATCH, os.sched_param(0)))
attempt("environment", lambda: open("/proc/%d/environ" % victim).read())
attempt("memory", lambda: open("/proc/%d/mem" % victim, "rb"))
attempt("trace", lambda: call("ptrace", 0x4206, victim, 0, 0))
attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGKILL))
"#;

fn victim() -> Child {
    Command::new(PYTHON).args(["-c", "import time; time.sleep(60)"]).spawn().unwrap()
}

#[test]
fn other_processes_are_out_of_reach() {
    if unavailable() {
        return;
    }
    let place = Place::new("victim");
    let mut control = victim();
    let free = outside(VICTIM, &[&control.id().to_string()], place.root());
    for (name, (result, detail)) in &free {
        // Where tracing is only for parents, a sibling is refused that outside as well.
        assert!(result == "ok" || ["memory", "trace"].contains(&&**name), "{name}: {result} {detail}");
    }
    assert!(!control.wait().unwrap().success());
    let mut target = victim();
    let seen = attempts(&run(&[], VICTIM, &[&target.id().to_string()]));
    assert_eq!(seen.len(), free.len());
    for (name, (result, _)) in &seen {
        assert!(["EPERM", "EACCES"].contains(&&**result), "{name}: {result}");
    }
    assert!(target.try_wait().unwrap().is_none());
    target.kill().unwrap();
    target.wait().unwrap();
}

#[test]
fn its_own_init_and_the_supervisor_are_out_of_reach() {
    if unavailable() {
        return;
    }
    let code = "for number in (0, 1, 2, 9, 15, 18, 19):\n    attempt(str(number), lambda: os.kill(os.getppid(), number))\nattempt('everybody', lambda: os.kill(-1, 0))\nchild = os.fork()\nif not child: time.sleep(60)\nattempt('child', lambda: os.kill(child, 9))";
    let seen = attempts(&run(&[], code, &[]));
    for (name, (result, _)) in &seen {
        assert_eq!(result, if ["everybody", "child"].contains(&&**name) { "ok" } else { "EPERM" }, "{name}");
    }
}

#[test]
fn whoever_forks_and_leaves_is_ended_with_the_program() {
    if unavailable() {
        return;
    }
    // Sleepers, and ones that fork and end as fast as they can: no pid lives long.
    let code = "for _ in range(3):\n    if not os.fork():\n        os.setsid()\n        if os.fork(): os._exit(0)\n        time.sleep(60)\nif not os.fork():\n    os.setsid()\n    while True:\n        if os.fork(): os._exit(0)\ntime.sleep(0.2)\nprint('left')";
    for _ in 0..3 {
        let started = Instant::now();
        // `run` checks that nobody is left.
        let report = run(&[], code, &[]);
        assert_eq!((&report["verdict"], &report["stdout"]["text"]), (&"ok".into(), &"left\n".into()));
        // Those that are ending hold nothing, although they cannot be looked at.
        let peak = report["usage"]["memory_peak_bytes"].as_u64().unwrap();
        assert!(peak < 256 << 20, "{peak}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[test]
fn what_orphans_use_is_counted() {
    if unavailable() {
        return;
    }
    let code = "if not os.fork():\n    if os.fork(): os._exit(0)\n    os.setsid()\n    end = time.process_time() + 0.5\n    while time.process_time() < end: pass\n    os._exit(0)\nos.wait()\ntime.sleep(2)";
    let report = run(&[], code, &[]);
    assert_eq!(report["verdict"], "ok", "{report:#}");
    let used = |field: &str| report["usage"][field].as_u64().unwrap();
    assert!(used("cpu_user_us") + used("cpu_system_us") > 450_000, "{report:#}");
}

#[test]
fn a_killed_supervisor_takes_everybody_with_it() {
    if unavailable() {
        return;
    }
    let place = Place::new("killed");
    let code = "for _ in range(4):\n    if not os.fork():\n        os.setsid()\n        if os.fork(): os._exit(0)\n        break\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nopen('ready', 'w')\nwhile True: time.sleep(0.01)";
    let mut child = command(&place, &[], code, &[]).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("five processes run", || processes_of(&place).len() >= 5);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("everybody is gone", || processes_of(&place).is_empty());
    let left = || std::fs::read_dir(place.path("tmp")).unwrap().count();
    assert_eq!(left(), 1, "the private directory stays until it is swept");
    let gc = harness::wardian().arg("gc").env("TMPDIR", place.path("tmp")).output().unwrap();
    assert!(String::from_utf8_lossy(&gc.stdout).contains("wardian-scratch-"), "{gc:?}");
    assert_eq!(left(), 0);
}

#[test]
fn a_directory_in_use_is_not_swept() {
    if unavailable() {
        return;
    }
    let place = Place::new("in-use");
    let mut child = command(&place, &[], "open('ready', 'w')\ntime.sleep(2)\nprint(os.listdir('.'))", &[])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it runs", || !processes_of(&place).is_empty());
    let gc = harness::wardian().arg("gc").env("TMPDIR", place.path("tmp")).output().unwrap();
    assert!(gc.stdout.is_empty(), "{gc:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    harness::check_nothing_left(&place);
}

#[test]
fn a_killed_init_takes_the_program_with_it() {
    if unavailable() {
        return;
    }
    let place = Place::new("init");
    let mut child =
        command(&place, &[], "time.sleep(60)", &[]).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("it runs", || !processes_of(&place).is_empty());
    let guest = processes_of(&place).into_iter().next().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{guest}/stat")).unwrap();
    let init: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_ne!(init.cast_unsigned(), child.id());
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(init).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(125));
    wait_until("the program is gone", || processes_of(&place).is_empty());
    harness::check_nothing_left(&place);
}

#[track_caller]
fn wait_until(what: &str, is: impl Fn() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
