//! The caller's descriptors and signals.

use super::{Failure, terminal};
use crate::cli::RunOptions;
use crate::lifeline;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use wardian::files::{CollectLimits, Globs, OutDir};
use wardian::policy::Bytes;
use wardian::sandbox::{Cancel, Collect, Connections, Output, Pipes, StdinSource, Streams, Terminal};

/// Connects a run to its caller: by a terminal, if that is what the caller has.
pub(super) fn connect(
    options: &RunOptions,
    program_from_stdin: bool,
) -> Result<Connections<Streams>, Failure> {
    if options.json || options.stdin.is_some() || !terminal::is_ours() {
        return with_pipes(options, program_from_stdin).map(Connections::from);
    }
    let make = || -> io::Result<Terminal> {
        Ok(Terminal {
            input: io::stdin().as_fd().try_clone_to_owned()?,
            output: Output {
                pass_to: Some(io::stdout().as_fd().try_clone_to_owned()?),
                keep: options.report.is_some(),
            },
            resized: terminal::resized()?,
        })
    };
    let terminal = make().map_err(|error| Failure::new(format!("cannot use the terminal: {error}"), None))?;
    with(options, Streams::Terminal(terminal))
}

/// Connects a run to its caller by pipes, whatever the caller has.
pub(super) fn with_pipes(options: &RunOptions, program_from_stdin: bool) -> Result<Connections, Failure> {
    let keep = options.json || options.report.is_some();
    let pass = |fd: BorrowedFd<'_>| -> io::Result<Output> {
        let pass_to = if options.json { None } else { Some(fd.try_clone_to_owned()?) };
        Ok(Output { pass_to, keep })
    };
    let descriptors = |error: io::Error| Failure::of_host("use the standard streams", &error);
    let pipes = Pipes {
        stdin: stdin(options, program_from_stdin)?,
        stdout: pass(io::stdout().as_fd()).map_err(descriptors)?,
        stderr: pass(io::stderr().as_fd()).map_err(descriptors)?,
    };
    with(options, pipes)
}

fn with<S>(options: &RunOptions, streams: S) -> Result<Connections<S>, Failure> {
    Ok(Connections {
        streams,
        cancel: Some(cancel(options)?),
        result: result(options)?,
        collect: collect(options)?,
    })
}

fn stdin(options: &RunOptions, program_from_stdin: bool) -> Result<StdinSource, Failure> {
    let Some(path) = &options.stdin else {
        let stdin: io::Result<OwnedFd> = io::stdin().as_fd().try_clone_to_owned();
        // A closed standard input is an empty one.
        return Ok(stdin.map_or(StdinSource::Empty, StdinSource::Fd));
    };
    if program_from_stdin {
        return Err(Failure::of_usage("`--stdin` cannot be used with a program from standard input", None));
    }
    let open = || -> io::Result<File> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    };
    let file =
        open().map_err(|error| Failure::new(format!("`--stdin {}`: {error}", path.display()), None))?;
    Ok(StdinSource::Fd(file.into()))
}

/// Ends the run at our signals, and at the end of the lifeline if there is one.
fn cancel(options: &RunOptions) -> Result<Cancel, Failure> {
    let cancel = cancel_on_signals()?;
    if let Some(path) = &options.lifeline {
        let at_end = cancel.clone();
        lifeline::watch(path, move || at_end.cancel())
            .map_err(|error| Failure::new(error.to_string(), None))?;
    }
    Ok(cancel)
}

/// The most that a result may be given: it is kept in memory.
const LARGEST_RESULT: Bytes = Bytes(64 << 20);

fn result(options: &RunOptions) -> Result<Option<Bytes>, Failure> {
    if !options.result {
        return Ok(None);
    }
    if !options.json && options.report.is_none() {
        let hint = "`--json` prints the report, `--report FILE` writes it";
        return Err(Failure::of_usage("`--result` goes into a report, and there is none", Some(hint.into())));
    }
    if options.result_size > LARGEST_RESULT {
        let text =
            format!("`--result-size`: {} is more than the {LARGEST_RESULT} it can be", options.result_size);
        return Err(Failure::of_usage(text, None));
    }
    Ok(Some(options.result_size))
}

fn collect(options: &RunOptions) -> Result<Option<Collect>, Failure> {
    if options.collect.is_empty() {
        return Ok(None);
    }
    if options.out.is_none() && !options.json && options.report.is_none() {
        let hint = "`--out DIR` writes files there, `--json` prints the report, `--report FILE` writes it";
        return Err(Failure::of_usage(
            "`--collect`: there is neither `--out` nor a report",
            Some(hint.into()),
        ));
    }
    let globs = Globs::new(&options.collect).map_err(|error| Failure::of_usage(&error, error.hint()))?;
    let out = options.out.as_deref().map(OutDir::open).transpose();
    let out = out.map_err(|error| Failure::new(&error, error.hint()))?;
    Ok(Some(Collect { globs, limits: CollectLimits::default(), out }))
}

/// SIGINT, SIGQUIT, SIGTERM and SIGHUP end the run, which is then reported as cancelled.
pub(crate) fn cancel_on_signals() -> Result<Cancel, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let failed = |error: io::Error| Failure::of_host("watch for signals", &error);
    let cancel = Cancel::new().map_err(failed)?;
    for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
        let (noted, wake) = cancel.for_handler().map_err(failed)?;
        let number = usize::try_from(signal).unwrap_or(0);
        // Handlers run in this order: whoever wakes up finds the number.
        signal_hook::flag::register_usize(signal, noted, number).map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, wake).map_err(failed)?;
    }
    Ok(cancel)
}
