//! A wrong command line of `run` is reported where its own options say, although they could not be read as a whole.

use super::report_file::ReportFile;
use super::words::Words;
use super::{Failure, deliver};
use crate::say;
use std::ffi::OsString;
use std::process::ExitCode;
use wardian::compat::nsjail::Ending;
use wardian::report::{Reason, Report};

/// Help and version to standard output; a wrong command line is an error like any other.
pub(crate) fn wrong_usage(error: &clap::Error) -> ExitCode {
    let code = say::usage(error);
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((_, args)) = args.split_first().filter(|(command, _)| error.use_stderr() && *command == "run")
    else {
        return code;
    };
    let wanted = Words::of(args);
    let text = error.to_string();
    let said: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = said.join(" ").trim_start_matches("error: ").to_owned();
    let report = Report { reason: Reason::Usage, ..Report::sandbox_error(message) };
    let mut file = match wanted.report.as_deref().map(ReportFile::create).transpose() {
        Ok(file) => file,
        Err(Failure { text, hint, .. }) => {
            say::error(&text, hint.as_deref());
            None
        }
    };
    // Whether or not the report can be written, this is a failure.
    let _ = deliver(&report, file.as_mut(), wanted.json);
    if wanted.nsjail { ExitCode::from(Ending::SetupFailed.exit_code()) } else { code }
}
