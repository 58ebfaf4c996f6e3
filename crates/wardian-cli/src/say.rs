//! Our own words: data on standard output, talk on standard error, each line of talk starting with `wardian: `.
//!
//! A reader that has gone away is no failure of ours.

use crate::run::Failure;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use wardian::files::shown;

/// Wardian could not do what was asked.
pub(crate) const FAILURE: u8 = 125;

/// Data, on standard output.
pub(crate) fn put(text: &str) -> Result<(), Failure> {
    put_with(|out| out.write_all(text.as_bytes()))
}

/// Data that is not to be in memory at once.
pub(crate) fn put_with(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match fill(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}"), None))
        }
        _ => Ok(()),
    }
}

/// The same as all that there is to do.
pub(crate) fn data(text: &str) -> ExitCode {
    match put(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error(&failure.text, failure.hint.as_deref());
            ExitCode::from(FAILURE)
        }
    }
}

/// A word to the caller, on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "wardian: {}", shown(text));
}

/// An error and what to do about it.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "wardian: error: {}", shown(text));
    if let Some(hint) = hint {
        let _ = writeln!(err, "\nhint: {}", shown(hint));
    }
}

/// What stands where a subcommand should, if it is a file.
fn script_for_subcommand(error: &clap::Error) -> Option<&str> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(name))) if Path::new(name).is_file() => {
            Some(name)
        }
        _ => None,
    }
}

/// What to write instead of options that cannot stand together, or alone.
fn advice(error: &clap::Error, problem: &str) -> Option<&'static str> {
    use clap::error::ErrorKind;
    let together = |one: &str, other: &str| problem.contains(one) && problem.contains(other);
    match error.kind() {
        ErrorKind::ArgumentConflict if together("--nsjail-config", "--file") => {
            Some("the config's mounts are all there is: show a file with `--mount src=HOST,dst=GUEST`")
        }
        ErrorKind::ArgumentConflict if together("--nsjail-config", "--collect") => {
            Some("mount a directory that the program may write: `--mount src=DIR,dst=/out,rw`")
        }
        ErrorKind::ArgumentConflict if problem.contains("--nsjail-config") => {
            Some("the config says it; the program follows after `--`")
        }
        ErrorKind::ArgumentConflict => Some("leave one of them out"),
        ErrorKind::MissingRequiredArgument if problem.contains("--collect") => {
            Some("`--collect GLOB` says which files, `--out DIR` where they go")
        }
        _ => None,
    }
}

/// Help and version to standard output; a wrong command line is an error like any other.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.to_string();
        let problem = text.split("\n\nUsage:").next().unwrap_or(&text);
        let advice = advice(error, problem);
        // What options may stand together is not what the lines about usage tell.
        let told = if advice.is_some() { problem } else { &text };
        note(told.trim_end());
        if let Some(advice) = advice {
            let _ = writeln!(io::stderr().lock(), "\nhint: {advice}");
        }
        if let Some(script) = script_for_subcommand(error) {
            let _ = writeln!(io::stderr().lock(), "\nhint: to run a program: `wardian run {script}`");
        }
        ExitCode::from(FAILURE)
    } else {
        data(&error.to_string())
    }
}
