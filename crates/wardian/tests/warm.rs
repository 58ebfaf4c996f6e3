//! A warm run is a cold run: the same report, and nothing of another run.

#![allow(clippy::print_stderr, reason = "a test that skips says so")]

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
            JobProgram::Script(name) => Program::Script(
                inputs.iter().find(|input| input.name().to_string() == *name).unwrap().clone(),
            ),
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
    let same_code = same_code.replace("\"/proc/self/fd\"):", "\"/proc/self/fd\"):");
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
