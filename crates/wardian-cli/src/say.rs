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

/// Help and version to standard output; a wrong command line is an error like any other.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.to_string();
        note(text.trim_end());
        if let Some(script) = script_for_subcommand(error) {
            let _ = writeln!(io::stderr().lock(), "\nhint: to run a program: `wardian run {script}`");
        }
        ExitCode::from(FAILURE)
    } else {
        data(&error.to_string())
    }
}
