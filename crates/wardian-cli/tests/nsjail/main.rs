//! nsjail's config files, run unchanged on a machine that has their paths.
//!
//! The machine is made: a root directory with those paths, entered in a mount namespace of the test's own,
//! which only root may do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod document;
mod machine;

use machine::{Machine, skip};
use serde_json::Value;
use std::process::Output;
use std::time::{Duration, Instant};

const SEED: &str = include_str!("../../../wardian-nsjail/tests/fixtures/seed-nsjail.cfg");
const SEED_JSON: &str = include_str!("../../../wardian-nsjail/tests/fixtures/seed-nsjail.json");
const SNEKBOX: &str = include_str!("../../../wardian-nsjail/tests/fixtures/snekbox.cfg");

fn machine(config: &str) -> Option<Machine> {
    if skip() {
        return None;
    }
    let machine = Machine::new();
    machine.write("sandbox.cfg", config);
    Some(machine)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program in `/sandbox` as the article does.
fn run(machine: &Machine, code: &str, options: &[&str]) -> Output {
    machine.write("sandbox/hello.py", code);
    let mut words = vec!["run", "--nsjail-config", "/sandbox.cfg"];
    words.extend_from_slice(options);
    words.extend(["--", "python", "-Su", "hello.py", "an argument"]);
    machine.wardian(&words)
}

#[track_caller]
fn expect(output: &Output, code: i32, stdout: &str) {
    let seen = (output.status.code(), text(&output.stdout));
    assert_eq!(seen, (Some(code), stdout.to_owned()), "{}", text(&output.stderr));
}

#[test]
fn the_article_s_config_runs_its_program() {
    for config in [SEED, SEED_JSON] {
        let Some(machine) = machine(config) else { return };
        let output = run(&machine, "import sys\nprint('hello', sys.argv[1])", &[]);
        expect(&output, 0, "hello an argument\n");
        let log = text(&output.stderr);
        let (time, rest) = log.split_once("] pid=").expect(&log);
        assert!(time.starts_with("[I][20") && time.ends_with("+0000"), "{log}");
        assert!(rest.ends_with(" ([STANDALONE MODE]) exited with status: 0, (PIDs left: 0)\n"), "{log}");
    }
}

#[test]
fn exit_codes_are_nsjails() {
    let Some(machine) = machine(SEED) else { return };
    expect(&run(&machine, "raise SystemExit(3)", &[]), 3, "");
    expect(&run(&machine, "raise SystemExit(255)", &[]), 255, "");
    let crash = run(&machine, "import os\nos.kill(os.getpid(), 11)", &[]);
    expect(&crash, 139, "");
    assert!(text(&crash.stderr).contains("terminated with signal: SIGSEGV (11)"));
    let big = run(&machine, "b = [bytearray(1 << 20) for _ in range(200)]\nprint('alive')", &[]);
    expect(&big, 137, "");
    assert!(text(&big.stderr).contains("memory"), "{}", text(&big.stderr));
}

#[test]
fn the_time_limit_ends_a_run_as_nsjail_does() {
    let Some(machine) = machine(SEED) else { return };
    let started = Instant::now();
    let output = run(&machine, "import time\ntime.sleep(60)", &[]);
    let elapsed = started.elapsed();
    expect(&output, 137, "");
    assert!(text(&output.stderr).contains("run time >= time limit (6 >= 6) ([STANDALONE MODE]). Killing it"));
    assert!((Duration::from_secs(6)..Duration::from_secs(9)).contains(&elapsed), "{elapsed:?}");
}

#[test]
fn the_cpu_time_of_a_process_is_a_time_limit_and_no_kill_by_the_program() {
    let Some(machine) = machine(&format!("{SEED} rlimit_cpu: 1")) else { return };
    let output = run(&machine, "while True: pass", &["--report", "/tmp/report.json", "--wall", "60"]);
    expect(&output, 137, "");
    let report: Value = serde_json::from_str(&machine.read("tmp/report.json")).unwrap();
    assert_eq!((&report["verdict"], &report["reason"]), (&"time_limit".into(), &"cpu_time".into()));
    let message = report["message"].as_str().unwrap();
    assert!(message.contains("ms of CPU time; one process may use 1s"), "{message}");
}

#[test]
fn the_program_is_contained_as_the_config_says() {
    const CODE: &str = r#"
import os, socket, threading
print(os.getuid(), os.getgid(), socket.gethostname(), os.getcwd(), sorted(os.environ.keys() - {"LC_CTYPE"}))
print(sorted(os.listdir("/")))
def attempt(name, act):
    try:
        act()
        print(name, "done")
    except (OSError, RuntimeError) as error:
        print(name, getattr(error, "errno", None) or error)
attempt("write", lambda: open("/sandbox/new", "w"))
attempt("root", lambda: open("/new", "w"))
attempt("loopback", lambda: socket.create_connection(("127.0.0.1", 9)))
attempt("outside", lambda: socket.create_connection(("192.0.2.1", 9), 1))
attempt("thread", lambda: threading.Thread(target=print).start())
attempt("fork", os.fork)
attempt("random", lambda: open("/dev/random", "rb").read(1))
attempt("null", lambda: open("/dev/null"))
attempt("proc", lambda: os.listdir("/proc"))
"#;
    let Some(machine) = machine(SEED) else { return };
    let output = run(&machine, CODE, &[]);
    let variables = "['LANG', 'MKL_NUM_THREADS', 'NUMEXPR_NUM_THREADS', 'OMP_NUM_THREADS', \
                     'OPENBLAS_NUM_THREADS', 'PYTHONIOENCODING', 'PYTHONPATH', 'VECLIB_MAXIMUM_THREADS']";
    let expected = format!(
        "65534 65534 sandbox /sandbox {variables}\n\
         ['bin', 'dev', 'etc', 'lib', 'lib64', 'sandbox', 'usr']\n\
         write 30\nroot 30\nloopback 1\noutside 1\nthread can't start new thread\nfork 11\nrandom done\n\
         null 2\nproc 2\n"
    );
    expect(&output, 0, &expected);
}

#[test]
fn what_cannot_be_run_is_255_with_the_reason() {
    let Some(machine) = machine(SEED) else { return };
    let attempt = |config: &str, words: &[&str]| {
        machine.write("bad.cfg", config);
        let mut all = vec!["run", "--nsjail-config", "/bad.cfg"];
        all.extend_from_slice(words);
        let output = machine.wardian(&all);
        assert_eq!(output.status.code(), Some(255), "{config}: {}", text(&output.stderr));
        text(&output.stderr)
    };
    let sh = "mount { src: '/bin/sh' dst: '/bin/sh' is_bind: true }";
    for (config, words, reason) in [
        ("name: ", &["--", "/bin/sh"][..], "/bad.cfg"),
        ("nonsense: 1", &["--", "/bin/sh"], "nonsense"),
        ("mode: LISTEN", &["--", "/bin/sh"], "`mode`: LISTEN"),
        (sh, &[], "no program"),
        (sh, &["--", "python"], "no program `python` in the directories of PATH inside"),
        (sh, &["--", "/bin/bash"], "/bin/bash"),
        ("cwd: '/w'", &["--", "/bin/sh"], "the working directory `/w` is not there inside"),
        ("mount { src: '/no' dst: '/no' is_bind: true }", &["--", "/bin/sh"], "mount source `/no`"),
        ("log_fd: 77", &["--", "/bin/sh"], "`log_fd`: 77"),
        ("mount { dst: '/' fstype: 'tmpfs' rw: true }", &["--", "/x"], "`/`: the root itself is read-only"),
        ("mount { src: '/bin' dst: '/b' is_bind: true is_dir: false }", &["--", "/x"], "drop `is_dir`"),
        (
            "mount { src: '/sandbox' dst: '/s' is_bind: true } mount { dst: '/s/t' fstype: 'tmpfs' }",
            &["--", "/x"],
            "`/s/t`",
        ),
    ] {
        let said = attempt(config, words);
        assert!(said.contains(reason), "{config}: {said}");
    }
    let output = machine.wardian(&["run", "--nsjail-config", "/none.cfg", "--", "/bin/sh"]);
    assert_eq!(output.status.code(), Some(255));
}

#[test]
fn the_command_line_wins_over_the_config() {
    let Some(machine) = machine(SEED) else { return };
    let started = Instant::now();
    let output = run(&machine, "while True: pass", &["--wall", "0.5"]);
    expect(&output, 137, "");
    assert!(started.elapsed() < Duration::from_secs(4));
    let output = run(&machine, "import os\nprint(os.environ['A'])", &["--env", "A=b"]);
    expect(&output, 0, "b\n");
}

#[test]
fn reports_are_made_in_this_mode_too() {
    let Some(machine) = machine(SEED) else { return };
    let output = run(&machine, "print('x' * 20_000_000)", &["--json", "--report", "/tmp/report.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["verdict"], &report["policy"]["name"]), (&"ok".into(), &"sandbox".into()));
    assert_eq!(report["stdout"]["text"].as_str().unwrap().len(), 16 << 20);
    assert_eq!(
        (&report["stdout"]["bytes"], &report["stdout"]["truncated"]),
        (&20_000_001.into(), &true.into())
    );
    assert_eq!(machine.read("tmp/report.json"), text(&output.stdout));
    let output = machine.wardian(&["run", "--nsjail-config", "/none.cfg", "--json", "--", "x"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "sandbox_error");
}

#[test]
fn what_is_passed_through_has_no_limit_and_is_not_kept() {
    let Some(machine) = machine(SEED) else { return };
    let code = "import sys\nfor _ in range(600): sys.stdout.write('x' * 99_999 + chr(10))";
    let output = run(&machine, code, &["--report", "/tmp/report.json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 60_000_000));
    let report: Value = serde_json::from_str(&machine.read("tmp/report.json")).unwrap();
    assert_eq!((&report["stdout"]["text"], &report["stdout"]["passed_through"]), (&"".into(), &true.into()));
}

#[test]
fn streams_and_log_go_where_the_config_sends_them() {
    let hello = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint(repr(sys.stdin.read()))";
    let Some(machine) = machine(&format!("{SEED} silent: true log_file: '/tmp/jail.log'")) else { return };
    let output = run(&machine, hello, &[]);
    expect(&output, 0, "");
    assert_eq!(text(&output.stderr), "");
    assert!(machine.read("tmp/jail.log").contains("exited with status: 0"));
    machine.write("sandbox.cfg", &format!("{SEED} stderr_to_null: true log_level: ERROR"));
    let output = run(&machine, hello, &[]);
    expect(&output, 0, "out\n''\n");
    assert_eq!(text(&output.stderr), "");
    machine.write("sandbox.cfg", &format!("{SEED} log_fd: 9"));
    let words = "exec 9>>/tmp/fd.log; exec /wardian run --nsjail-config /sandbox.cfg -- python hello.py";
    expect(&machine.shell(words), 0, "out\n''\n");
    assert!(machine.read("tmp/fd.log").contains("exited with status: 0"));
}

#[test]
fn what_is_dropped_or_left_out_is_said() {
    let more = "seccomp_string: 'KILL { geteuid } DEFAULT ALLOW' mount { src: '/x' dst: '/proc/x' is_symlink: true mandatory: false }";
    let Some(machine) = machine(&format!("{SEED} {more}")) else { return };
    let refused = run(&machine, "print(1)", &[]);
    expect(&refused, 255, "");
    assert!(text(&refused.stderr).contains("`seccomp_string`: `geteuid`: a config cannot take away"));
    let output = run(&machine, "print(1)", &["--best-effort"]);
    expect(&output, 0, "1\n");
    let said = text(&output.stderr);
    assert!(said.contains("wardian: dropped `seccomp_string`: "), "{said}");
    assert!(said.contains("wardian: left out mount `/proc/x`: "), "{said}");
}

#[test]
fn an_imported_policy_runs_a_program_that_lies_elsewhere_inside() {
    const CONFIG: &str = "cwd: '/t' mount { src: '/lib' dst: '/lib' is_bind: true } mount { src: '/lib64' dst: '/lib64' is_bind: true } mount { src: '/usr/lib' dst: '/usr/lib' is_bind: true } mount { src: '/usr/bin/python3' dst: '/inside/python' is_bind: true } mount { dst: '/t' fstype: 'tmpfs' rw: true } envar: 'PATH=/inside'";
    let Some(machine) = machine(CONFIG) else { return };
    let imported = machine.wardian(&["policy", "import-nsjail", "/sandbox.cfg"]);
    let policy = text(&imported.stdout);
    assert!(policy.contains("--cwd \"/t\" --exec PROGRAM ARGS"), "{policy}");
    machine.write("sandbox/imported.toml", &policy);
    for (program, code) in [("/inside/python", 0), ("python", 0), ("/usr/bin/python3", 127)] {
        let words = ["run", "--policy", "/sandbox/imported.toml", "--cwd", "/t", "--exec", program];
        let output = machine.wardian(&[&words[..], &["-Sc", "print('inside')"]].concat());
        expect(&output, code, if code == 0 { "inside\n" } else { "" });
    }
}

#[test]
fn calls_that_are_refused_anyway_may_be_named() {
    let policy =
        "seccomp_string: 'POLICY p { KILL { ptrace, syslog } }' seccomp_string: 'USE p DEFAULT ALLOW'";
    let Some(machine) = machine(&format!("{SEED} {policy}")) else { return };
    let code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.ptrace(0, 0, 0, 0), ctypes.get_errno())";
    expect(&run(&machine, code, &[]), 0, "-1 1\n");
}

#[test]
fn every_kind_of_mount_is_made_in_order() {
    const CONFIG: &str = r"
        cwd: '/t'
        mount { src: '/lib' dst: '/lib' is_bind: true }
        mount { src: '/lib64' dst: '/lib64' is_bind: true }
        mount { src: '/usr/lib' dst: '/usr/lib/' is_bind: true }
        mount { src: '/usr/bin/python3' dst: '/bin/python' is_bind: true }
        mount { dst: '/t' fstype: 'tmpfs' rw: true options: 'size=1m,mode=1777' }
        mount { dst: '/r' fstype: 'tmpfs' }
        mount { src_content: 'made' dst: '/r/a/file' }
        mount { src: '/sandbox' dst: '/r/b' is_bind: true }
        mount { src: '/r/a' dst: '/link' is_symlink: true }
        mount { src: '/nothing' dst: '/n' is_bind: true mandatory: false }
        mount { src: '/dev/null' dst: '/dev/null' is_bind: true rw: true }
        mount_proc: true
        exec_bin { path: '/bin/python' arg0: 'snake' arg: '-c' arg: 'CODE' }";
    let code = r#"import os, sys
def attempt(act):
    try: return act() or "done"
    except OSError as error: return error.errno
print(sys.orig_argv[0], os.getcwd(), sorted(os.listdir("/")), sorted(os.listdir("/r")), os.listdir("/proc/self/fd") != [])
print(open("/link/file").read(), open("/dev/null", "r+b").read(), sorted(os.listdir("/r/b")))
print([attempt(lambda: open(path, "w").close()) for path in ("/t/x", "/r/x", "/r/b/x", "/dev/null", "/x")])
print(attempt(lambda: open("/t/big", "wb").write(bytes(2 << 20))))"#;
    let config = CONFIG.replace("CODE", &code.replace('\n', "\\n").replace('\'', "\\'"));
    let Some(machine) = machine(&config) else { return };
    machine.write("sandbox/hello.py", "");
    let output = machine.wardian(&["run", "--nsjail-config", "/sandbox.cfg"]);
    // 27: nsjail's default limit of a file is the size of this tmpfs, and comes first.
    let expected = "snake /t ['bin', 'dev', 'lib', 'lib64', 'link', 'proc', 'r', 't', 'usr'] ['a', 'b'] True\n\
                    made b'' ['hello.py']\n['done', 30, 30, 'done', 30]\n27\n";
    expect(&output, 0, expected);
}

#[test]
fn a_program_opened_outside_need_not_be_inside() {
    let libraries =
        "mount { src: '/lib' dst: '/lib' is_bind: true } mount { src: '/lib64' dst: '/lib64' is_bind: true }";
    let config =
        format!("{libraries} exec_bin {{ path: '/bin/sh' exec_fd: true arg: '-c' arg: 'echo $0 in $PWD' }}");
    let Some(machine) = machine(&config) else { return };
    expect(&machine.wardian(&["run", "--nsjail-config", "/sandbox.cfg"]), 0, "/bin/sh in /\n");
    machine.write("sandbox.cfg", "exec_bin { path: '/bin/sh' exec_fd: true }");
    let without_loader = machine.wardian(&["run", "--nsjail-config", "/sandbox.cfg"]);
    let said = text(&without_loader.stderr);
    assert_eq!(without_loader.status.code(), Some(255), "{said}");
    assert!(said.contains("no program `/bin/sh` inside the sandbox, or not the loader"), "{said}");
}

#[test]
fn a_snekbox_config_runs_its_programs() {
    const CODE: &str = r#"
import os, socket
from multiprocessing import Pool, shared_memory
if __name__ == "__main__":
    open("out.txt", "w").write("x")
    shared = shared_memory.SharedMemory(create=True, size=1 << 20)
    shared.close(); shared.unlink()
    with Pool(2) as pool:
        print(pool.map(abs, [-1, -2]))
    print(socket.gethostname(), os.environ["HOME"], os.environ["PYTHON_COLORS"])
"#;
    let Some(machine) = machine(SNEKBOX) else { return };
    machine.write("files/main.py", CODE);
    machine.open_to_all("files");
    let python = "/snekbin/python/default/bin/python";
    let words =
        ["run", "--nsjail-config", "/sandbox.cfg", "--mount", "src=/files,dst=/home,rw", "--", python];
    let run = |args: &[&str]| machine.wardian(&[&words[..], args].concat());
    expect(&run(&["main.py"]), 0, "[1, 2]\nsnekbox /home 1\n");
    assert_eq!(machine.read("files/out.txt"), "x");
    expect(&run(&["-c", "b = [bytearray(1 << 20) for _ in range(200)]"]), 137, "");
}
