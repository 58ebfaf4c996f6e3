//! What a pool promises: limits, isolation of one run from the next, a bounded queue.

use crate::case::{code, options, pool, preset};
use std::io::Write as _;
use std::path::Path;
use wardian::host::Host;
use wardian::policy;
use wardian::report::Source;
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Preload};

#[test]
fn limits_hold() {
    let mut policy = preset("python");
    let micros = policy::Duration::from_micros;
    policy.limits.wall = micros(5_000_000);
    policy.limits.cpu_time = micros(1_000_000);
    policy.limits.memory = policy::Bytes(96 << 20);
    policy.limits.disk = policy::Bytes(8 << 20);
    policy.limits.output = policy::Bytes(4096);
    policy.limits.processes = 8;
    let pool = pool(&policy, 2, 1);
    let burn_in_orphan = "import os\nif os.fork() == 0:\n    if os.fork() == 0:\n        while True: pass\n    os._exit(0)\nos.wait()\nimport time; time.sleep(60)";
    let hoard_in_orphan = "import os, time\nif os.fork() == 0:\n    if os.fork() == 0:\n        kept = []\n        while True: kept.append(bytearray(1 << 20))\n    os._exit(0)\nos.wait()\ntime.sleep(60)";
    for (text, verdict, reason) in [
        ("import time; time.sleep(60)", "time_limit", "wall_time"),
        ("while True: pass", "time_limit", "cpu_time"),
        (burn_in_orphan, "time_limit", "cpu_time"),
        ("x = bytearray(300 << 20)", "memory_limit", ""),
        ("kept = []\nwhile True: kept.append(bytearray(1 << 20))", "memory_limit", ""),
        (hoard_in_orphan, "memory_limit", ""),
        ("import sys\nfor _ in range(1000): sys.stdout.write('x' * 100)", "ok", "exit"),
        ("open('big', 'wb').write(bytes(16 << 20))", "disk_limit", "disk_bytes"),
        (
            "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(1,)).start()",
            "",
            "",
        ),
    ] {
        let report = code(text).warm(&pool);
        let found = serde_json::to_value(&report).unwrap();
        // Only a cgroup counts refused threads, and makes their limit the verdict.
        let refused = ["process_limit", "nonzero_exit"].iter().any(|name| found["verdict"] == *name);
        assert!(found["verdict"] == verdict || (verdict.is_empty() && refused), "{text}: {found}");
        if !reason.is_empty() {
            assert_eq!(found["reason"], reason, "{text}: {found}");
        }
    }
    let lowered = Job {
        limits: wardian::warm::JobLimits { wall: Some(micros(200_000)), ..Default::default() },
        ..Job::new(JobProgram::Code("import time; time.sleep(60)".into()))
    };
    let report = pool.run(&lowered, code("").connections()).unwrap();
    assert_eq!(report.limits.wall_us, 200_000);
    assert!(report.usage.wall_us < 1_000_000, "{}", report.usage.wall_us);
    let raised = Job {
        limits: wardian::warm::JobLimits { wall: Some(micros(90_000_000)), ..Default::default() },
        ..Job::new(JobProgram::Code("".into()))
    };
    assert!(pool.run(&raised, code("").connections()).is_err());
}

/// A socket in a message that nobody has received is the last to go.
#[test]
fn a_network_namespace_is_used_again_with_nothing_left_in_it() {
    let pool = pool(&preset("python"), 1, 1);
    let leave = "import array, socket
left = socket.socket(socket.AF_UNIX)
left.bind('\\0left')
left.listen()
one, other = socket.socketpair()
rights = array.array('i', [left.fileno(), one.fileno(), other.fileno()])
one.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
";
    let look = "import os, socket
try: seen = open('/proc/self/net/unix').read().count('left')
except FileNotFoundError: seen = 0
socket.socket(socket.AF_UNIX).bind('\\0left')
print(seen, os.readlink('/proc/self/ns/net'))
";
    for _ in 0..6 {
        let left = code(leave).warm(&pool);
        assert_eq!(left.exit_code, Some(0), "{left:?}");
        let seen = code(look).warm(&pool);
        assert!(seen.stdout.text.starts_with("0 net:["), "{seen:?}");
    }
    // Those that leave nothing have few between them.
    const RUNS: usize = 12;
    let namespaces: std::collections::BTreeSet<_> =
        (0..RUNS).map(|_| code(look).warm(&pool).stdout.text).collect();
    assert!(namespaces.len() < RUNS, "each had a namespace of its own: {namespaces:?}");
}

/// Its cgroup may have been another's.
#[test]
fn a_report_tells_of_its_own_run_only() {
    let pool = pool(&preset("python"), 1, 1);
    if code("").warm(&pool).usage_source.get("memory_peak_bytes") != Some(&Source::Kernel) {
        let _ = writeln!(std::io::stderr(), "SKIP a_report_tells_of_its_own_run_only: no cgroup");
        return;
    }
    let small = |after: &str| {
        for _ in 0..3 {
            let usage = code("print('hello')").warm(&pool).usage;
            let (memory, processes) =
                (usage.memory_peak_bytes.unwrap_or(0), usage.processes_peak.unwrap_or(1));
            let cpu = usage.cpu_user_us.unwrap_or(0) + usage.cpu_system_us.unwrap_or(0);
            assert!(processes == 1 && cpu < 200_000, "after {after}: {usage:?}");
            // A small program, and what the kernel charges in advance.
            assert!(memory <= 4 << 20 && memory.is_multiple_of(1 << 20), "after {after}: {usage:?}");
        }
    };
    small("nothing");
    for (text, processes, memory, cpu) in [
        ("kept = bytearray(100 << 20)", 1, 100 << 20, 0),
        // The process has used some before the program began, which is not told.
        (
            "from time import process_time as used\nend = used() + 0.3\nwhile used() < end: pass",
            1,
            0,
            299_000,
        ),
        (
            "import threading, time\nfor _ in range(5): threading.Thread(target=time.sleep, args=(0.1,)).start()",
            6,
            0,
            0,
        ),
        ("open('file', 'wb').write(bytes(30 << 20))", 1, 30 << 20, 0),
    ] {
        let usage = code(text).warm(&pool).usage;
        assert!(usage.processes_peak.is_none_or(|peak| peak == processes), "{text}: {usage:?}");
        assert!(usage.memory_peak_bytes.is_none_or(|peak| peak >= memory), "{text}: {usage:?}");
        assert!(
            usage.cpu_user_us.unwrap_or(cpu) + usage.cpu_system_us.unwrap_or(0) >= cpu,
            "{text}: {usage:?}"
        );
        small(text);
    }
}

#[test]
fn nothing_of_a_run_is_left_for_the_next() {
    let pool = pool(&preset("python"), 1, 1);
    let (leave, look) = (include_str!("guests/leave.py"), include_str!("guests/look.py"));
    let clean = code(look).warm(&pool).stdout.text;
    let expected = "[[], [], [], []]\nConnection refused\nsysv -1 -1 -1\nFalse False wardian 1\n['2']\n";
    assert_eq!(clean, expected);
    for _ in 0..3 {
        let left = code(leave).warm(&pool);
        // Outside a memory cgroup there is no System V shared memory.
        assert!(left.stdout.text == "sysv 0 0 0\n" || left.stdout.text.starts_with("sysv -1"), "{left:?}");
        assert_eq!(code(look).warm(&pool).stdout.text, clean);
    }
}

/// An ordinary user's program owns the root that it sees, and Landlock does not look at modes, times and attributes.
#[test]
fn a_root_that_a_program_can_change_is_its_own() {
    let places = "('/', '/usr', '/etc', '/etc/passwd', '/dev', '/opt', '/box', '/dev/shm')";
    let look = format!(
        "import os\nfor p in {places}:\n    try:\n        s = os.stat(p)\n        print(p, oct(s.st_mode), s.st_mtime == 77777, os.listxattr(p))\n    except OSError as e: print(p, e.errno)\nimport decimal"
    );
    let change = format!(
        "import os\nfor p in {places}:\n    for do in (lambda: os.setxattr(p, 'user.x', b'mine'), lambda: os.utime(p, (1, 77777)), lambda: os.truncate(p, 0), lambda: os.chmod(p, 0o500)):\n        try: do()\n        except OSError: pass\nos._exit(0)"
    );
    for name in ["codejail", "python", "strict"] {
        let pool = pool(&preset(name), 2, 1);
        let clean = code(&look).warm(&pool);
        assert_eq!((clean.exit_code, clean.stderr.text.as_str()), (Some(0), ""), "{name}");
        assert!(!clean.stdout.text.contains("True"), "{name}: {}", clean.stdout.text);
        for _ in 0..3 {
            code(&change).warm(&pool);
            assert_eq!(code(&look).warm(&pool).stdout.text, clean.stdout.text, "{name}");
        }
    }
}

#[test]
fn no_two_runs_draw_the_same() {
    let draw = "import os, random, secrets, ssl, tempfile, uuid, multiprocessing\n\
        print(random.random(), uuid.uuid4(), os.path.basename(tempfile.mkdtemp()), ssl.RAND_bytes(8).hex(), secrets.token_hex(8), multiprocessing.current_process().authkey.hex())\n\
        try:\n    import numpy; print(numpy.random.random(), numpy.random.default_rng().random())\n\
        except (ImportError, AttributeError): pass\n";
    let mut preload: Vec<Preload> =
        ["random", "ssl", "tempfile", "uuid", "multiprocessing.process"].map(Preload::from).to_vec();
    if Path::new("/usr/lib/python3/dist-packages/numpy").exists() {
        preload.push("numpy".into());
    } else {
        let _ = writeln!(std::io::stderr(), "SKIP numpy: not on this machine");
    }
    let options = PoolOptions { preload, ..options(&preset("python"), Path::new("/usr/bin/python3")) };
    let pool = Pool::start(options, &Host::detect()).unwrap_or_else(|error| panic!("{error}"));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let report = code(draw).warm(&pool);
        assert_eq!(report.stderr.text, "");
        for word in report.stdout.text.split_ascii_whitespace() {
            assert!(seen.insert(word.to_owned()), "{word} was drawn twice");
        }
    }
}

#[test]
fn a_full_queue_says_so_and_draining_ends() {
    let options = PoolOptions {
        ready: 1,
        running: 1,
        queue: 1,
        ..options(&preset("python"), Path::new("/usr/bin/python3"))
    };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    let sleep = || code("import time; time.sleep(0.5); print('slept')");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| sleep().warm(&pool));
        while pool.levels().running == 0 {
            std::thread::yield_now();
        }
        let second = scope.spawn(|| sleep().warm(&pool));
        while pool.levels().queued == 0 {
            std::thread::yield_now();
        }
        let third = pool.run(&Job::new(JobProgram::Stdin), code("").connections());
        assert!(matches!(third, Err(wardian::warm::WarmError::Busy { queue: 1 })), "{third:?}");
        pool.drain();
        let levels = pool.levels();
        assert_eq!((levels.running, levels.queued), (0, 0));
        assert_eq!(first.join().unwrap().stdout.text, "slept\n");
        assert_eq!(second.join().unwrap().stdout.text, "slept\n");
        let late = pool.run(&Job::new(JobProgram::Stdin), code("").connections());
        assert!(matches!(late, Err(wardian::warm::WarmError::Draining)), "{late:?}");
    });
}
