//! One program, run cold and warm.

use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use wardian::files::Input;
use wardian::host::Host;
use wardian::plan::{Plan, Program, Request};
use wardian::policy::{self, Bytes, HashSeed, Policy};
use wardian::python;
use wardian::report::Report;
use wardian::sandbox::{self, Connections, Output, Pipes, StdinSource};
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Rotation, WarmError};

/// A program, however it is given to the interpreter.
#[derive(Clone, Debug)]
pub struct Case {
    pub program: JobProgram,
    pub files: Vec<(&'static str, String)>,
    pub args: Vec<&'static str>,
    pub stdin: &'static [u8],
    pub unbuffered: bool,
    pub result: Option<Bytes>,
}

pub fn case(program: JobProgram) -> Case {
    Case { program, files: vec![], args: vec![], stdin: b"", unbuffered: false, result: None }
}

pub fn code(text: &str) -> Case {
    case(JobProgram::Code(text.into()))
}

pub fn script(name: &'static str, text: impl Into<String>) -> Case {
    Case { files: vec![(name, text.into())], ..case(JobProgram::Script(name.into())) }
}

impl Case {
    pub fn args(self, args: &[&'static str]) -> Case {
        Case { args: args.to_vec(), ..self }
    }

    pub fn stdin(self, stdin: &'static [u8]) -> Case {
        Case { stdin, ..self }
    }

    pub fn file(mut self, name: &'static str, text: &str) -> Case {
        self.files.push((name, text.into()));
        self
    }

    pub fn result(self, bytes: u64) -> Case {
        Case { result: Some(Bytes(bytes)), ..self }
    }

    pub fn inputs(&self) -> Vec<Input> {
        let input = |(name, text): &(&str, String)| Input::from_bytes(name.parse().unwrap(), text.as_bytes());
        self.files.iter().map(|file| input(file).unwrap()).collect()
    }

    pub fn connections(&self) -> Connections {
        let kept = || Output { pass_to: None, keep: true };
        let stdin = StdinSource::Bytes(self.stdin.to_vec());
        let streams = Pipes { stdin, stdout: kept(), stderr: kept() };
        Connections { streams, cancel: None, collect: None, result: self.result }
    }

    pub fn cold(&self, policy: &Policy, python: &Path, host: &Host) -> Report {
        let inputs = self.inputs();
        let program = match &self.program {
            JobProgram::Script(name) => {
                Program::Script(inputs.iter().find(|input| input.name() == name).unwrap().clone())
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

    pub fn warm(&self, pool: &Pool) -> Report {
        self.try_warm(pool).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    pub fn try_warm(&self, pool: &Pool) -> Result<Report, WarmError> {
        let job = Job {
            inputs: self.inputs(),
            args: self.args.iter().map(OsString::from).collect(),
            unbuffered: self.unbuffered,
            ..Job::new(self.program.clone())
        };
        pool.run(&job, self.connections())
    }
}

/// What of a report does not depend on the moment.
pub fn essence(report: &Report) -> Value {
    let mut report = serde_json::to_value(report).unwrap();
    if let Some(message) = report["message"].as_str() {
        report["message"] = without_usage(message).into();
    }
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
        "result",
        "result_missing",
    ];
    json!(kept.map(|name| (name, without_addresses(&report[name]))))
}

/// A sentence without what was used, as "; peak 114M)": a watched limit is overrun by more or less.
fn without_usage(message: &str) -> String {
    match message.split_once("; peak ") {
        Some((before, rest)) => {
            rest.split_once(')').map_or(before.into(), |(_, after)| format!("{before}{after}"))
        }
        None => message.to_owned(),
    }
}

pub fn without_addresses(value: &Value) -> String {
    let text = value.to_string().replace("\\n", "\n");
    let mut pieces = text.split("0x");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str("0x");
        shown.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    shown
}

pub fn interpreters() -> Vec<PathBuf> {
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
            None => {
                let _ = writeln!(std::io::stderr(), "SKIP Python {version}: not on this machine");
            }
        }
    }
    found.retain(|path| path.exists());
    found
}

pub fn options(policy: &Policy, python: &Path) -> PoolOptions {
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
pub fn preset(name: &str) -> Policy {
    let mut policy = policy::preset(name).unwrap();
    policy.environment.hash_seed = HashSeed::Fixed;
    policy
}

/// A pool of one policy with the machine's own interpreter.
pub fn pool(policy: &Policy, ready: usize, running: usize) -> Pool {
    let options = PoolOptions { ready, running, ..options(policy, Path::new("/usr/bin/python3")) };
    Pool::start(options, &Host::detect()).unwrap_or_else(|error| panic!("{error}"))
}
