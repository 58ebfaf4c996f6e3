//! Below other filters: of a supervisor that already listens to seccomp notifications, of which the kernel allows but one, and
//! of one that refuses what we can do without.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output};

const PYTHON: &str = "/usr/bin/python3.11";

/// Installs a filter as `argv[1]` says, one that allows everything but has a listener, or one that refuses to tell and to change
/// on which cores one may be; and runs `argv[2:]` below it.
const PARENT: &str = r#"
import ctypes, os, platform, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
if sys.argv[1] == "listen":
    allow = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    seccomp = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    libc.prctl(38, 1, 0, 0, 0)
    listener = libc.syscall(seccomp, 1, 1 << 3, ctypes.byref(Program(1, allow)))
    if listener < 0:
        sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
if sys.argv[1] == "no-affinity":
    numbers = {"x86_64": (203, 204, 309), "aarch64": (122, 123, 168)}[platform.machine()]
    code = [(0x20, 0, 0, 0)]
    code += [(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    code += [(0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x00050001)]
    code = b"".join(struct.pack("HBBI", *each) for each in code)
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0):
        sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
    try: sys.exit(os.sched_getaffinity(0))
    except PermissionError: pass
child = os.fork()
if not child:
    os.execv(sys.argv[2], sys.argv[2:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

/// One call that is refused, and what came of it.
const GUEST: &str = "import socket\ntry: socket.socket(socket.AF_INET)\nexcept OSError as e: print(e.errno)";

fn below(mode: &str, args: &[&str]) -> Option<Output> {
    if !std::path::Path::new(PYTHON).exists() {
        // Not eprintln!, which the test harness swallows for tests that pass.
        let _ = writeln!(std::io::stderr(), "SKIP nested: there is no {PYTHON}");
        return None;
    }
    let binary = std::env::var("WARDIAN_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_wardian").into());
    let run = [&[PARENT, mode, &binary, "run", "--json", "--python", PYTHON], args, &["-c", GUEST]].concat();
    Some(Command::new(PYTHON).arg("-c").args(run).env_remove("WARDIAN_TEST_CAP").output().unwrap())
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_listener_above_leaves_plain_refusals_and_the_report_says_so() {
    let (Some(alone), Some(nested)) = (below("alone", &[]), below("listen", &[])) else { return };
    let (alone, nested) = (report(&alone), report(&nested));
    for report in [&alone, &nested] {
        assert_eq!(
            (&report["verdict"], &report["stdout"]["text"]),
            (&"ok".into(), &"1\n".into()),
            "{report:#}"
        );
        assert_eq!(report["enforced_by"]["syscalls"]["level"], "enforced", "{report:#}");
    }
    assert_eq!(
        (alone["denials"][0]["syscall"].as_str(), &alone["denials_unavailable"]),
        (Some("socket"), &Value::Null)
    );
    assert_eq!(nested["denials"], Value::Array(vec![]), "{nested:#}");
    let why = nested["denials_unavailable"].as_str().unwrap();
    assert!(why.contains("seccomp listener"), "{why}");
    assert_eq!(nested["enforced_by"]["syscalls"]["note"].as_str(), Some(why));
}

#[test]
fn required_denials_fail_closed_below_a_listener() {
    let required = ["--require", "denials"];
    let (Some(alone), Some(nested)) = (below("alone", &required), below("listen", &required)) else { return };
    assert_eq!(report(&alone)["verdict"], "ok");
    let stderr = String::from_utf8_lossy(&nested.stderr);
    assert_eq!(nested.status.code(), Some(125), "{stderr}");
    assert_eq!(report(&nested)["verdict"], "sandbox_error");
    assert!(
        stderr.contains("seccomp filter") && stderr.contains("do not require `denials` here"),
        "{stderr}"
    );
}

#[test]
fn cores_that_may_not_be_chosen_are_no_need() {
    let Some(output) = below("no-affinity", &[]) else { return };
    let report = report(&output);
    assert_eq!((&report["verdict"], &report["stdout"]["text"]), (&"ok".into(), &"1\n".into()), "{report:#}");
}
