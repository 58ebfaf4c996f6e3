//! Many at once.

use crate::harness::{Input, Run, wardian};
use std::process::Stdio;

const HOSTILE: [&str; 8] = [
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "held = []\nwhile True: held.append(b'x' * (1 << 20))",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
    "import os\nn = 0\ntry:\n    while True: open('/tmp/%d' % n, 'w').write('x' * 5000); n += 1\nexcept OSError: pass\nwhile True: pass",
    "import os, signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nos.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass",
    "import socket\nwhile True:\n    try: socket.socket(socket.AF_INET)\n    except OSError: pass",
    "import os\nwhile True:\n    try:\n        if os.fork(): os._exit(0)\n    except OSError: pass",
    "import os\nif os.fork():\n    while True: os.kill(-1, 19)\nwhile True: pass",
];

#[test]
fn eight_hostile_ones_at_once_end_each_for_its_own_reason() {
    let runs: Vec<_> = HOSTILE
        .iter()
        .enumerate()
        .map(|(number, code)| {
            // The others leave the one that fills memory little of a slow machine's time.
            let wall = if number == 1 { "30s" } else { "3s" };
            let run = Run::new(*code).wall(wall).memory("64M", "16M").option("--processes", "20");
            run.option("--output", "256K").stdin(Input::Silent).start()
        })
        .collect();
    let outcomes: Vec<_> = runs.into_iter().map(crate::harness::Running::finish).collect();
    for (number, outcome) in outcomes.iter().enumerate() {
        let verdict = outcome.text("verdict").to_owned();
        let fine = match number {
            1 => verdict == "memory_limit",
            6 => ["ok", "time_limit"].contains(&verdict.as_str()),
            0 | 3 => ["time_limit", "memory_limit"].contains(&verdict.as_str()),
            _ => verdict == "time_limit",
        };
        assert!(fine, "{number}: {}", outcome.summary());
        let in_time = number == 1 || outcome.number("usage.wall_us") < 4_500_000;
        assert!(in_time, "{number}: {}", outcome.summary());
    }
}

#[test]
fn fifty_at_once_from_processes_of_their_own() {
    let children: Vec<_> = (0..50)
        .map(|number| {
            let mut command = wardian();
            command.args(["run", "--wall", "60s", "-c", &format!("print({number})")]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{number}: {words}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"), "{words}");
        assert_eq!(words, "");
        crate::leftovers::check_no_groups(pid);
    }
}

#[test]
fn runs_at_once_have_ids_of_their_own() {
    // Two sandboxes of one host id could signal and trace each other if a namespace failed.
    let code = "import os, time\nprint(os.getpid())\ntime.sleep(4)";
    let runs: Vec<_> = (0..4).map(|_| Run::new(code).start()).collect();
    let is_root = crate::harness::is_root() && std::env::var_os("WARDIAN_TEST_USER").is_none();
    let mut owners = vec![];
    for run in &runs {
        let started = std::time::Instant::now();
        let owner = loop {
            let owner = crate::leftovers::guest_owner(run.child.id());
            // Until it has become its own, init's is that of whoever started it.
            let has_become = !is_root || owner.is_some_and(|owner| owner != 0);
            if has_become || started.elapsed().as_secs() > 3 {
                break owner;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        owners.extend(owner);
    }
    let ids: std::collections::BTreeSet<_> =
        runs.into_iter().map(|run| run.finish().expect("ok").text("id").to_owned()).collect();
    assert_eq!(ids.len(), 4);
    if !is_root {
        return crate::harness::skip("an ordinary user's sandboxes run under its own id");
    }
    assert_eq!(owners.len(), 4, "{owners:?}");
    let distinct: std::collections::BTreeSet<_> = owners.iter().collect();
    assert_eq!(distinct.len(), 4, "{owners:?}");
    assert!(owners.iter().all(|owner| *owner >= 100_000), "{owners:?}");
}

#[test]
fn descriptors_on_their_way_keep_nobody_else_from_starting() {
    // The kernel counts them for a host user, and the sandboxes of an ordinary user share one.
    let hoard = "import array, socket, time\nheld = []\ntry:\n    while len(held) < 200:\n        a, b = socket.socketpair(); held.append((a, b))\n        a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 250))])\nexcept OSError as error: print(error.errno)\nprint(time.time())\ntime.sleep(6)";
    let hoarder = Run::new(hoard).start();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let outcome = Run::new("import time\nprint(time.time())").run().expect("ok");
    let hoarded = hoarder.finish().expect("ok");
    let at = |text: &str| text.lines().last().unwrap().parse::<f64>().unwrap();
    assert!(hoarded.stdout().starts_with("109\n"), "ETOOMANYREFS: {}", hoarded.summary());
    assert!(at(hoarded.stdout()) < at(outcome.stdout()), "{} {}", hoarded.stdout(), outcome.stdout());
}

#[test]
fn signals_and_timers_are_left_for_the_callers_other_programs() {
    let code = "import ctypes, os, signal\nlibc = ctypes.CDLL(None)\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(34, 65))\nn = 0\nwhile n < 20_000 and libc.sigqueue(os.getpid(), 40, 0) == 0: n += 1\nprint(n)";
    let free = crate::control::python().args(["-c", code]).output().unwrap();
    let count = |text: &str| text.trim().parse::<u32>().unwrap();
    assert!(count(&String::from_utf8_lossy(&free.stdout)) > 1000);
    let outcome = Run::new(code).run().expect("ok");
    assert!((1..=512).contains(&count(outcome.stdout())), "{}", outcome.summary());
}
