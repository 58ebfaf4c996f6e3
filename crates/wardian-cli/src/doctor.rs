//! `wardian doctor`: what this machine can enforce, and how to fix what it cannot.

use crate::cli::DoctorOptions;
use crate::{cap, say};
use std::process::ExitCode;
use wardian::host::{Examination, Host};

/// Prints the examination; exit code 1 if the default policy cannot be met.
pub(crate) fn main(options: &DoctorOptions) -> ExitCode {
    let cap = match cap::from_environment() {
        Ok(cap) => cap,
        Err(error) => {
            say::error(&error.to_string(), None);
            return ExitCode::from(say::FAILURE);
        }
    };
    let examination = Host::examine(cap);
    let text = match text(&examination, options.json) {
        Ok(text) => text,
        Err(error) => {
            say::error(&format!("cannot write the findings: {error}"), None);
            return ExitCode::from(say::FAILURE);
        }
    };
    if let Err(failure) = say::put(&text) {
        say::error(&failure.text, None);
        return ExitCode::from(say::FAILURE);
    }
    if examination.default_policy_can_be_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn text(examination: &Examination, json: bool) -> serde_json::Result<String> {
    if json {
        serde_json::to_string_pretty(examination).map(|text| text + "\n")
    } else {
        Ok(examination.to_text())
    }
}
