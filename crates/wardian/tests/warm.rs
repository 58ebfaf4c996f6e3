//! A warm run is a cold run: the same report, and nothing of another run.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use wardian::files::Input;
use wardian::host::Host;
use wardian::plan::{Plan, Program, Request};
use wardian::policy::{self, HashSeed, Policy};
use wardian::python;
use wardian::report::Report;
use wardian::sandbox::{self, Connections, Output, StdinSource};
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Rotation};

/// A program, however it is given to the interpreter.
#[derive(Clone, Debug)]
struct Case {
    program: JobProgram,
    files: Vec<(&'static str, String)>,
    args: Vec<&'static str>,
    stdin: &'static [u8],
    unbuffered: bool,
}

fn case(program: JobProgram) -> Case {
    Case { program, files: vec![], args: vec![], stdin: b"", unbuffered: false }
}

fn code(text: &str) -> Case {
    case(JobProgram::Code(text.into()))
}

fn script(name: &'static str, text: impl Into<String>) -> Case {
    Case { files: vec![(name, text.into())], ..case(JobProgram::Script(name.into())) }
}

impl Case {
    fn args(self, args: &[&'static str]) -> Case {
        Case { args: args.to_vec(), ..self }
    }

    fn stdin(self, stdin: &'static [u8]) -> Case {
        Case { stdin, ..self }
    }

    fn file(mut self, name: &'static str, text: &str) -> Case {
        self.files.push((name, text.into()));
        self
    }

    fn inputs(&self) -> Vec<Input> {
        let input = |(name, text): &(&str, String)| Input::from_bytes(name.parse().unwrap(), text.as_bytes());
        self.files.iter().map(|file| input(file).unwrap()).collect()
    }

    fn connections(&self) -> Connections {
        let kept = || Output { pass_to: None, keep: true };
        let stdin = StdinSource::Bytes(self.stdin.to_vec());
        Connections { stdin, stdout: kept(), stderr: kept(), cancel: None, collect: None }
    }

    fn cold(&self, policy: &Policy, python: &Path, host: &Host) -> Report {
        let inputs = self.inputs();
        let program = match &self.program {
            JobProgram::Script(name) => {
                Program::Script(inputs.iter().find(|input| input.name() == name.as_str()).unwrap().clone())
            }
            JobProgram::Code(text) => Program::Code(text.clone()),
            JobProgram::Module(name) => Program::Module(name.clone()),
            JobProgram::Stdin => Program::Stdin,
        };
        let request = Request {
            policy: policy.clone(),
            program,
            args: self.args.iter().map(OsString::from).collect(),
            inputs,
            cwd: None,
            python: python::Request::Path(python.into()),
            unbuffered: self.unbuffered,
        };
        let plan = Plan::build(request, host).unwrap_or_else(|error| panic!("{error}"));
        sandbox::run(plan, self.connections()).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    fn warm(&self, pool: &Pool) -> Report {
        let job = Job {
            inputs: self.inputs(),
            args: self.args.iter().map(OsString::from).collect(),
            unbuffered: self.unbuffered,
            ..Job::new(self.program.clone())
        };
        pool.run(&job, self.connections()).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// What of a report does not depend on the moment.
fn essence(report: &Report) -> Value {
    let report = serde_json::to_value(report).unwrap();
    let kept = [
        "verdict",
        "reason",
        "message",
        "exit_code",
        "signal",
        "stdout",
        "stderr",
        "limits",
        "files",
        "files_omitted",
        "denials",
        "enforced_by",
        "python",
    ];
    json!(kept.map(|name| (name, without_addresses(&report[name]))))
}

fn without_addresses(value: &Value) -> String {
    let text = value.to_string().replace("\\n", "\n");
    let mut pieces = text.split("0x");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str("0x");
        shown.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    shown
}

fn interpreters() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut found = vec![PathBuf::from("/usr/bin/python3")];
    for version in ["3.8", "3.9", "3.10", "3.12", "3.13", "3.14"] {
        let all = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
        let mut fitting = all.filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .strip_prefix(version)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        match fitting.next() {
            Some(entry) => found.push(entry.path().join("bin/python3")),
            None => eprintln!("SKIP Python {version}: not on this machine"),
        }
    }
    found.retain(|path| path.exists());
    found
}

fn options(policy: &Policy, python: &Path) -> PoolOptions {
    PoolOptions {
        policy: policy.clone(),
        python: python::Request::Path(python.into()),
        preload: vec![],
        ready: 2,
        running: 2,
        queue: 4,
        rotation: Rotation::default(),
    }
}

/// A policy under which nothing depends on chance.
fn preset(name: &str) -> Policy {
    let mut policy = policy::preset(name).unwrap();
    policy.environment.hash_seed = HashSeed::Fixed;
    policy
}

fn same(policy: &Policy, cases: &[Case]) {
    let host = Host::detect();
    for python in interpreters() {
        let pool = Pool::start(options(policy, &python), &host).unwrap_or_else(|error| panic!("{error}"));
        for case in cases {
            let (cold, warm) = (case.cold(policy, &python, &host), case.warm(&pool));
            let (cold, warm) = (essence(&cold), essence(&warm));
            for (a, b) in cold.as_array().unwrap().iter().zip(warm.as_array().unwrap()) {
                let who = format!("{} {} {:?} {:?}", python.display(), policy.name, case.program, case.args);
                let lines = |v: &Value| v[1].as_str().unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
                for (a, b) in lines(a).iter().zip(&lines(b)) {
                    assert_eq!(a, b, "{who}");
                }
                assert_eq!(a, b, "{who}");
            }
        }
    }
}

#[test]
fn a_program_cannot_tell() {
    same(
        &preset("python"),
        &[
            script("main.py", include_str!("warm/same.py")).args(&["one", "two words", ""]),
            script("main.py", include_str!("warm/same.py")).args(&["--modules"]),
            script("deep/er/other.py", include_str!("warm/same.py")).file("deep/x.txt", "x"),
            script("main.py", include_str!("warm/work.py"))
                .file("helper.py", include_str!("warm/helper.py"))
                .stdin(b"first\nsecond\nthird\n"),
        ],
    );
}

#[test]
fn it_ends_the_same() {
    let ends = [
        "_exit",
        "exit",
        "large",
        "negative",
        "text",
        "none",
        "object",
        "interrupt",
        "sigint",
        "term",
        "kill",
        "segv",
        "abort",
        "uncaught",
        "chained",
        "hook",
        "broken hook",
        "thread",
        "daemon",
        "thread error",
        "closed stdout",
        "orphan",
        "del",
        "plain",
        "open file",
        "slots",
        "weak",
        "finalize",
        "generator",
        "replaced stdout",
        "libc",
        "full",
        "recursion",
    ];
    let mut cases: Vec<Case> =
        ends.iter().map(|how| script("main.py", include_str!("warm/ends.py")).args(&[how])).collect();
    cases.push(Case { unbuffered: true, ..script("main.py", include_str!("warm/ends.py")).args(&["_exit"]) });
    cases.push(script("main.py", "def f(:\n"));
    cases.push(script("main.py", "# coding: latin-1\nprint('\u{e9}')\nraise ValueError('\u{e9}')\n"));
    cases.push(script("main.py", "import sys\nsys.stdout.write('x' * 100)\nsys.stdout.close()\n"));
    cases.push(script("main.py", ""));
    same(&preset("python"), &cases);
}

#[test]
fn however_it_is_given() {
    let module = "import sys, traceback\nprint(sys.argv, __name__, __spec__, __package__, sys.path[0], sys.orig_argv if hasattr(sys, 'orig_argv') else '')\ntraceback.print_stack()\nif len(sys.argv) > 2: 1/0\n";
    let module_case = |name: &str| case(JobProgram::Module(name.into())).file("mod.py", module);
    let same_code = include_str!("warm/same.py").replace(", __file__", "").replace("__file__", "'-'");
    let cases = [
        code("print('hello')"),
        code("import os, sys; print(sys.argv, sys.path, os.getcwd(), sorted(globals()), __name__)")
            .args(&["a", "-b"]),
        code("import sys; print(getattr(sys, 'orig_argv', None))").args(&["x y"]),
        code("1/0"),
        code("def f():\n    raise ValueError('in f')\n\nf()"),
        code("def f(:"),
        code("# coding: latin-1\nprint('\u{e9}')"),
        code("raise KeyboardInterrupt"),
        code("import sys; sys.exit('text')"),
        code("print(input())\nprint(open(0).read())").stdin(b"one\ntwo\nthree"),
        code("import inspect; print(len(inspect.stack())); print(sorted(__builtins__.__dict__)[:3])"),
        code(&format!("print({:?})", "x".repeat(100_000))),
        code(&same_code),
        module_case("mod").args(&["x"]),
        module_case("mod").args(&["x", "y"]),
        module_case("platform"),
        module_case("no_such_module"),
        case(JobProgram::Stdin)
            .stdin(b"print('from stdin')\nimport sys\nprint(sys.argv, __name__, sys.path[0] == '')\n"),
        case(JobProgram::Stdin).stdin(b"raise ValueError('x')\n"),
        case(JobProgram::Stdin).stdin(b"def f(:\n").args(&["z"]),
        case(JobProgram::Stdin),
    ];
    same(&preset("python"), &cases);
}

#[test]
fn under_every_policy() {
    let refused = "import os, socket, subprocess, sys\n\
        def attempt(name, what):\n\
        \x20   try:\n        print(name, what())\n    except Exception as error:\n        print(name, type(error).__name__, error)\n\
        attempt('write', lambda: open('/box/x', 'w'))\n\
        attempt('etc', lambda: os.listdir('/etc'))\n\
        attempt('fork', lambda: os.fork() and os.wait()[1] or os._exit(0))\n\
        attempt('socket', lambda: socket.socket(socket.AF_INET).family)\n\
        attempt('mount', lambda: os.chroot('/'))\n\
        attempt('own', lambda: (os.listdir('/box'), open(__file__).read()[:9], os.stat(__file__).st_mode))\n\
        attempt('root', lambda: os.listdir('/'))\n\
        attempt('passwd', lambda: open('/etc/passwd').read())\n\
        attempt('tmp', lambda: os.listdir('/tmp'))\n\
        attempt('proc', lambda: os.listdir('/proc/self/fd'))\n\
        attempt('home', lambda: (os.environ['HOME'], os.listdir(os.environ['HOME'])))\n";
    for name in ["strict", "codejail", "judge"] {
        let cases = [
            script("main.py", refused),
            code("print(sum(range(1000)), input())").stdin(b"line"),
            code("import threading\nt = threading.Thread(target=print, args=(1,))\nt.start(); t.join()"),
        ];
        same(&preset(name), &cases);
    }
    let mut loopback = preset("python");
    loopback.network = policy::Network::Loopback;
    let talk = "import socket\ns = socket.create_server(('127.0.0.1', 0))\nc = socket.create_connection(s.getsockname())\nprint(c.getpeername()[0])";
    same(&loopback, &[code(talk)]);
}

/// A pool of one policy with the machine's own interpreter.
fn pool(policy: &Policy, ready: usize, running: usize) -> Pool {
    let options = PoolOptions { ready, running, ..options(policy, Path::new("/usr/bin/python3")) };
    Pool::start(options, &Host::detect()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn limits_hold() {
    let mut policy = preset("python");
    let micros = policy::Duration::from_micros;
    policy.limits.wall = micros(1_500_000);
    policy.limits.cpu_time = micros(500_000);
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
        ("open('big', 'wb').write(bytes(16 << 20))", "nonzero_exit", "exit"),
        (
            "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(1,)).start()",
            "nonzero_exit",
            "exit",
        ),
    ] {
        let report = code(text).warm(&pool);
        let found = serde_json::to_value(&report).unwrap();
        assert_eq!(found["verdict"], verdict, "{text}: {found}");
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
        limits: wardian::warm::JobLimits { wall: Some(micros(9_000_000)), ..Default::default() },
        ..Job::new(JobProgram::Code("".into()))
    };
    assert!(pool.run(&raised, code("").connections()).is_err());
}

#[test]
fn nothing_of_a_run_is_left_for_the_next() {
    let pool = pool(&preset("python"), 1, 1);
    let (leave, look) = (include_str!("warm/leave.py"), include_str!("warm/look.py"));
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
    let mut preload: Vec<String> =
        ["random", "ssl", "tempfile", "uuid", "multiprocessing.process"].map(String::from).to_vec();
    if Path::new("/usr/lib/python3/dist-packages/numpy").exists() {
        preload.push("numpy".into());
    } else {
        eprintln!("SKIP numpy: not on this machine");
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
    for _ in 0..10 {
        assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
    }
    assert!(pool.levels().generation > first + 1, "{:?}", pool.levels());
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
        .args(["--exact", "hold_a_pool", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")));
    let below = below(holder.id());
    // Init, zygote; three slots of an init and a guest each; the guest's child.
    assert!(below.len() >= 9, "{below:?}");
    holder.kill().unwrap();
    let killed = std::time::Instant::now();
    let lives = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
    while below.iter().any(|pid| lives(&pid)) {
        let left: Vec<_> = below.iter().filter(lives).collect();
        assert!(killed.elapsed().as_millis() < 3000, "{left:?} of {below:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    eprintln!("everything was gone after {:?}", killed.elapsed());
    holder.wait().unwrap();
}

/// Not a test by itself: every process of its kind below it is its own.
#[test]
#[ignore = "started by another test"]
fn replace_a_zygote() {
    let pool = pool(&preset("python"), 1, 1);
    assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
    let generation = pool.levels().generation;
    let is_zygote = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("-m\0wardian"))
    };
    // The zygote is the first of them; its children look the same.
    let zygote = below(std::process::id()).into_iter().filter(is_zygote).min().unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &zygote.to_string()]).status().unwrap().success());
    while pool.levels().generation == generation {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(code("print(2)").warm(&pool).stdout.text, "2\n");
}

#[test]
fn a_zygote_that_dies_is_replaced() {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "replace_a_zygote", "--ignored"])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}
