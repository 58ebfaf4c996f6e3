//! A wrong command line of `run` is reported where its own options say, although they could not be read as a whole.

use super::report_file::ReportFile;
use super::{Failure, deliver};
use crate::cli::Cli;
use crate::say;
use clap::CommandFactory;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use wardian::report::Report;

/// Help and version to standard output; a wrong command line is an error like any other.
pub(crate) fn wrong_usage(error: &clap::Error) -> ExitCode {
    let code = say::usage(error);
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((_, args)) = args.split_first().filter(|(command, _)| error.use_stderr() && *command == "run")
    else {
        return code;
    };
    let wanted = Wanted::of(args);
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let report = Report::sandbox_error(first.to_owned());
    let mut file = match wanted.report.as_deref().map(ReportFile::create).transpose() {
        Ok(file) => file,
        Err(Failure { text, hint }) => {
            say::error(&text, hint.as_deref());
            None
        }
    };
    // Whether or not the report can be written, this is a failure.
    let _ = deliver(&report, file.as_mut(), wanted.json);
    code
}

/// Where the report is wanted.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    report: Option<PathBuf>,
    json: bool,
}

impl Wanted {
    /// Reads the options up to the program, knowing only which of them take a value.
    fn of(args: &[OsString]) -> Wanted {
        let command = Cli::command();
        let takes_value = |long: &[u8]| {
            command.find_subcommand("run").into_iter().flat_map(clap::Command::get_opts).any(|option| {
                option.get_action().takes_values()
                    && option
                        .get_long_and_visible_aliases()
                        .is_some_and(|names| names.iter().any(|name| name.as_bytes() == long))
            })
        };
        let mut wanted = Wanted::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            let Some(long) = bytes.strip_prefix(b"--").filter(|long| !long.is_empty()) else {
                match bytes {
                    b"-c" | b"-m" => drop(args.next()),
                    [b'-', _, ..] if bytes != b"--" => {}
                    _ => break,
                }
                continue;
            };
            let (name, value) = match long.iter().position(|byte| *byte == b'=') {
                Some(at) => (
                    &long[..at],
                    long.get(at + 1..).map(|value| std::ffi::OsStr::from_bytes(value).to_owned()),
                ),
                None if takes_value(long) => (long, args.next().cloned()),
                None => (long, None),
            };
            match name {
                b"report" => wanted.report = value.map(PathBuf::from),
                b"json" => wanted.json = true,
                _ => {}
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Wanted {
        Wanted::of(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_report_is_found_among_wrong_options() {
        let here = |json| Wanted { report: Some("r".into()), json };
        assert_eq!(of(&["--wall", "-1", "--report", "r", "x.py"]), here(false));
        assert_eq!(of(&["--report=r", "--json", "--nope", "x.py"]), here(true));
        assert_eq!(of(&["-c", "--json", "--report", "r"]), here(false));
    }

    #[test]
    fn values_and_what_follows_the_program_are_not_options() {
        assert_eq!(of(&["--env", "--json", "x.py"]), Wanted::default());
        assert_eq!(of(&["x.py", "--report", "r"]), Wanted::default());
        assert_eq!(of(&["--", "--report", "r"]), Wanted::default());
    }
}
