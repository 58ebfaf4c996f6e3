//! What a pool promises: limits, isolation of one run from the next, clean ends.

use crate::case::{code, options, pool, preset};
use std::io::Write as _;
use std::path::Path;
use wardian::host::Host;
use wardian::policy;
use wardian::report::Source;
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Preload, Rotation};

#[test]
fn limits_hold() {
    let mut policy = preset("python");
    let micros = policy::Duration::from_micros;
    policy.limits.wall = micros(5_000_000);
    policy.limits.cpu_time = micros(300_000);
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
seen = open('/proc/self/net/unix').read().count('left')
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
        ("import time\nwhile time.process_time() < 0.3: pass", 1, 0, 300_000),
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

#[test]
fn no_two_runs_draw_the_same() {
    let draw = "import os, random, secrets, ssl, tempfile, uuid, multiprocessing\n\
        print(random.random(), uuid.uuid4(), os.path.basename(tempfile.mkdtemp()), ssl.RAND_bytes(8).hex(), secrets.token_hex(8), multiprocessing.current_process().authkey.hex())\n\
        try:\n    import numpy; print(numpy.random.random(), numpy.random.default_rng().random())\n\
        except ImportError: pass\n";
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
fn what_cannot_be_preloaded_is_an_error_at_once() {
    let start = |module: &str| {
        let options = PoolOptions {
            preload: vec![module.into()],
            ..options(&preset("python"), Path::new("/usr/bin/python3"))
        };
        Pool::start(options, &Host::detect()).map(drop).unwrap_err().to_string()
    };
    assert_eq!(
        start("no_such_module"),
        "cannot preload `no_such_module`: ModuleNotFoundError: No module named 'no_such_module'"
    );
    assert!(start("antigravity_").starts_with("cannot preload"));
}

/// As root each run would need the mount for itself.
#[test]
fn a_mount_that_is_written_as_its_owner_is_for_cold_runs() {
    let directory = tempfile::tempdir().unwrap();
    let start = |more: &str| {
        let mount =
            format!("src = \"{}\"\ndst = \"/data\"\nwritable = true\n{more}", directory.path().display());
        let text = format!("extends = \"python\"\nname = \"t\"\n[[files.mounts]]\n{mount}");
        let policy = policy::parse(&text, "test").unwrap();
        Pool::start(options(&policy, Path::new("/usr/bin/python3")), &Host::detect()).map(drop)
    };
    match start("as_owner = true\n") {
        Ok(()) => assert!(!rustix::process::geteuid().is_root()),
        Err(error) => assert!(error.to_string().contains("as its owner"), "{error}"),
    }
    start("as_owner = false\n").unwrap();
}

#[test]
fn files_of_the_host_are_modules_that_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.py");
    std::fs::write(
        &file,
        "import json\nloaded = [json.loads('[1]')]\ndef answer():\n    raise KeyError(loaded)\n",
    )
    .unwrap();
    let preload = vec![Preload::File(file.clone())];
    let options = PoolOptions { preload, ..options(&preset("python"), Path::new("/usr/bin/python3")) };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    // What it was when the pool began is what every sandbox has.
    std::fs::write(&file, "raise SystemExit\n").unwrap();
    let report = code(
        "import sys; print('model' in sys.modules); import model; print(model.__file__); model.answer()",
    )
    .warm(&pool);
    assert_eq!(report.stdout.text, "True\n/opt/wardian-start/model.py\n");
    assert!(
        report.stderr.text.contains("line 4, in answer\n    raise KeyError(loaded)\n"),
        "{}",
        report.stderr.text
    );
    let report = code("import model; model.loaded.append(2); print(model.loaded)").warm(&pool);
    assert_eq!(report.stdout.text, "[[1], 2]\n");

    std::fs::write(&file, "1 / 0\n").unwrap();
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..self::options(&preset("python"), Path::new("/usr/bin/python3")) };
    let error = Pool::start(options, &Host::detect()).map(drop).unwrap_err().to_string();
    assert_eq!(error, "cannot preload `model.py`: ZeroDivisionError: division by zero");
}

#[test]
fn files_of_the_host_rehearse_in_every_sandbox() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.py");
    let start = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let preload = vec![Preload::File(file.clone())];
        let python = Path::new("/usr/bin/python3");
        Pool::start(PoolOptions { preload, ..options(&preset("python"), python) }, &Host::detect())
    };
    let pool = start("import os\nat = set()\ndef wardian_rehearse(): at.add(os.getpid())\n").unwrap();
    let run =
        || code("import model, os; print(os.getpid() in model.at, len(model.at))").warm(&pool).stdout.text;
    // Once in the zygote, and in the sandbox itself; nothing of another.
    assert_eq!([run(), run()], ["True 2\n", "True 2\n"]);
    drop(pool);
    let only_in_zygote =
        "import os\nown = os.getpid()\ndef wardian_rehearse():\n    assert os.getpid() == own, 'elsewhere'\n";
    let error = start(only_in_zygote).map(drop).unwrap_err().to_string();
    assert_eq!(error, "AssertionError: elsewhere");
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

#[test]
fn a_zygote_is_replaced_when_it_is_old() {
    let options = PoolOptions {
        rotation: Rotation { sandboxes: 3, ..Rotation::default() },
        ..options(&preset("python"), Path::new("/usr/bin/python3"))
    };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    let first = pool.levels().generation;
    // Runs go on while the next one starts.
    let mut runs = 0;
    while pool.levels().generation <= first + 1 {
        assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
        runs += 1;
        assert!(runs < 1000, "{:?}", pool.levels());
    }
    assert!(runs >= 4);
}

/// What makes its successor impossible may be over soon; runs need not fail meanwhile.
#[test]
fn an_old_zygote_goes_on_if_the_next_cannot_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let python = directory.path().join("python3");
    let link = || std::os::unix::fs::symlink(std::fs::canonicalize("/usr/bin/python3").unwrap(), &python);
    link().unwrap();
    let rotation = Rotation { sandboxes: 2, ..Rotation::default() };
    let pool = Pool::start(PoolOptions { rotation, ..options(&preset("python"), &python) }, &Host::detect());
    let pool = pool.unwrap();
    std::fs::remove_file(&python).unwrap();
    let mut first = None;
    for _ in 0..20 {
        assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
        // One that had been begun may have come yet.
        first = first.or_else(|| pool.overdue().map(|_| pool.levels().generation));
    }
    let (why, first) = (pool.overdue().unwrap(), first.unwrap());
    assert!(why.contains("python3"), "{why}");
    assert_eq!(pool.levels().generation, first);
    link().unwrap();
    let started = std::time::Instant::now();
    while pool.overdue().is_some() {
        assert!(started.elapsed().as_secs() < 20);
        code("").warm(&pool);
    }
    assert!(pool.levels().generation > first);
}

/// Not a test: a process for `a_killed_supervisor_leaves_nothing` to kill.
#[test]
#[ignore = "started by another test"]
fn hold_a_pool() {
    let pool = pool(&preset("python"), 2, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| code("import os, time\nos.fork()\ntime.sleep(60)").warm(&pool));
        while pool.levels().running < 1 || pool.levels().ready < 2 {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        println!("holding");
    });
}

/// Every process below `pid`, however it comes to be there.
fn below(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let all = || std::fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<u32> = all().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut next = 0;
    while next < found.len() {
        let above = found[next];
        found.extend(pids.iter().filter(|pid| parent(**pid) == Some(above)));
        next += 1;
    }
    found.remove(0);
    found
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    use std::io::BufRead;
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "pool::hold_a_pool", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")));
    let below = below(holder.id());
    // Init, zygote; three slots of an init and a guest each; the guest's child.
    assert!(below.len() >= 9, "{below:?}");
    let owner = format!("wardian-{}-", holder.id());
    holder.kill().unwrap();
    let killed = std::time::Instant::now();
    let lives = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
    while below.iter().any(|pid| lives(&pid)) {
        let left: Vec<_> = below.iter().filter(lives).collect();
        assert!(killed.elapsed().as_millis() < 3000, "{left:?} of {below:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    holder.wait().unwrap();
    // Directories of cgroups stay until somebody sweeps: a pool does when it starts.
    let cgroups = Host::detect();
    let left = || {
        let above = cgroups.cgroups().directories().into_iter();
        let entries = above.filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&owner)).count()
    };
    let _sweeper = pool(&preset("python"), 1, 1);
    let swept = std::time::Instant::now();
    while left() > 0 {
        assert!(swept.elapsed().as_secs() < 5, "{} groups are left", left());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The zygote of a pool that is at rest, then its ready sandboxes; no other test may have some in this process.
fn zygote_and_ready(pool: &Pool) -> (u32, Vec<u32>) {
    // One that is made meanwhile would not be among them.
    while pool.levels().ready == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let is_interpreter = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("-m\0wardian"))
    };
    let mut found: Vec<u32> = below(std::process::id()).into_iter().filter(is_interpreter).collect();
    // The zygote is the first of them; its children look the same.
    found.sort_unstable();
    (found.remove(0), found)
}

fn signal(name: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Starts a test that needs a process of its own.
fn in_a_process(name: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "started by another test"]
fn end_a_sandbox_before_its_program() {
    let pool = pool(&preset("python"), 1, 1);
    let (_, ready) = zygote_and_ready(&pool);
    let [guest] = ready[..] else { panic!("{ready:?}") };
    // It cannot begin, and ends before it does.
    signal("-STOP", guest);
    let status = || std::fs::read_to_string(format!("/proc/{guest}/status")).unwrap();
    while !status().contains("State:\tT") {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    std::thread::scope(|scope| {
        let job = scope.spawn(|| code("print(1)").warm(&pool).stdout.text);
        while pool.levels().ready > 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!job.is_finished());
        signal("-KILL", guest);
        assert_eq!(job.join().unwrap(), "1\n");
    });
}

#[test]
fn a_run_that_had_not_begun_takes_another_sandbox() {
    in_a_process("pool::end_a_sandbox_before_its_program");
}

#[test]
#[ignore = "started by another test"]
fn replace_a_zygote() {
    let pool = pool(&preset("python"), 1, 1);
    assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
    let generation = pool.levels().generation;
    let (zygote, ready) = zygote_and_ready(&pool);
    let old = [&[zygote][..], &ready].concat();
    signal("-KILL", zygote);
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    while !old.iter().all(gone) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // Jobs that come meanwhile wait for the next one.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..3).for_each(|_| assert_eq!(code("print(2)").warm(&pool).stdout.text, "2\n")));
        }
    });
    assert!(pool.levels().generation > generation);
}

#[test]
fn a_zygote_that_dies_is_replaced() {
    in_a_process("pool::replace_a_zygote");
}

#[test]
fn an_interpreter_that_a_sandbox_would_hide_is_refused() {
    // Below `/tmp`, which is each program's own.
    let directory = tempfile::Builder::new().prefix("venv").tempdir_in("/tmp").unwrap();
    let mut make = std::process::Command::new("/usr/bin/python3");
    let made = make.args(["-m", "venv", "--without-pip"]).arg(directory.path()).status().unwrap();
    assert!(made.success());
    let options = PoolOptions {
        python: wardian::python::Request::Venv(directory.path().into()),
        ..options(&preset("python"), Path::new("/usr/bin/python3"))
    };
    let error = Pool::start(options, &Host::detect()).map(drop).unwrap_err().to_string();
    assert!(error.contains("lies in a place that is new in each run"), "{error}");
}

#[test]
fn what_children_would_share_cannot_be_preloaded() {
    let start = |content: &str| {
        let mut policy = preset("python");
        policy.environment.set.insert("PYTHONPATH".into(), "/opt/mine".into());
        let text = format!(
            "extends = \"python\"\nname = \"t\"\n[[files.mounts]]\ntype = \"file\"\ndst = \"/opt/mine/mine.py\"\ncontent = '''\n{content}'''\n"
        );
        policy.files.mounts =
            policy::parse(&text, "test").unwrap_or_else(|error| panic!("{error}")).files.mounts;
        let options =
            PoolOptions { preload: vec!["mine".into()], ..options(&policy, Path::new("/usr/bin/python3")) };
        let pool = Pool::start(options, &Host::detect());
        let seen = pool
            .as_ref()
            .map(|pool| code("import mine, sys; print(mine.VALUE, sys.path[1])").warm(pool).stdout.text);
        seen.map_err(ToString::to_string)
    };
    assert_eq!(start("VALUE = 5\n"), Ok("5 /opt/mine\n".into()));
    for (content, word) in [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
            "threads",
        ),
        ("kept = open('/etc/passwd')\n", "descriptor"),
        ("import mmap\nkept = mmap.mmap(-1, 4096)\n", "maps memory"),
        ("raise ValueError('no')\n", "cannot preload `mine`: ValueError: no"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    ] {
        let error = start(content).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}
