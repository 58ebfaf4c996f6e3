//! Runs programs at level `landlock`, and outside; checks that nothing of a run is left.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// An interpreter that every user can reach: at this level nothing is mounted elsewhere.
pub const PYTHON: &str = "/usr/bin/python3.11";

/// Comes before each program: one JSON array `[name, result, detail]` for each attempt.
const LIBRARY: &str = r#"
import ctypes, errno, json, os, platform, signal, sys, time
def attempt(name, act):
    try: result, detail = "ok", repr(act())[:200]
    except OSError as e: result, detail = errno.errorcode.get(e.errno, str(e.errno)), str(e)
    except BaseException as e: result, detail = type(e).__name__, str(e)
    print(json.dumps([name, result, detail]), flush=True)
NUMBERS = {"x86_64": dict(shmget=29, shmctl=31, semget=64, semctl=66, msgget=68, msgctl=71, ptrace=101, inotify_init1=294),
           "aarch64": dict(shmget=194, shmctl=195, semget=190, semctl=191, msgget=186, msgctl=187, ptrace=117, inotify_init1=26)}
def call(name, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.syscall(NUMBERS[platform.machine()][name], *args)
    if answer < 0: raise OSError(ctypes.get_errno(), name)
    return answer
"#;

pub type Attempts = BTreeMap<String, (String, String)>;

/// A directory that everybody may use, gone at the end.
pub struct Place(PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("landlock-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        Place(path.canonicalize().unwrap())
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says so loudly where the level cannot be had.
pub fn unavailable() -> bool {
    let abi = wardian::host::Host::detect().landlock_abi;
    if abi < 6 {
        skip(&format!("level landlock needs Landlock ABI 6, this kernel has {abi}"));
    } else if !Path::new(PYTHON).exists() {
        skip(&format!("there is no {PYTHON}"));
    } else {
        return false;
    }
    true
}

pub fn skip(why: &str) {
    // Not eprintln!, which the test harness swallows for tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIP landlock: {why}");
}

pub fn wardian() -> Command {
    let mut command =
        Command::new(std::env::var_os("WARDIAN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_wardian").into()));
    command.env_remove("WARDIAN_TEST_CAP").stdin(Stdio::null());
    command
}

/// A run to be made in a temporary directory, with the script in it.
pub fn command(place: &Place, options: &[&str], code: &str, args: &[&str]) -> Command {
    let script = place.path("guest.py");
    std::fs::write(&script, format!("{LIBRARY}{code}")).unwrap();
    std::fs::create_dir_all(place.path("tmp")).unwrap();
    let mut command = wardian();
    command.args(["run", "--json", "--level", "landlock", "--python", PYTHON]).args(options);
    if !options.contains(&"--wall") {
        command.args(["--wall", "20s"]);
    }
    command.arg(&script).args(args).env("TMPDIR", place.path("tmp"));
    command
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The report; nothing is left then.
#[track_caller]
pub fn run(options: &[&str], code: &str, args: &[&str]) -> Value {
    run_with(&[], options, code, args)
}

/// The same without a cgroup, as most ordinary users have it.
#[track_caller]
pub fn run_watched(options: &[&str], code: &str, args: &[&str]) -> Value {
    run_with(&[("WARDIAN_TEST_CAP", "cgroup:none")], options, code, args)
}

#[track_caller]
fn run_with(env: &[(&str, &str)], options: &[&str], code: &str, args: &[&str]) -> Value {
    let place = Place::new("run");
    let output = command(&place, options, code, args).envs(env.iter().copied()).output().unwrap();
    check_nothing_left(&place);
    let report = report(&output);
    assert_ne!(report["verdict"], "sandbox_error", "{}", String::from_utf8_lossy(&output.stderr));
    report
}

/// A run that must not begin: its report, and what was said.
pub fn refused(options: &[&str], env: &[(&str, &str)]) -> (Value, String) {
    let place = Place::new("refused");
    let output = command(&place, options, "", &[]).envs(env.iter().copied()).output().unwrap();
    check_nothing_left(&place);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    (report(&output), stderr)
}

#[track_caller]
pub fn check_nothing_left(place: &Place) {
    assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0, "temporary files are left");
    let alive = processes_of(place);
    assert!(alive.is_empty(), "processes are left: {alive:?}");
}

/// Processes whose command line names the place: whatever forks keeps its own.
pub fn processes_of(place: &Place) -> Vec<u32> {
    let named = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("{}/tmp/", place.text()))
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(named).collect()
}

/// The same program where nothing contains it.
pub fn outside(code: &str, args: &[&str], directory: &Path) -> Attempts {
    let mut python = Command::new(PYTHON);
    python.args(["-c", &format!("{LIBRARY}{code}")]).args(args).current_dir(directory);
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// What came of a run's attempts.
#[track_caller]
pub fn attempts(report: &Value) -> Attempts {
    assert_eq!(report["verdict"], "ok", "{report:#}");
    parse(report["stdout"]["text"].as_str().unwrap())
}

fn parse(output: &str) -> Attempts {
    let lines = output.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.map(|(name, result, detail): (String, String, String)| (name, (result, detail))).collect()
}
