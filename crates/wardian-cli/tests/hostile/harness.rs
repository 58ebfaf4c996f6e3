//! Runs a program through the real binary, and checks after each run what must hold after every run.

use crate::leftovers::{Sampler, Trace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The helpers that come before each guest program.
pub const LIBRARY: &str = include_str!("guests/lib.py");

/// One of the programs in `guests/`, with the helpers before it.
#[macro_export]
macro_rules! guest {
    ($name:literal) => {
        concat!(include_str!("guests/lib.py"), "\n", include_str!(concat!("guests/", $name)))
    };
}

/// A run to be made.
pub struct Run {
    code: String,
    options: Vec<String>,
    args: Vec<String>,
    stdin: Input,
    env: Vec<(String, String)>,
    deadline: Duration,
}

/// What the program reads.
pub enum Input {
    /// Nothing: `/dev/null`.
    Null,
    /// These bytes, through a pipe.
    Bytes(Vec<u8>),
    /// A pipe that stays open and silent until the run ends.
    Silent,
}

/// A run under way.
pub struct Running {
    /// The binary's own process.
    pub child: Child,
    /// When it was started.
    pub started: Instant,
    sampler: Sampler,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    directory: Directory,
    deadline: Duration,
}

/// A run that has ended.
pub struct Outcome {
    /// The report.
    pub report: Value,
    /// The binary's exit code.
    pub exit_code: i32,
    /// From the start of the binary to its end.
    pub elapsed: Duration,
    /// What the binary wrote to standard error.
    pub stderr: String,
    /// The binary's own largest resident memory, as last seen.
    pub own_memory: u64,
}

/// What came of one attempt of a guest: `ok`, an errno's name or an exception's, and a detail.
pub type Attempts = BTreeMap<String, (String, String)>;

impl Run {
    /// A run of this Python program.
    pub fn new(code: impl Into<String>) -> Run {
        Run {
            code: code.into(),
            options: vec![],
            args: vec![],
            stdin: Input::Null,
            env: vec![],
            deadline: Duration::from_secs(40),
        }
    }

    /// A run of this Python program after the helpers.
    pub fn with_library(code: &str) -> Run {
        Run::new(format!("{LIBRARY}\n{code}"))
    }

    /// Adds an option with a value.
    pub fn option(mut self, name: &str, value: &str) -> Run {
        self.options.extend([name.into(), value.into()]);
        self
    }

    /// Adds an option without a value.
    pub fn flag(mut self, name: &str) -> Run {
        self.options.push(name.into());
        self
    }

    /// Names the policy.
    pub fn policy(self, name: &str) -> Run {
        self.option("--policy", name)
    }

    /// Limits the time on the clock.
    pub fn wall(self, limit: &str) -> Run {
        self.option("--wall", limit)
    }

    /// Limits both times: codejail's own, a second each, are too short for a slow machine.
    pub fn times(self, limit: &str) -> Run {
        self.wall(limit).option("--cpu-time", limit)
    }

    /// Limits memory, and disk below it.
    pub fn memory(self, limit: &str, disk: &str) -> Run {
        self.option("--memory", limit).option("--disk", disk)
    }

    /// Adds an argument for the program.
    pub fn arg(mut self, value: impl Into<String>) -> Run {
        self.args.push(value.into());
        self
    }

    /// What the program reads.
    pub fn stdin(mut self, input: Input) -> Run {
        self.stdin = input;
        self
    }

    /// Adds a variable to wardian's own environment.
    pub fn env(mut self, name: &str, value: &str) -> Run {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let directory = Directory::new();
        let script = directory.path.join("guest.py");
        std::fs::write(&script, &self.code).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o644)).unwrap();
        let mut command = wardian();
        command.args(["run", "--json"]).args(&self.options).arg(&script).args(&self.args);
        command.envs(self.env).env("TMPDIR", directory.temp()).current_dir(&directory.path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if matches!(self.stdin, Input::Null) { Stdio::null() } else { Stdio::piped() });
        let mut child = command.spawn().unwrap();
        let started = Instant::now();
        feed(&mut child, self.stdin);
        let sampler = Sampler::start(child.id());
        let stdout = Some(collect(child.stdout.take().unwrap()));
        let stderr = Some(collect(child.stderr.take().unwrap()));
        Running { child, started, sampler, stdout, stderr, directory, deadline: self.deadline }
    }

    /// Starts it and waits until it has ended.
    pub fn run(self) -> Outcome {
        self.start().finish()
    }
}

fn feed(child: &mut Child, input: Input) {
    let Some(mut pipe) = child.stdin.take() else { return };
    match input {
        Input::Null => {}
        Input::Silent => child.stdin = Some(pipe),
        Input::Bytes(bytes) => {
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = vec![];
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

impl Running {
    /// Waits for its end and checks what must hold after every run.
    pub fn finish(mut self) -> Outcome {
        let status = self.wait();
        let elapsed = self.started.elapsed();
        let (trace, own_memory) = self.sampler.stop();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let report: Value = serde_json::from_slice(&stdout).unwrap_or_else(|error| {
            let head = String::from_utf8_lossy(&stdout[..stdout.len().min(300)]).into_owned();
            panic!("no report ({error}), {status}, stdout {head:?}, stderr {stderr:?}")
        });
        let exit_code = status.code().unwrap_or_else(|| panic!("wardian itself died: {status}, {stderr}"));
        check_nothing_left(&trace, self.child.id());
        self.directory.check_no_temporary_files();
        let outcome = Outcome { report, exit_code, elapsed, stderr, own_memory };
        outcome.check_contract();
        outcome
    }

    /// Kills the binary without a warning, and checks what it leaves.
    pub fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let (trace, _) = self.sampler.stop();
        let _ = self.stdout.take().unwrap().join();
        let _ = self.stderr.take().unwrap().join();
        trace.check_processes_dead(Duration::from_secs(1));
    }

    fn wait(&mut self) -> ExitStatus {
        let silent = self.child.stdin.take();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                drop(silent);
                return status;
            }
            if self.started.elapsed() > self.deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("wardian did not end within {:?}", self.deadline);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn check_nothing_left(trace: &Trace, pid: u32) {
    trace.check_processes_gone(Duration::from_millis(100));
    crate::leftovers::check_no_mounts();
    crate::leftovers::check_no_groups(pid);
}

impl Outcome {
    /// A field of the report by its path, `usage.wall_us` say.
    pub fn get(&self, path: &str) -> &Value {
        let pointer = format!("/{}", path.replace('.', "/"));
        self.report.pointer(&pointer).unwrap_or_else(|| panic!("no {path} in {}", self.summary()))
    }

    /// A text of the report.
    pub fn text(&self, path: &str) -> &str {
        self.get(path).as_str().unwrap_or_else(|| panic!("{path} is no text in {}", self.summary()))
    }

    /// A number of the report.
    pub fn number(&self, path: &str) -> u64 {
        self.get(path).as_u64().unwrap_or_else(|| panic!("{path} is no number in {}", self.summary()))
    }

    /// Fails unless the run ended so.
    #[track_caller]
    pub fn expect(self, verdict: &str) -> Outcome {
        assert_eq!(self.text("verdict"), verdict, "{}", self.summary());
        self
    }

    /// Fails unless the run ended so, for this reason.
    #[track_caller]
    pub fn expect_for(self, verdict: &str, reason: &str) -> Outcome {
        let seen = (self.text("verdict"), self.text("reason"));
        assert_eq!(seen, (verdict, reason), "{}", self.summary());
        self
    }

    /// The program's output.
    pub fn stdout(&self) -> &str {
        self.text("stdout.text")
    }

    /// What came of the guest's attempts.
    #[track_caller]
    pub fn attempts(&self) -> Attempts {
        let attempts = attempts(self.stdout());
        assert!(!attempts.is_empty(), "no attempts: {}", self.summary());
        attempts
    }

    /// How often the report says this system call was refused.
    pub fn denied(&self, syscall: &str) -> u64 {
        let denials = self.get("denials").as_array().unwrap();
        let same = denials.iter().filter(|denial| denial["syscall"] == syscall);
        same.map(|denial| denial["count"].as_u64().unwrap()).sum()
    }

    /// The report without the long texts.
    pub fn summary(&self) -> String {
        let mut short = self.report.clone();
        for stream in ["stdout", "stderr"] {
            for part in ["text", "tail"] {
                if let Some(Value::String(text)) = short.pointer_mut(&format!("/{stream}/{part}")) {
                    *text = text.chars().take(1500).collect();
                }
            }
        }
        format!("exit {} after {:?}, {:?}\n{short}", self.exit_code, self.elapsed, self.stderr)
    }

    /// What holds for every report.
    fn check_contract(&self) {
        assert_eq!(self.text("schema"), "wardian.report/1");
        assert!(!self.text("message").is_empty(), "{}", self.summary());
        let expected = match self.text("verdict") {
            "ok" => 0,
            "nonzero_exit" => i64::try_from(self.number("exit_code")).unwrap(),
            "signaled" => 128 + i64::try_from(self.number("signal.number")).unwrap(),
            "time_limit" => 124,
            "memory_limit" => 137,
            "output_limit" => 153,
            "disk_limit" | "process_limit" => 154,
            "policy_violation" => 159,
            "not_executable" => return,
            "cancelled" => return,
            "sandbox_error" => 125,
            other => panic!("unknown verdict {other}"),
        };
        assert_eq!(i64::from(self.exit_code), expected, "{}", self.summary());
        for denial in self.get("denials").as_array().unwrap() {
            assert!(denial["count"].as_u64().unwrap() > 0, "{denial}");
            assert!(!denial["hint"].as_str().unwrap().is_empty(), "{denial}");
            assert!(denial["errno"].as_str().unwrap().starts_with('E'), "{denial}");
        }
    }
}

/// The attempts in a guest's output: one JSON array `[name, result, detail]` a line.
pub fn attempts(output: &str) -> Attempts {
    let parsed = output.lines().filter_map(|line| serde_json::from_str(line).ok());
    parsed.map(|(name, result, detail): (String, String, String)| (name, (result, detail))).collect()
}

/// What wardian itself may need beside the output it captures. Unoptimised code is larger.
pub const OWN_MEMORY: u64 = if cfg!(debug_assertions) { 16 << 20 } else { 10 << 20 };

/// The binary under attack, as whom it shall be attacked.
pub fn wardian() -> Command {
    let binary = std::env::var_os("WARDIAN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_wardian").into());
    let mut command = Command::new(binary);
    if std::env::var_os("WARDIAN_TEST_USER").is_some() && is_root() {
        command.uid(ORDINARY).gid(ORDINARY).env("HOME", "/nonexistent").env("PATH", "/usr/bin:/bin");
    }
    command
}

/// An id that owns nothing, on Debian and elsewhere.
const ORDINARY: u32 = 64_999;

/// Whether the tests themselves run as root.
pub fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}

/// Says that a test could not be made here, and how many so far.
pub fn skip(why: &str) {
    static SKIPPED: AtomicU32 = AtomicU32::new(0);
    let number = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // Not eprintln!, which the test harness swallows for tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIP {number}: {why}");
}

/// A directory of one run: the script, and the temporary directory of wardian itself.
pub struct Directory {
    /// Where.
    pub path: PathBuf,
}

impl Directory {
    /// Makes one that everybody may write to, as wardian may run as somebody else.
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hostile-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let directory = Directory { path };
        for path in [&directory.path, &directory.temp()] {
            std::fs::create_dir(path).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        }
        directory
    }

    fn temp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    fn check_no_temporary_files(&self) {
        assert_empty(&self.temp());
    }
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "temporary files left: {left:?}");
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
