//! `wardian run --nsjail-config`: nsjail's config, command, log and exit codes.

mod log;

use super::report_file::ReportFile;
use super::{Failure, connections, deliver, elsewhere, explain, options, summary, write_error};
use crate::cli::RunOptions;
use crate::{cap, say};
use log::LogSink;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wardian::compat::nsjail::{self, Caller, Ending, Import, NsjailConfig, Stdio, View};
use wardian::host::Host;
use wardian::plan::{Plan, Program, Request};
use wardian::policy::{Bytes, Mount, MountKind, Policy, RootKind};
use wardian::python;
use wardian::report::{Reason, Report, Verdict};
use wardian::sandbox::{self, Pipes, StdinSource};

/// What is kept of a stream that is not passed through, unless `--output` says another limit.
const KEPT: Bytes = Bytes(16 << 20);
/// Where a program that is opened outside lies inside.
const OUTSIDE_PROGRAM: &str = "/.program";

/// A run that is over, or a plan that was only to be shown.
enum Done {
    Ran { report: Box<Report>, pid: u32 },
    Explained,
}

/// Runs as a config says; the exit code is nsjail's.
pub(super) fn main(options: &RunOptions, file: &Path) -> ExitCode {
    let imported = import(options, file).and_then(|(config, import)| {
        let log = LogSink::open(&import.log)?;
        Ok((config, import, log))
    });
    // Only now: the caller's descriptors for the log are known by numbers that we had not taken yet.
    let mut report_file = match options.report.as_deref().map(ReportFile::create).transpose() {
        Ok(file) => file,
        Err(failure) => return fail(&failure, None, None, options),
    };
    let (config, import, mut log) = match imported {
        Ok(imported) => imported,
        Err(failure) => return fail(&failure, None, report_file.as_mut(), options),
    };
    match run(options, &config, import) {
        Ok(Done::Explained) => ExitCode::SUCCESS,
        Ok(Done::Ran { report, pid }) => {
            let ending = ending(&report);
            log.ended(&report, pid, ending);
            if options.summary {
                summary::tell(&report);
            }
            explain(&report, options);
            if ending == Ending::SetupFailed {
                say::error(&report.message, None);
            }
            let lost = write_error(&report);
            if let Some(error) = &lost {
                say::error(error, None);
            }
            let failed = deliver(&report, report_file.as_mut(), options.json).is_some() || lost.is_some();
            ExitCode::from(if failed { Ending::SetupFailed } else { ending }.exit_code())
        }
        Err(failure) => fail(&failure, Some(&mut log), report_file.as_mut(), options),
    }
}

fn fail(
    failure: &Failure,
    log: Option<&mut LogSink>,
    file: Option<&mut ReportFile>,
    options: &RunOptions,
) -> ExitCode {
    say::error(&failure.text, failure.hint.as_deref());
    if let Some(log) = log {
        log.failed(&failure.text);
    }
    let report = Report::sandbox_error(failure.text.clone());
    // Whether or not the report can be written, this is a failure.
    let _ = deliver(&report, file, options.json);
    ExitCode::from(Ending::SetupFailed.exit_code())
}

/// The config in wardian's words, with what was dropped or left out said.
fn import(options: &RunOptions, file: &Path) -> Result<(NsjailConfig, Import), Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = read(file)
        .map_err(|error| Failure::new(format!("`--nsjail-config {}`: {error}", file.display()), None))?;
    let config = nsjail::parse(&text).map_err(|error| Failure::new(named(&error), None))?;
    let dropped = nsjail::check(&config, options.best_effort)
        .map_err(|error| Failure::new(named(&error), error.hint()))?;
    for unsupported in dropped {
        say::note(&format!("dropped `{}`: {}", unsupported.field, unsupported.reason));
    }
    let import =
        nsjail::to_policy(&config, &Caller::current()).map_err(|error| Failure::new(named(&error), None))?;
    for why in &import.left_out {
        say::note(&format!("left out {why}"));
    }
    Ok((config, import))
}

fn read(file: &Path) -> std::io::Result<String> {
    const MOST: u64 = 4 << 20;
    let mut text = String::new();
    File::open(file)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

fn run(options: &RunOptions, config: &NsjailConfig, import: Import) -> Result<Done, Failure> {
    options.program.first().map_or(Ok(()), |first| elsewhere::unless_option(first))?;
    let mut policy = options::lay_over(import.policy, options)?;
    let host = Host::detect_with(cap::from_environment().map_err(|error| Failure::new(error, None))?);
    if options.best_effort && host.cgroups().version().is_none() && !policy.require.is_empty() {
        policy.require.clone_from(&options.require);
        say::note("dropped `cgroup_*`: this host gives no cgroup; the limits are watched instead");
    }
    let command = nsjail::command(config, &options.program).map_err(|error| {
        Failure::new(error, Some("name a program after `--`: `-- /usr/bin/python3 hello.py`".into()))
    })?;
    let program = program(&command, &mut policy)?;
    let cwd = options.cwd.clone().unwrap_or(import.cwd);
    let has_cwd = View::new(&policy.files.mounts).has_directory(Path::new(&cwd));
    let passes = |stdio: Stdio| !options.json && import.stdio != Stdio::Null && import.stdio != stdio;
    let (passes_out, passes_err) = (passes(Stdio::Null), passes(Stdio::StderrToNull));
    if !(passes_out && passes_err) && options.output.is_none() {
        policy.limits.output = KEPT;
    }
    let request = Request {
        policy,
        program,
        args: command.argv.get(1..).unwrap_or_default().to_vec(),
        inputs: Vec::new(),
        cwd: Some(cwd.clone()),
        python: python::Request::Default,
        unbuffered: false,
    };
    // A mount whose source is missing is why a directory may be.
    let plan = Plan::build(request, &host).map_err(|error| Failure::new(&error, error.hint()))?;
    if !has_cwd {
        let hint = "mount a directory there, or name another one with `cwd` or --cwd";
        return Err(Failure::new(
            format!("the working directory `{cwd}` is not there inside"),
            Some(hint.into()),
        ));
    }
    if options.explain_plan {
        say::put(&plan.explain())?;
        return Ok(Done::Explained);
    }
    let mut connections = connections::with_pipes(options, false)?;
    if import.stdio == Stdio::Null {
        connections.streams.stdin = StdinSource::Empty;
    }
    let Pipes { stdout, stderr, .. } = &mut connections.streams;
    for (stream, passes) in [(stdout, passes_out), (stderr, passes_err)] {
        // What is passed through has no limit, and is not kept beside.
        stream.keep &= !passes;
        stream.pass_to = stream.pass_to.take().filter(|_| passes);
    }
    let failed = |error: sandbox::SandboxError| Failure::new(&error, error.hint());
    let running = sandbox::launch(plan, connections, None).map_err(failed)?;
    let pid = running.pid();
    let mut report = Box::new(running.wait().map_err(failed)?);
    if command.outside {
        report.message = report.message.replace(OUTSIDE_PROGRAM, &command.path.to_string_lossy());
    }
    Ok(Done::Ran { report, pid })
}

/// The program inside. nsjail executes the path as it stands; a bare name is looked up inside as well.
fn program(command: &nsjail::Command, policy: &mut Policy) -> Result<Program, Failure> {
    let name = command.argv.first().cloned().unwrap_or_else(|| command.path.clone());
    if command.outside {
        policy.files.mounts.push(opened_outside(&command.path)?);
        return Ok(Program::Inside { path: OUTSIDE_PROGRAM.into(), name });
    }
    let path = PathBuf::from(&command.path);
    if path.components().count() != 1 || path.has_root() || policy.files.root != RootKind::Empty {
        return Ok(Program::Inside { path, name });
    }
    let inherited = policy.environment.inherit.iter().any(|name| name == "PATH");
    let inherited = std::env::var("PATH").ok().filter(|_| inherited);
    let search_path = policy.environment.set.get("PATH").cloned().or(inherited);
    let found = View::new(&policy.files.mounts).find_program(&command.path, search_path.as_deref());
    let path = found.ok_or_else(|| {
        let hint = "mount a directory that has it, or give the program's path inside";
        Failure::new(
            format!("no program `{}` in the directories of PATH inside", command.path.display()),
            Some(hint.into()),
        )
    })?;
    // Without a PATH an interpreter finds its library by the name it is called.
    let name = if name == command.path { OsString::from(&path) } else { name };
    Ok(Program::Inside { path, name })
}

fn opened_outside(path: &std::ffi::OsStr) -> Result<Mount, Failure> {
    let wrong =
        |why: &dyn std::fmt::Display| Failure::new(format!("`exec_bin`: `{}`: {why}", path.display()), None);
    let source = std::path::absolute(path).map_err(|error| wrong(&error))?;
    let source = source.into_os_string().into_string().map_err(|_| wrong(&"is not UTF-8"))?;
    Ok(Mount {
        dst: OUTSIDE_PROGRAM.into(),
        kind: MountKind::Bind,
        src: Some(source),
        writable: false,
        exec: true,
        size: None,
        content: None,
        optional: false,
        as_owner: None,
    })
}

/// In nsjail's terms; a limit of ours that ends a run does so by SIGKILL.
fn ending(report: &Report) -> Ending {
    const SIGKILL: i32 = 9;
    const SIGSYS: i32 = 31;
    let signal = report.signal.as_ref().map(|signal| signal.number);
    match report.verdict {
        Verdict::Ok | Verdict::NonzeroExit => Ending::Exited(report.exit_code.unwrap_or(0)),
        Verdict::Signaled | Verdict::Cancelled => Ending::Signaled(signal.unwrap_or(SIGKILL)),
        Verdict::PolicyViolation if report.reason == Reason::Syscall => Ending::Signaled(SIGSYS),
        // These may be programs that ended by themselves.
        Verdict::DiskLimit | Verdict::ProcessLimit => {
            report.exit_code.map_or(Ending::Signaled(signal.unwrap_or(SIGKILL)), Ending::Exited)
        }
        Verdict::TimeLimit | Verdict::MemoryLimit | Verdict::OutputLimit | Verdict::PolicyViolation => {
            Ending::Signaled(SIGKILL)
        }
        Verdict::NotExecutable | Verdict::SandboxError => Ending::SetupFailed,
    }
}
