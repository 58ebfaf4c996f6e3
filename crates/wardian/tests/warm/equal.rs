//! The same programs cold and warm: identical reports, usage and times aside.

use crate::case::{Case, case, code, essence, interpreters, options, pool, preset, script};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use wardian::host::Host;
use wardian::policy::{self, Policy};
use wardian::report::Verdict;
use wardian::warm::{Job, JobLimits, JobProgram, Pool, PoolOptions, Preload};

fn same(policy: &Policy, cases: &[Case]) {
    same_beside(&[], policy, cases);
}

/// With modules that are preloaded: files that a cold run finds among its own.
fn same_beside(preload: &[Preload], policy: &Policy, cases: &[Case]) {
    let host = Host::detect();
    for python in interpreters() {
        // Before 3.11 what they hold is not let go of at the end, see docs/theory-of-operation.md.
        let is_old = ["/3.8", "/3.9", "/3.10"].iter().any(|old| python.to_string_lossy().contains(old));
        if is_old && !preload.is_empty() {
            continue;
        }
        let options = PoolOptions { preload: preload.to_vec(), ..options(policy, &python) };
        let pool = Pool::start(options, &host).unwrap_or_else(|error| panic!("{error}"));
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
fn results_come_back() {
    let open = "import os\nfor n in range(3, 64):\n    try: os.fstat(n); print(n)\n    except OSError: pass";
    same(
        &preset("python"),
        &[
            code(open),
            code(open).result(100),
            code("import os; os.write(3, b'{\"x\": [1, null]}')").result(100),
            code("import os; os.write(3, b'[' * 50); os.close(3)").result(100),
            code("import os; os.write(3, b'\"' + b'x' * 4000 + b'\"')").result(100),
            code("pass").result(100),
            code("import os\ntry: os.write(3, b'1')\nexcept OSError as error: print(error)"),
            code("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import os; os.write(3, b\"1\")'], close_fds=False)")
                .result(100),
        ],
    );
}

/// Limits that a job lowers are those of a cold run under a policy that has them.
#[test]
fn lowered_limits_are_limits() {
    let base = preset("python");
    let mut lower = base.clone();
    lower.limits.wall = policy::Duration::from_micros(20_000_000);
    lower.limits.memory = policy::Bytes(96 << 20);
    lower.limits.processes = 12;
    lower.limits.disk = policy::Bytes(8 << 20);
    lower.limits.output = policy::Bytes(4096);
    let mut limits = JobLimits {
        wall: Some(lower.limits.wall),
        memory: Some(lower.limits.memory),
        processes: Some(lower.limits.processes),
        disk: Some(lower.limits.disk),
        output: Some(lower.limits.output),
        ..JobLimits::default()
    };
    let (host, python) = (Host::detect(), Path::new("/usr/bin/python3"));
    let pool = pool(&base, 2, 1);
    if pool.check_limits(&limits).is_err() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP lowered_limits_are_limits: the number of processes, which no cgroup counts here"
        );
        limits.processes = None;
        lower.limits.processes = base.limits.processes;
    }
    for text in [
        "import os; print([os.statvfs(p).f_blocks for p in ('/box', '/tmp', '/dev/shm')])",
        "import resource; print(resource.getrlimit(resource.RLIMIT_FSIZE))",
        "import os; print({k: v for k, v in os.environ.items() if 'THREADS' in k})",
        "x = bytearray(60 << 20); print(len(x))",
        "x = bytearray(300 << 20)",
        "open('/tmp/big', 'wb').write(bytes(16 << 20))",
        "open('/box/a', 'wb').write(bytes(7 << 20)); print('fits')",
        "import time, threading\nfor _ in range(20): threading.Thread(target=time.sleep, args=(1,)).start()",
        "import os\nfor _ in range(20):\n    if os.fork() == 0: os.read(os.pipe()[0], 1)",
        "print('x' * 10000)",
    ] {
        let case = code(text);
        let job = Job { limits: limits.clone(), ..Job::new(case.program.clone()) };
        let warm = pool.run(&job, case.connections()).unwrap();
        let cold = case.cold(&lower, python, &host);
        assert_eq!(essence(&warm), essence(&cold), "{text}");
    }
    let after = code("import os; print(os.statvfs('/box').f_blocks * 4096)").warm(&pool);
    assert_eq!(after.stdout.text, format!("{}\n", base.limits.disk.0), "the next has the policy's again");
}

#[test]
fn limits_that_cannot_be_lowered_are_said() {
    let pool = pool(&preset("python"), 1, 1);
    let bytes = |bytes| Some(policy::Bytes(bytes));
    for (limits, name) in [
        (JobLimits { memory: bytes(4 << 30), ..JobLimits::default() }, "memory"),
        (JobLimits { memory: bytes(8 << 20), ..JobLimits::default() }, "memory"),
        (JobLimits { memory: bytes(64 << 20), disk: bytes(65 << 20), ..JobLimits::default() }, "disk"),
        (JobLimits { disk: bytes(0), ..JobLimits::default() }, "disk"),
        (JobLimits { processes: Some(1), ..JobLimits::default() }, "processes"),
        (JobLimits { processes: Some(100_000), ..JobLimits::default() }, "processes"),
    ] {
        let error = pool.check_limits(&limits).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
        let job = Job { limits, ..Job::new(JobProgram::Code("pass".into())) };
        assert!(pool.run(&job, code("").connections()).is_err());
    }
}

#[test]
fn a_program_cannot_tell() {
    same(
        &preset("python"),
        &[
            script("main.py", include_str!("guests/same.py")).args(&["one", "two words", ""]),
            script("main.py", include_str!("guests/same.py")).args(&["--modules"]),
            script("deep/er/other.py", include_str!("guests/same.py")).file("deep/x.txt", "x"),
            script("main.py", include_str!("guests/work.py"))
                .file("helper.py", include_str!("guests/helper.py"))
                .stdin(b"first\nsecond\nthird\n"),
        ],
    );
}

const ENDS: [&str; 53] = [
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
    "closed file",
    "memory file",
    "own file",
    "own stdout",
    "raising stdout",
    "no stdout",
    "slots",
    "weak",
    "finalize",
    "generator",
    "replaced stdout",
    "libc",
    "full",
    "recursion",
    "kept stream",
    "frozen",
    "database",
    "sub-interpreter",
    "proxy",
    "weak subclass",
    "unhashable type",
    "asking type",
    "lazy class",
    "patched builtins",
    "patched exit",
    "traced",
    "profiled",
    "many objects",
];

fn ends() -> Vec<Case> {
    let ended = |how: &&'static str| script("main.py", include_str!("guests/ends.py")).args(&[how]);
    ENDS.iter().map(ended).map(|case| case.file("holder.py", HOLDER)).collect()
}

/// A module that holds the streams, as numpy does.
const HOLDER: &str = "import sys\ndef say(text, stream=sys.stdout): print(text, file=stream)\n";

#[test]
fn it_ends_the_same_beside_modules_that_hold_the_streams() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("holder.py");
    std::fs::write(&path, HOLDER).unwrap();
    let mut cases = ends();
    let kept = cases.iter().find(|case| case.args == ["kept stream"]).unwrap().clone();
    cases.push(Case { unbuffered: true, ..kept });
    same_beside(&[path.to_str().unwrap().into()], &preset("python"), &cases);
}

#[test]
fn it_ends_the_same() {
    let mut cases = ends();
    cases.push(Case {
        unbuffered: true,
        ..script("main.py", include_str!("guests/ends.py")).args(&["_exit"])
    });
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
    let same_code = include_str!("guests/same.py").replace(", __file__", "").replace("__file__", "'-'");
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

/// What the interpreter imports to run a program may be the program's own, and is under its limits then.
#[test]
fn a_file_in_the_place_of_a_module_of_the_interpreter() {
    let mut policy = preset("python");
    policy.limits.wall = policy::Duration::from_micros(300_000);
    let module =
        |name| case(JobProgram::Module("main".into())).file("main.py", "").file(name, "while True: pass\n");
    let given = |name| code("pass").file(name, "while True: pass\n");
    for python in interpreters() {
        let pool = Pool::start(options(&policy, &python), &Host::detect()).unwrap();
        for name in ["runpy.py", "types.py", "linecache.py", "contextlib.py", "importlib.py"] {
            for case in [module(name), given(name)] {
                let started = Instant::now();
                let report = case.warm(&pool);
                let who = format!("{name}, {}: {}", python.display(), report.message);
                assert!(
                    [Verdict::Ok, Verdict::TimeLimit, Verdict::NonzeroExit].contains(&report.verdict),
                    "{who}"
                );
                assert!(started.elapsed() < Duration::from_secs(10), "{who}");
            }
        }
    }
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

/// What everyday programs import does not keep them from ending at once.
#[test]
fn what_programs_import_is_known_at_their_end() {
    let end = include_str!("../../src/warm/harness/wardian_end.py");
    let code = "import sys\n\
        import asyncio, csv, dataclasses, datetime, decimal, hashlib, json, math, multiprocessing.pool, random, re\n\
        import socket, ssl, statistics, subprocess, tempfile, typing, unittest, uuid, zlib\n\
        for name in ('numpy', 'pandas', 'matplotlib.pyplot'):\n    \
            try: __import__(name)\n    \
            except ImportError: pass\n\
        modules, end = dict(sys.modules), {}\n\
        exec(sys.argv[1], end)\n\
        print([name for name, module in modules.items() if not end['is_quiet'](name, module)])";
    for python in interpreters() {
        let output = std::process::Command::new(&python).args(["-c", code, end]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "[]\n", "{}: {}", python.display(), String::from_utf8_lossy(&output.stderr));
    }
}
