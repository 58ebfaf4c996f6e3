//! The same programs cold and warm: identical reports, usage and times aside.

use crate::case::{Case, case, code, essence, interpreters, options, preset, script};
use serde_json::Value;
use wardian::host::Host;
use wardian::policy::{self, Policy};
use wardian::warm::{JobProgram, Pool};

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
            script("main.py", include_str!("guests/same.py")).args(&["one", "two words", ""]),
            script("main.py", include_str!("guests/same.py")).args(&["--modules"]),
            script("deep/er/other.py", include_str!("guests/same.py")).file("deep/x.txt", "x"),
            script("main.py", include_str!("guests/work.py"))
                .file("helper.py", include_str!("guests/helper.py"))
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
        ends.iter().map(|how| script("main.py", include_str!("guests/ends.py")).args(&[how])).collect();
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
