//! The report: what happened to a run, as the supervisor saw it (schema `wardian.report/1`).
//!
//! Nothing in it is taken from what the guest says about itself; the guest's words are in `stdout`, `stderr`
//! and `files`, and nowhere else.

mod json;

use crate::policy::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use json::{Json, ResultMissing};

/// The schema's name; readers refuse another number.
pub const SCHEMA: &str = "wardian.report/1";

/// What happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Names this run among all.
    pub id: String,
    /// Wardian's version.
    pub wardian: String,
    /// The kernel's release.
    pub kernel: String,
    /// The interpreter's version, if the program was Python.
    pub python: Option<String>,
    /// The policy.
    pub policy: PolicyRef,
    /// How the run ended. Readers treat one they do not know as a failure.
    pub verdict: Verdict,
    /// What made it end so.
    pub reason: Reason,
    /// One sentence for a person: what happened, the limit, the peak, what to raise.
    pub message: String,
    /// The program's exit code, if it ended by itself, whatever the verdict.
    pub exit_code: Option<u8>,
    /// The signal that ended the program, if one did.
    pub signal: Option<Signal>,
    /// Whether its standard streams were one terminal: `stdout` is then what that showed, echo included, and
    /// `stderr` is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// What it wrote to standard output.
    pub stdout: Stream,
    /// What it wrote to standard error.
    pub stderr: Stream,
    /// What it wrote to its result channel, if it was given one: its own word, and any JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Json>,
    /// Why there is no result, if there could be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_missing: Option<ResultMissing>,
    /// The limits in force.
    pub limits: EffectiveLimits,
    /// What it used.
    pub usage: Usage,
    /// Where each figure of `usage` comes from: `kernel` (counted) or `sampled` (may be less than the truth).
    pub usage_source: BTreeMap<String, Source>,
    /// Files collected: those that match, but for what was given and is as it was.
    pub files: Vec<FileEntry>,
    /// Files that matched but were not collected, and patterns that nothing matched.
    pub files_omitted: Vec<OmittedFile>,
    /// What the program tried and the policy refused.
    pub denials: Vec<Denial>,
    /// Why there are no denials to see, where the kernel could not tell us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denials_unavailable: Option<String>,
    /// How strongly the host contained it: a weaker level than `namespaces` was named by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Which layer enforced what.
    pub enforced_by: BTreeMap<String, Enforcement>,
    /// When, in microseconds since the run was accepted.
    pub timeline_us: Timeline,
}

/// A policy by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of its canonical text, in hexadecimal.
    pub sha256: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The program exited with 0.
    Ok,
    /// The program exited with another code.
    NonzeroExit,
    /// A signal ended the program that we did not send.
    Signaled,
    /// The wall or CPU limit ended it.
    TimeLimit,
    /// The memory limit ended it.
    MemoryLimit,
    /// The output limit ended it, by policy.
    OutputLimit,
    /// A limit of files or scratch space ended it, or scratch space was full when the program failed by itself.
    DiskLimit,
    /// The process limit ended it, or had refused it a process or thread before the program failed by itself.
    ProcessLimit,
    /// The policy ended it.
    PolicyViolation,
    /// The program cannot be executed, or is not there.
    NotExecutable,
    /// The caller ended it.
    Cancelled,
    /// Wardian could not run it: never the program's doing.
    SandboxError,
}

/// What made a run end as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The program's own exit.
    Exit,
    /// A signal from inside: the program's own, or a fault.
    Signal,
    /// The wall limit.
    WallTime,
    /// The CPU limit.
    CpuTime,
    /// The kernel's OOM killer, at the memory limit.
    OomKill,
    /// Watched memory went over the limit.
    MemoryWatch,
    /// The output limit.
    Output,
    /// The program died of SIGXFSZ: the kernel's signal for a file that would grow beyond the file size limit.
    FileSize,
    /// The scratch space's limit, watched: the run was ended.
    Disk,
    /// Scratch space had no bytes left when the program failed.
    DiskBytes,
    /// Scratch space had no files left when the program failed.
    DiskInodes,
    /// The limit of processes and threads: the program failed after the kernel refused it one, or was ended where the
    /// limit is only watched.
    Processes,
    /// A system call for which the policy kills.
    Syscall,
    /// There is no such program inside.
    NotFound,
    /// It is there but not executable.
    NotExecutable,
    /// The caller's signal or call.
    Cancelled,
    /// Options, names or a policy that no run can have, whatever the host.
    Usage,
    /// A failure of ours or of the host.
    Sandbox,
}

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// Its name, `SIGSEGV` say.
    pub name: String,
}

/// What a program wrote to one of its streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stream {
    /// How `text` and `tail` are to be read.
    pub encoding: Encoding,
    /// All of it, or its beginning.
    pub text: String,
    /// Bytes written by the program, kept or not.
    pub bytes: u64,
    /// Whether some of it is missing here.
    pub truncated: bool,
    /// Bytes in neither `text` nor `tail`.
    pub omitted_bytes: u64,
    /// Its end, if some is missing.
    pub tail: Option<String>,
    /// Whether it went to the caller as it came, and is not repeated here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed_through: bool,
    /// Why it could not be written to where the caller wants it (a full disk); the program was told by `EPIPE` then. That
    /// nobody reads it any more is no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_error: Option<String>,
}

/// How a stream's text is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// As it stands.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Base64 of the bytes, which are not UTF-8.
    #[serde(rename = "base64")]
    Base64,
}

/// The limits in force; times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "as in the policy, with the unit in the name")]
pub struct EffectiveLimits {
    pub wall_us: u64,
    pub cpu_us: u64,
    pub cpus: Option<f64>,
    pub memory_bytes: u64,
    pub processes: u32,
    pub disk_bytes: u64,
    pub disk_inodes: u64,
    pub output_bytes: u64,
    pub open_files: u64,
    pub file_size_bytes: u64,
    pub stack_bytes: u64,
}

/// What a run used; a figure the kernel does not give is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// From the program's start to its end.
    pub wall_us: u64,
    /// User CPU time of the whole tree.
    pub cpu_user_us: Option<u64>,
    /// System CPU time of the whole tree.
    pub cpu_system_us: Option<u64>,
    /// Largest memory of the whole tree, files in scratch space included.
    pub memory_peak_bytes: Option<u64>,
    /// Most processes and threads at once.
    pub processes_peak: Option<u64>,
    /// Page faults, of processes that were waited for.
    pub page_faults: Option<u64>,
    /// Context switches, of processes that were waited for.
    pub context_switches: Option<u64>,
    /// Bytes in scratch space at the end.
    pub disk_bytes: Option<u64>,
    /// Files and directories in scratch space at the end.
    pub disk_inodes: Option<u64>,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The kernel counted it.
    Kernel,
    /// We looked now and then: the truth may be more.
    Sampled,
}

/// A collected file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// Its path below the working directory; bytes that are not printable UTF-8 are written `%XX`, as is `%`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its media type, by content and name; the guest decides both, so it is only a hint.
    pub mime: String,
    /// Its content, unless it went to `--out` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// A file that matched but was not collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OmittedFile {
    /// Its path, as in [`FileEntry`].
    pub path: String,
    /// Why.
    pub reason: String,
    /// Whether `--out` could not take it (a full disk), which is nothing that the program did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write_error: bool,
}

/// Something the program tried and the policy refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Denial {
    /// The system call, or `limit` for what a limit refused.
    pub syscall: String,
    /// Its arguments, as far as registers tell.
    pub detail: String,
    /// What the program got.
    pub errno: String,
    /// How often.
    pub count: u64,
    /// What the policy's author could do about it.
    pub hint: String,
}

/// Which layer enforced something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enforcement {
    /// The layer: `mount-ns`, `seccomp`, `cgroup`, `rlimit`, `supervisor` …
    pub layer: String,
    /// A second layer behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
    /// Which version of the layer's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi: Option<String>,
    /// How strongly.
    pub level: EnforcementLevel,
    /// What is weaker than usual, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How strongly something is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnforcementLevel {
    /// The kernel refuses.
    Enforced,
    /// We watch and kill; it can be overrun for a moment.
    Watched,
    /// Not at all on this host.
    Absent,
}

/// When things happened, in microseconds since the run was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// Always 0.
    pub accepted: u64,
    /// The plan is made, and init is running.
    pub prepared: Option<u64>,
    /// The program is executed.
    pub started: Option<u64>,
    /// The program has ended.
    pub ended: Option<u64>,
    /// Everything inside is gone, files are collected.
    pub collected: Option<u64>,
}

impl Verdict {
    /// Whether the program did all it wanted, and said so.
    pub fn is_ok(self) -> bool {
        self == Verdict::Ok
    }
}

impl Report {
    /// The report of a run that wardian could not make: nothing of the program ran, or not to its end.
    pub fn sandbox_error(message: String) -> Report {
        let nothing = || Stream {
            encoding: Encoding::Utf8,
            text: String::new(),
            bytes: 0,
            truncated: false,
            omitted_bytes: 0,
            tail: None,
            passed_through: false,
            write_error: None,
        };
        Report {
            schema: SCHEMA.into(),
            id: String::new(),
            wardian: env!("CARGO_PKG_VERSION").into(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            python: None,
            policy: PolicyRef { name: String::new(), sha256: String::new() },
            verdict: Verdict::SandboxError,
            reason: Reason::Sandbox,
            message,
            exit_code: None,
            signal: None,
            terminal: false,
            stdout: nothing(),
            stderr: nothing(),
            result: None,
            result_missing: None,
            limits: EffectiveLimits::default(),
            usage: Usage::default(),
            usage_source: BTreeMap::new(),
            files: Vec::new(),
            files_omitted: Vec::new(),
            denials: Vec::new(),
            denials_unavailable: None,
            level: None,
            enforced_by: BTreeMap::new(),
            timeline_us: Timeline::default(),
        }
    }
}
