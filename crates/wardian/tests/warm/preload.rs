//! What can be loaded ahead, and what a pool refuses.

use crate::case::{code, options, preset};
use std::path::Path;
use std::time::{Duration, Instant};
use wardian::host::Host;
use wardian::limits::cgroup::{Cap, CgroupHost};
use wardian::policy;
use wardian::warm::{Pool, PoolOptions, Preload};

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

/// As a library may warn.
#[test]
fn what_is_written_at_each_fork_is_nobody_s_and_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("loud.py");
    let text = "import os\ndef shout():\n    for stream in (1, 2): os.write(stream, b'x' * 32768)\nos.register_at_fork(before=shout)\nshout()\nshout()\nshout()\n";
    std::fs::write(&file, text).unwrap();
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..options(&preset("python"), Path::new("/usr/bin/python3")) };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    for _ in 0..6 {
        let report = code("print('quiet')").warm(&pool);
        assert_eq!(report.verdict, wardian::report::Verdict::Ok);
        assert_eq!(report.stdout.text, "quiet\n");
    }
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
fn what_a_preloaded_module_does_at_the_end_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("helper.py");
    std::fs::write(
        &file,
        "import atexit\nresults = []\natexit.register(lambda: print('at the end', results))\n",
    )
    .unwrap();
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..options(&preset("python"), Path::new("/usr/bin/python3")) };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    for end in ["", "raise SystemExit(1)"] {
        let report = code(&format!("import helper; helper.results.append(1)\n{end}")).warm(&pool);
        assert_eq!(report.stdout.text, "at the end [1]\n", "{}", report.message);
    }
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
    let run = || {
        // One that a program waits for does not rehearse.
        let started = Instant::now();
        while pool.levels().ready == 0 && started.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        code("import model, os; print(os.getpid() in model.at, len(model.at))").warm(&pool).stdout.text
    };
    // Once in the zygote, and in the sandbox itself; nothing of another.
    assert_eq!([run(), run()], ["True 2\n", "True 2\n"]);
    drop(pool);
    let only_in_zygote =
        "import os\nown = os.getpid()\ndef wardian_rehearse():\n    assert os.getpid() == own, 'elsewhere'\n";
    let error = start(only_in_zygote).map(drop).unwrap_err().to_string();
    assert_eq!(error, "AssertionError: elsewhere");
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
fn a_file_without_a_name_is_copied_for_each_run() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("mine.py");
    std::fs::write(
        &file,
        "import tempfile\nkept = tempfile.TemporaryFile(buffering=0)\nkept.write(b'first')\n",
    )
    .unwrap();
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..options(&preset("codejail"), Path::new("/usr/bin/python3")) };
    let pool = match Pool::start(options, &Host::detect()) {
        Ok(pool) => pool,
        // A copy is a memory file, and those are for programs whose memory a cgroup counts.
        Err(error) => {
            assert!(CgroupHost::locate(Cap::Any).version().is_none(), "{error}");
            assert!(error.to_string().contains("descriptor"), "{error}");
            return;
        }
    };
    let program = "import mine\nmine.kept.write(b' second')\nmine.kept.seek(0)\nprint(mine.kept.read())";
    for _ in 0..3 {
        let report = code(program).warm(&pool);
        assert_eq!(report.stdout.text, "b'first second'\n", "{}", report.message);
    }
}

#[test]
fn an_open_file_has_an_offset_of_its_own_in_each_run() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("mine.py");
    std::fs::write(&file, "import os\nkept = open(os.__file__, 'rb', buffering=0)\nFIRST = kept.read(3)\n")
        .unwrap();
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..options(&preset("python"), Path::new("/usr/bin/python3")) };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    let program = "import mine, os\nprint(mine.FIRST, mine.kept.tell(), os.get_inheritable(mine.kept.fileno()))\nmine.kept.read(4)\nprint(mine.kept.tell())";
    for _ in 0..3 {
        let report = code(program).warm(&pool);
        assert_eq!(report.stdout.text, "b'r\"\"' 3 False\n7\n", "{}", report.message);
    }
}

#[test]
fn a_file_that_is_kept_open_above_the_limit_is_said() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("mine.py");
    std::fs::write(&file, "import os\nkept = open(os.__file__)\n").unwrap();
    let mut policy = preset("python");
    policy.limits.open_files = 64;
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..options(&policy, Path::new("/usr/bin/python3")) };
    let error = Pool::start(options, &Host::detect()).map(drop).unwrap_err().to_string();
    assert!(error.contains("limits.open_files"), "{error}");
}

#[test]
fn a_zygote_that_no_sandbox_can_be_made_of_any_more_is_replaced() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("version"), "1").unwrap();
    let text = format!(
        "extends = \"python\"\nname = \"t\"\n[[files.mounts]]\nsrc = \"{}\"\ndst = \"/data\"\n",
        scratch.path().display()
    );
    let policy = policy::parse(&text, "test").unwrap();
    let modules = tempfile::tempdir().unwrap();
    let file = modules.path().join("mine.py");
    let content = "def version():\n    with open('/data/version') as file: return file.read()\nLOADED = version()\ndef wardian_rehearse(): assert version() == LOADED, 'another version'\n";
    std::fs::write(&file, content).unwrap();
    let preload = vec![Preload::File(file)];
    let options = PoolOptions { preload, ..options(&policy, Path::new("/usr/bin/python3")) };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    let job = code("import mine; print(mine.LOADED)");
    assert_eq!(job.warm(&pool).stdout.text, "1\n");
    std::fs::write(scratch.path().join("version"), "2").unwrap();
    let started = Instant::now();
    while pool.levels().generation < 2 || pool.levels().ready == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", pool.levels());
        // Those that were ready before are used up; then there may be none for a while.
        let _ = job.try_warm(&pool);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(job.warm(&pool).stdout.text, "2\n");
}

/// What starting a pool says that preloads a module of this content under a preset.
fn start_with(content: &str, preset_name: &str) -> Result<Pool, String> {
    let mut policy = preset(preset_name);
    policy.environment.set.insert("PYTHONPATH".into(), "/opt/mine".into());
    let text = format!(
        "extends = \"python\"\nname = \"t\"\n[[files.mounts]]\ntype = \"file\"\ndst = \"/opt/mine/mine.py\"\ncontent = '''\n{content}'''\n"
    );
    let mounts = policy::parse(&text, "test").unwrap_or_else(|error| panic!("{error}")).files.mounts;
    policy.files.mounts.extend(mounts);
    let options =
        PoolOptions { preload: vec!["mine".into()], ..options(&policy, Path::new("/usr/bin/python3")) };
    Pool::start(options, &Host::detect()).map_err(|error| error.to_string())
}

#[test]
fn what_children_would_share_cannot_be_preloaded() {
    let pool = start_with("VALUE = 5\n", "python").unwrap();
    let seen = code("import mine, sys; print(mine.VALUE, sys.path[1])").warm(&pool).stdout.text;
    assert_eq!(seen, "5 /opt/mine\n");
    for (content, word) in [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
            "threads",
        ),
        ("import os\nkept = os.pipe()\n", "descriptor"),
        ("kept = open('/etc/passwd')\n", "descriptor"),
        ("open('/tmp/file', 'w').close()\nkept = open('/tmp/file')\n", "descriptor"),
        ("import os\nkept = os.open('/usr', os.O_RDONLY)\n", "descriptor"),
        ("import os\nkept = os.open(os.__file__, os.O_PATH)\n", "descriptor"),
        (
            "import os\nkept = os.open('/tmp/file', os.O_CREAT | os.O_WRONLY)\nos.unlink('/tmp/file')\n",
            "descriptor",
        ),
        ("raise ValueError('no')\n", "cannot preload `mine`: ValueError: no"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    ] {
        let error = start_with(content, "python").map(drop).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

/// Under `codejail` there is no `/proc` inside: it is looked for from outside.
#[test]
fn a_module_that_maps_shared_memory_cannot_be_preloaded() {
    for content in [
        "import mmap\nkept = mmap.mmap(-1, 4096)\n",
        // It is mapped to be read, and could be made writable.
        "import mmap, tempfile\nfile = tempfile.TemporaryFile()\nfile.truncate(4096)\nkept = mmap.mmap(file.fileno(), 4096, access=mmap.ACCESS_READ)\n",
        "import ctypes\nc = ctypes.CDLL(None)\nc.shmat.restype = ctypes.c_void_p\nat = c.shmat(c.shmget(0, 4096, 0o1600), 0, 0)\nassert at != 2**64 - 1\n",
    ] {
        for policy in ["python", "codejail"] {
            let error = start_with(content, policy).map(drop).unwrap_err();
            // A mapped file's descriptor may be what is refused first.
            assert!(error.contains("which runs would share: ") || error.contains("maps memory"), "{error}");
        }
    }
}
