//! The policy's types. Field names are those of the TOML file, the command line and the JSON schema.

use super::units::{Bytes, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a program may do, within which limits, as whom.
///
/// ```
/// let mut policy = wardian::policy::preset("python").unwrap();
/// policy.limits.memory = "256M".parse().unwrap();
/// policy.network = wardian::policy::Network::Loopback;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The policy's name, shown in the report.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// How strongly the host must contain; a weaker level exists only by name.
    pub level: Level,
    /// What must be there: limits that the kernel enforces and wardian does not only watch, and layers that may otherwise
    /// be missing with a note in the report.
    #[serde(default)]
    pub require: Vec<Layer>,
    /// What the program finds where it was given nothing.
    pub outside: Outside,
    /// Which network it has.
    pub network: Network,
    /// Which programs it may execute.
    pub exec: ExecMode,
    /// Where its standard error goes.
    #[serde(default)]
    pub stderr: Stderr,
    /// How much it may consume.
    pub limits: Limits,
    /// Resource limits of each single process, beside what follows from `limits` (setrlimit(2)).
    #[serde(default)]
    pub rlimits: Rlimits,
    /// What it finds in its file system.
    pub files: Files,
    /// Its environment variables.
    pub environment: Environment,
    /// Who it is.
    pub identity: Identity,
    /// How its system calls are filtered.
    pub syscalls: Syscalls,
    /// How it is scheduled.
    #[serde(default)]
    pub scheduling: Scheduling,
}

/// How strongly the host must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Namespaces, private root, seccomp, Landlock where there is one.
    Namespaces,
    /// Landlock, seccomp, rlimits and watched limits, without namespaces: weaker, for containers that forbid
    /// user namespaces.
    Landlock,
}

/// What can be required: a limit enforced by the kernel, or a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Memory, by a cgroup.
    Memory,
    /// CPU time, accounted by a cgroup.
    Cpu,
    /// Cores used at once, shared out by a cgroup.
    Cpus,
    /// Processes and threads, by a cgroup.
    Processes,
    /// Landlock on top of the mount namespace.
    Landlock,
    /// Denials observed by seccomp user notification.
    Denials,
    /// A private /proc.
    Proc,
}

/// What a program finds where it was given nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outside {
    /// Nothing is there: `ENOENT`; read-only trees answer `EROFS`.
    Absent,
    /// The usual directories are there and refuse: `EACCES`.
    Denied,
}

/// Which network a program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// None; only sockets between its own processes.
    None,
    /// Its own loopback interface, on which nobody else is.
    Loopback,
}

/// Which programs a program may execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExecMode {
    /// Whatever its file system contains.
    Any,
    /// Itself, once, and never again.
    Once,
}

/// Where a program's standard error goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stderr {
    /// Into a stream of its own.
    #[default]
    Own,
    /// Into standard output, in the order in which it is written.
    Stdout,
}

/// How much a run may consume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Time on the clock.
    pub wall: Duration,
    /// CPU time of all its processes together, user and system.
    pub cpu_time: Duration,
    /// Cores it may use at once; none for all that we may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Memory of all its processes together, its files in scratch space included.
    pub memory: Bytes,
    /// Processes and threads together.
    pub processes: u32,
    /// Bytes in scratch space; at most `memory`, which they count against.
    pub disk: Bytes,
    /// Files and directories in scratch space.
    pub inodes: u64,
    /// Bytes of standard output, and as many of standard error.
    pub output: Bytes,
    /// What happens beyond `output`.
    pub on_output: OnOutput,
    /// Open files of each process.
    pub open_files: u64,
    /// Bytes of each file; none for as many as `disk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<Bytes>,
    /// Stack of the main thread of each process.
    pub stack: Bytes,
    /// What happens when memory runs out.
    pub on_oom: OnOom,
}

/// What happens when a program writes more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnOutput {
    /// The rest is dropped and counted; the run goes on.
    Truncate,
    /// The run ends: `output_limit`.
    Kill,
}

/// What happens when a program's memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnOom {
    /// The run ends: `memory_limit`.
    End,
    /// The kernel kills one process; the others go on.
    One,
}

/// Resource limits of each single process; none leaves what follows from [`Limits`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rlimits {
    /// Address space. Breaks programs that reserve much and use little (numpy, threads, node): prefer `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_space: Option<Bytes>,
    /// CPU time of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time: Option<Duration>,
    /// Locked memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked_memory: Option<Bytes>,
    /// Bytes in POSIX message queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_queues: Option<Bytes>,
}

/// What a program finds in its file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// What the root starts from.
    pub root: RootKind,
    /// Its scratch space: `/box`, `/tmp`, `/home/guest`, `/dev/shm`.
    pub scratch: Scratch,
    /// Whether it may write in the working directory itself, or in the other scratch space only.
    #[serde(default)]
    pub work: Work,
    /// Whether it has a `/tmp`; without one, `TMPDIR` is the working directory.
    #[serde(default = "yes")]
    pub tmp: bool,
    /// Its own `/proc`.
    pub proc: ProcMode,
    /// Programs beside the interpreter that it may find in `PATH`: host paths.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Whether standard input, output and error show under `/dev`, with null, zero, full, random, urandom.
    #[serde(default = "yes")]
    pub dev: bool,
    /// More of the host, or made for it; in order.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

impl Files {
    /// Whether there is scratch space: files are copied into it, and collected from it.
    pub fn has_scratch(&self) -> bool {
        self.root == RootKind::Program && self.scratch != Scratch::None
    }
}

fn yes() -> bool {
    true
}

/// What the root of the file system starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// What the program needs to start: its interpreter and libraries, found by themselves, and a small `/etc`.
    Program,
    /// Nothing but `mounts`.
    Empty,
}

/// A program's scratch space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scratch {
    /// None: nothing is writable.
    None,
    /// Writable; what it contains can be executed.
    Exec,
    /// Writable; what it contains cannot be executed.
    Noexec,
}

/// The working directory, where there is scratch space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A program may write there.
    #[default]
    Writable,
    /// A program is refused there (`EACCES`): inputs stay as they are, and `TMPDIR` is where it may write.
    ReadOnly,
}

/// Whether there is a `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProcMode {
    /// It must be there.
    Required,
    /// It is there unless the host forbids it (a container with a masked `/proc`); the report says so.
    Optional,
    /// It is not there.
    Absent,
}

/// Something put into the program's file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where, inside: an absolute path.
    pub dst: String,
    /// What.
    #[serde(default = "bind", rename = "type")]
    pub kind: MountKind,
    /// Bind: the host's path. Symlink: what the link says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Bind and tmpfs: whether it may be written.
    #[serde(default)]
    pub writable: bool,
    /// Bind and tmpfs: whether its files may be executed.
    #[serde(default = "yes")]
    pub exec: bool,
    /// Tmpfs: its size; none for `limits.disk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// File: its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Bind: a source that is not there is left out, and reported.
    #[serde(default)]
    pub optional: bool,
    /// Bind, writable, as root: whether the program has the rights of the owner and the group of `src` there, and what it
    /// makes becomes theirs; else it has everybody's. Left out, it has them where neither owner nor group of `src` is root, and not everybody may
    /// write in it. (An ordinary user's programs have that user's rights anyway.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_owner: Option<bool>,
}

fn bind() -> MountKind {
    MountKind::Bind
}

/// What kind of thing is put into the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// A directory or file of the host.
    Bind,
    /// A new memory file system.
    Tmpfs,
    /// The sandbox's own proc.
    Proc,
    /// A symbolic link.
    Symlink,
    /// A file of given content.
    File,
}

/// A program's environment variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Whether the variables that Python programs need are set by themselves (`PATH`, `HOME`, `TMPDIR`, UTF-8,
    /// `*_NUM_THREADS` …).
    pub defaults: bool,
    /// Variables taken over from the caller, by name.
    #[serde(default)]
    pub inherit: Vec<String>,
    /// Variables set; they win over all others.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Python's hash seed.
    pub hash_seed: HashSeed,
    /// Threads that numerical libraries start; none for as many as the cores granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
}

/// Python's hash seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HashSeed {
    /// Another one each run.
    Random,
    /// Zero: the same order of sets each run.
    Fixed,
}

/// Who a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its host name.
    pub hostname: String,
    /// Its user id as it sees it.
    pub uid: u32,
    /// Its group id as it sees it.
    pub gid: u32,
    /// As root: the host ids that sandboxes take, two each: first and count.
    pub uid_range: (u32, u32),
}

/// How system calls are filtered; the list itself is wardian's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Syscalls {
    /// Whether refused calls are recorded for the report; costs about 50 µs for each refusal, nothing else.
    pub denials: bool,
}

/// How a program is scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scheduling {
    /// Nice value, 0 to 19; none leaves the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<u8>,
}
