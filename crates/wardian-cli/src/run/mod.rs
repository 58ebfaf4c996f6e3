//! `wardian run`: from options to an exit code.

mod connections;
mod early;
mod elsewhere;
mod json;
mod nsjail;
mod options;
mod report_file;
mod summary;
mod terminal;
mod usage;
mod warm;
mod words;

use crate::cli::RunOptions;
use crate::{cap, exit_code, say};
pub(crate) use connections::cancel_on_signals;
pub(crate) use early::Early;
use report_file::ReportFile;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use terminal::RawMode;
pub(crate) use usage::wrong_usage;
use wardian::host::Host;
use wardian::plan::{Plan, PlanError};
use wardian::report::{Reason, Report, Verdict};
use wardian::sandbox::{self, SandboxError, Streams};
pub(crate) use words::command_line;

/// An error of ours: what, and what to do about it.
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
    /// As reports say it.
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
}

impl Failure {
    pub(crate) fn new(text: impl ToString, hint: Option<String>) -> Failure {
        let (verdict, reason) = (Verdict::SandboxError, Reason::Sandbox);
        Failure { text: text.to_string(), hint, verdict, reason }
    }

    /// Options that cannot be.
    fn of_usage(text: impl ToString, hint: Option<String>) -> Failure {
        Failure { reason: Reason::Usage, ..Failure::new(text, hint) }
    }

    /// The same, if it is that.
    fn of_usage_if(is_usage: bool, text: impl ToString, hint: Option<String>) -> Failure {
        if is_usage { Failure::of_usage(text, hint) } else { Failure::new(text, hint) }
    }

    /// A call of ours that the host refused.
    pub(crate) fn of_host(step: &str, error: &io::Error) -> Failure {
        Failure::new(format!("cannot {step}: {error}"), wardian::host::remedy(error))
    }

    /// A program that cannot be executed, for this reason.
    fn of_program(text: impl ToString, hint: Option<String>, why: io::ErrorKind) -> Failure {
        let missing = matches!(why, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        let reason = if missing { Reason::NotFound } else { Reason::NotExecutable };
        Failure { verdict: Verdict::NotExecutable, reason, ..Failure::new(text, hint) }
    }

    pub(crate) fn of_plan(error: &PlanError) -> Failure {
        match error {
            PlanError::Program { source, .. } => Failure::of_program(error, error.hint(), source.kind()),
            _ => Failure::of_usage_if(error.is_usage(), error, error.hint()),
        }
    }
}

/// Runs, reports, exits.
pub(crate) fn main(options: RunOptions, early: Option<Early>) -> ExitCode {
    if let Some(config) = &options.nsjail_config {
        return nsjail::main(&options, config);
    }
    let mut report_file = match options.report.as_deref().map(ReportFile::create).transpose() {
        Ok(file) => file,
        Err(failure) => return fail(&failure, None, options.json),
    };
    match run(&options, early) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(report)) => {
            tell(&report, &options);
            let lost =
                write_error(&report).is_some() || report.files_omitted.iter().any(|file| file.write_error);
            let code = if lost { say::FAILURE } else { exit_code::of(&report) };
            deliver(&report, report_file.as_mut(), options.json).unwrap_or_else(|| ExitCode::from(code))
        }
        Err(failure) => fail(&failure, report_file.as_mut(), options.json),
    }
}

fn run(options: &RunOptions, early: Option<Early>) -> Result<Option<Report>, Failure> {
    if options.warm {
        if let Some(report) = warm::run(options)? {
            return Ok(Some(report));
        }
        if options.summary {
            say::note("note: no service took this run: it starts cold");
        }
    }
    let (host, mut head_start) = match early {
        Some(Early { host, head_start }) => (host, Some(head_start)),
        None => {
            (Host::detect_with(cap::from_environment().map_err(|error| Failure::new(error, None))?), None)
        }
    };
    let prepared = options::prepare(options)?;
    let plan = match &mut head_start {
        Some(head_start) => head_start.plan(prepared.request, &host),
        None => Plan::build(prepared.request, &host),
    };
    let plan = plan.map_err(|error| Failure::of_plan(&error))?;
    if options.explain_plan {
        say::put(&plan.explain())?;
        return Ok(None);
    }
    for note in plan.notes().iter().filter(|_| !options.json) {
        say::note(&format!("note: {note}"));
    }
    let connections = connections::connect(options, prepared.program_from_stdin)?;
    let has_terminal = matches!(connections.streams, Streams::Terminal(_));
    let failed = |error: SandboxError| Failure::new(&error, error.hint());
    let running = sandbox::launch(plan, connections, head_start).map_err(failed)?;
    let raw_mode = has_terminal.then(RawMode::enter).transpose();
    let raw_mode =
        raw_mode.map_err(|error| Failure::new(format!("cannot use the terminal: {error}"), None))?;
    let report = running.wait();
    drop(raw_mode);
    Ok(Some(report.map_err(failed)?))
}

/// One line when there is something to say, more when asked to explain.
fn tell(report: &Report, options: &RunOptions) {
    match report.verdict {
        _ if options.summary => summary::tell(report),
        Verdict::Ok | Verdict::NonzeroExit => {}
        _ if options.json => {}
        _ => say::note(&report.message),
    }
    if let Some(option) = option_of(report).filter(|_| !options.json) {
        say::note(&format!("  hint: `{option}` allows more"));
    }
    if let Some(error) = write_error(report) {
        say::error(&error, None);
    }
    for (name, stream) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
        if stream.truncated && !options.json {
            let limit = report.limits.output_bytes;
            say::note(&format!(
                "{name}: {} of {} bytes were dropped; `--output` allows more",
                stream.bytes - limit,
                stream.bytes
            ));
        }
    }
    for file in report.files_omitted.iter().filter(|_| !options.json) {
        say::note(&format!("not collected: {}: {}", file.path, file.reason));
    }
    explain(report, options);
}

/// The option that sets the limit which ended the program.
fn option_of(report: &Report) -> Option<&'static str> {
    match report.reason {
        Reason::WallTime => Some("--wall"),
        // A signal came of the limit of one process.
        Reason::CpuTime if report.signal.is_some() => None,
        Reason::CpuTime => Some("--cpu-time"),
        Reason::OomKill | Reason::MemoryWatch => Some("--memory"),
        Reason::Output => Some("--output"),
        Reason::FileSize => Some("--file-size"),
        Reason::Disk | Reason::DiskBytes => Some("--disk"),
        Reason::Processes => Some("--processes"),
        Reason::Exit
        | Reason::Signal
        | Reason::DiskInodes
        | Reason::Syscall
        | Reason::NotFound
        | Reason::NotExecutable
        | Reason::Cancelled
        | Reason::Usage
        | Reason::Sandbox => None,
    }
}

/// Why output of the program is not where the caller wants it: a failure, whatever the program did.
pub(crate) fn write_error(report: &Report) -> Option<String> {
    let streams = [("standard output", &report.stdout), ("standard error", &report.stderr)];
    let mut failed = streams.iter().filter_map(|(name, stream)| Some((name, stream.write_error.as_ref()?)));
    failed.next().map(|(name, error)| format!("cannot write the program's {name}: {error}"))
}

/// A hint in the command line's words, where there is an option for a policy's key.
fn in_options(hint: &str) -> String {
    const OPTIONS: [(&str, &str); 3] = [
        ("`network = \"loopback\"`", "`--network loopback`"),
        ("`limits.processes`", "`--processes`"),
        ("`limits.disk`", "`--disk`"),
    ];
    OPTIONS.iter().fold(hint.to_owned(), |hint, (key, option)| hint.replace(key, option))
}

/// What was refused, when asked to explain.
fn explain(report: &Report, options: &RunOptions) {
    if options.explain {
        for denial in &report.denials {
            let detail =
                if denial.detail.is_empty() { String::new() } else { format!(" ({})", denial.detail) };
            say::note(&format!("refused {}×: {}{detail}: {}", denial.count, denial.syscall, denial.errno));
            say::note(&format!("  hint: {}", in_options(&denial.hint)));
        }
        if let Some(why) = &report.denials_unavailable {
            say::note(&format!("refusals could not be observed: {why}"));
        }
    }
}

/// Writes the report where it was asked for; an exit code only if that fails.
fn deliver(report: &Report, file: Option<&mut ReportFile>, json: bool) -> Option<ExitCode> {
    let printed = if json { say::put_with(|out| write(report, out)) } else { Ok(()) };
    let written = file.map_or(Ok(()), |file| file.write(|out| write(report, out)));
    let failure = printed.and(written).err()?;
    say::error(&failure.text, failure.hint.as_deref());
    Some(ExitCode::from(say::FAILURE))
}

/// One line of JSON, never whole in memory: as JSON a byte of output may take six.
fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    json::write(report, &mut out)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn fail(failure: &Failure, file: Option<&mut ReportFile>, json: bool) -> ExitCode {
    say::error(&failure.text, failure.hint.as_deref());
    let Failure { verdict, reason, .. } = *failure;
    let report = Report { verdict, reason, ..Report::sandbox_error(failure.text.clone()) };
    deliver(&report, file, json).unwrap_or_else(|| ExitCode::from(exit_code::of(&report)))
}
