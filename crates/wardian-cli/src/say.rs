//! Our own words: data on standard output, talk on standard error, each line of talk starting with `wardian: `.
//!
//! A reader that has gone away is no failure of ours: write errors are ignored on purpose.

use std::io::{self, Write};
use std::process::ExitCode;

/// Wardian could not do what was asked.
pub(crate) const FAILURE: u8 = 125;

/// Data, on standard output.
pub(crate) fn data(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A word to the caller, on standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "wardian: {text}");
}

/// An error and what to do about it.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "wardian: error: {text}");
    if let Some(hint) = hint {
        let _ = writeln!(err, "\nhint: {hint}");
    }
}

/// Help and version to standard output; a wrong command line is an error like any other.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.to_string();
        note(text.trim_end());
        ExitCode::from(FAILURE)
    } else {
        data(&error.to_string());
        ExitCode::SUCCESS
    }
}
