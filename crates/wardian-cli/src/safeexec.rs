//! `wardian safeexec`: safeexec's options and report.

use crate::run::{Failure, cancel_on_signals, write_error};
use crate::{caller_fd, cap, generate, say};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wardian::compat::safeexec::{self, Options, Outcome, ReportTo, report_lines};
use wardian::host::Host;
use wardian::plan::{Plan, Program, Request};
use wardian::policy::{Mount, MountKind, Policy};
use wardian::python;
use wardian::report::{Reason, Report, Verdict};
use wardian::sandbox::{self, Connections, Output, Pipes, StdinSource};

const NOT_OK: u8 = 1;

/// Runs, reports; 0 only for a program that ended well.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    // After `--exec` it would be the program's.
    if args.first().is_some_and(|first| first == "--help" || first == "-h") {
        return generate::help("safeexec");
    }
    match prepare(args) {
        Ok((options, report)) => {
            let outcome = run(&options).unwrap_or_else(|failure| {
                say::error(&failure.text, failure.hint.as_deref());
                failed(&failure)
            });
            let told = tell(report, &report_lines(&outcome));
            if let Err(error) = &told {
                say::error(&format!("cannot write the report: {error}"), None);
            }
            ExitCode::from(if told.is_ok() { outcome.exit_status() } else { NOT_OK })
        }
        Err(failure) => {
            say::error(&failure.text, failure.hint.as_deref());
            ExitCode::from(NOT_OK)
        }
    }
}

/// Where the report goes, opened before anything else takes a descriptor.
enum Sink {
    Stderr,
    File(File),
    Nowhere,
}

fn prepare(args: Vec<OsString>) -> Result<(Options, Sink), Failure> {
    let options = safeexec::parse(args)
        .map_err(|error| Failure::new(error, Some("`wardian safeexec --help` lists the options".into())))?;
    let sink = match &options.report {
        ReportTo::Stderr => Sink::Stderr,
        ReportTo::Nowhere => Sink::Nowhere,
        ReportTo::Fd(number) => Sink::File(
            caller_fd::open(*number)
                .map_err(|error| Failure::new(format!("`--report_fd`: {number}: {error}"), None))?,
        ),
        ReportTo::File(path) => Sink::File(File::create(path).map_err(|error| {
            Failure::new(format!("`--report_file`: `{}`: {error}", path.display()), None)
        })?),
    };
    Ok((options, sink))
}

fn tell(sink: Sink, text: &str) -> io::Result<()> {
    match sink {
        Sink::Stderr => io::stderr().lock().write_all(text.as_bytes()),
        Sink::File(mut file) => file.write_all(text.as_bytes()),
        Sink::Nowhere => Ok(()),
    }
}

fn failed(failure: &Failure) -> Outcome {
    let verdict = match failure.verdict {
        Verdict::NotExecutable => not_executable(failure.reason),
        _ => safeexec::Verdict::InternalError,
    };
    Outcome { verdict, elapsed_s: 0, memory_kib: None, cpu_us: 0 }
}

fn run(options: &Options) -> Result<Outcome, Failure> {
    let mut policy = safeexec::to_policy(options, std::process::id())
        .map_err(|error| Failure::new(&error, error.hint()))?;
    // The output goes where the caller's goes; its own limit is on files.
    policy.limits.output = wardian::policy::Bytes(1 << 40);
    let cwd = working_directory(options, &mut policy)?;
    let Some((command, args)) = options.command.split_first() else {
        return Err(Failure::new("no program to run", None));
    };
    let program = if options.chroot_dir.is_some() {
        Program::Inside { path: command.into(), name: command.clone() }
    } else {
        let path = std::path::absolute(command)
            .map_err(|error| Failure::new(format!("`{}`: {error}", command.display()), None))?;
        Program::Exec(path)
    };
    let request = Request {
        policy,
        program,
        args: args.to_vec(),
        inputs: Vec::new(),
        cwd,
        python: python::Request::Default,
        unbuffered: false,
    };
    let host = Host::detect_with(cap::from_environment().map_err(|error| Failure::new(error, None))?);
    let plan = Plan::build(request, &host).map_err(|error| Failure::of_plan(&error))?;
    let report = sandbox::run(plan, connect()?).map_err(|error| Failure::new(&error, error.hint()))?;
    if report.verdict == Verdict::NotExecutable {
        say::note(&report.message);
    }
    match write_error(&report) {
        Some(error) => Err(Failure::new(error, None)),
        None => Ok(outcome(&report)),
    }
}

/// With `--chroot_dir` a directory in it. Otherwise a directory of the host, which is shown read-only: the
/// program is to find the files beside it, as it would outside.
fn working_directory(options: &Options, policy: &mut Policy) -> Result<Option<String>, Failure> {
    if options.chroot_dir.is_some() {
        let directory = options.exec_dir.as_deref().map(|dir| Path::new("/").join(dir));
        return directory.map(text).transpose();
    }
    let here = || std::env::current_dir();
    let directory = match &options.exec_dir {
        Some(directory) => directory.canonicalize(),
        None => here(),
    };
    let directory = directory
        .map_err(|error| Failure::new(format!("cannot use the working directory: {error}"), None))?;
    let home = std::env::var_os("HOME").map(PathBuf::from).and_then(|home| home.canonicalize().ok());
    // Not what is asked for by leaving an option out.
    let too_much = directory == Path::new("/") || home.is_some_and(|home| home.starts_with(&directory));
    if too_much && options.exec_dir.is_none() {
        say::note("the program does not see your home directory or what is above it; --exec_dir shows one");
        return Ok(None);
    }
    let path = text(directory)?;
    policy.files.mounts.push(Mount {
        dst: path.clone(),
        kind: MountKind::Bind,
        src: Some(path.clone()),
        writable: false,
        exec: true,
        size: None,
        content: None,
        optional: false,
        as_owner: None,
    });
    Ok(Some(path))
}

fn text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string()
        .into_string()
        .map_err(|path| Failure::new(format!("`{}` is not UTF-8", path.display()), None))
}

fn connect() -> Result<Connections, Failure> {
    let pass = |fd: std::os::fd::BorrowedFd<'_>| -> Result<Output, Failure> {
        let fd = fd.try_clone_to_owned();
        let fd = fd.map_err(|error| Failure::of_host("use the standard streams", &error))?;
        Ok(Output { pass_to: Some(fd), keep: false })
    };
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    Ok(Connections {
        streams: Pipes {
            stdin: stdin.map_or(StdinSource::Empty, StdinSource::Fd),
            stdout: pass(io::stdout().as_fd())?,
            stderr: pass(io::stderr().as_fd())?,
        },
        cancel: Some(cancel_on_signals()?),
        result: None,
        collect: None,
    })
}

fn outcome(report: &Report) -> Outcome {
    const SECOND: u64 = 1_000_000;
    let usage = &report.usage;
    Outcome {
        verdict: verdict(report),
        elapsed_s: usage.wall_us / SECOND,
        memory_kib: usage.memory_peak_bytes.map(|bytes| bytes.div_ceil(1024)),
        cpu_us: usage.cpu_user_us.unwrap_or(0).saturating_add(usage.cpu_system_us.unwrap_or(0)),
    }
}

fn verdict(report: &Report) -> safeexec::Verdict {
    use safeexec::Verdict as Theirs;
    const SIGKILL: i32 = 9;
    const SIGSYS: i32 = 31;
    let signal = report.signal.as_ref().map_or(SIGKILL, |signal| signal.number);
    match report.verdict {
        Verdict::Ok => Theirs::Ok,
        Verdict::NonzeroExit => Theirs::NonZeroExit(report.exit_code.unwrap_or(u8::MAX)),
        Verdict::Signaled => Theirs::Signal(signal),
        Verdict::TimeLimit => Theirs::TimeLimit,
        Verdict::MemoryLimit => Theirs::MemoryLimit,
        Verdict::OutputLimit => Theirs::OutputLimit,
        // The original knows no such limits, only how the program ended.
        Verdict::DiskLimit | Verdict::ProcessLimit => match report.exit_code {
            Some(code) => Theirs::NonZeroExit(code),
            None if report.verdict == Verdict::DiskLimit && report.signal.is_none() => Theirs::OutputLimit,
            None => Theirs::Signal(signal),
        },
        Verdict::PolicyViolation => Theirs::Signal(SIGSYS),
        Verdict::NotExecutable => not_executable(report.reason),
        Verdict::Cancelled | Verdict::SandboxError => Theirs::InternalError,
    }
}

/// A shell's exit codes for a program that is not there, or cannot be executed.
fn not_executable(reason: Reason) -> safeexec::Verdict {
    safeexec::Verdict::NonZeroExit(if reason == Reason::NotFound { 127 } else { 126 })
}
