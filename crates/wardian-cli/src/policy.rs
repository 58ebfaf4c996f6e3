//! `wardian policy`: list, show, check, schema, import.

use crate::cli::PolicyCommand;
use crate::say;
use std::path::Path;
use std::process::ExitCode;
use wardian::compat::nsjail;
use wardian::policy::{self, PRESETS, PolicyError};

/// One of the policy commands.
pub(crate) fn main(command: &PolicyCommand) -> ExitCode {
    let done = match command {
        PolicyCommand::List => list(),
        PolicyCommand::Show { policy } => show(policy),
        PolicyCommand::Check { file } => check(file),
        PolicyCommand::Schema => Ok(format!("{}\n", policy::file_schema())),
        PolicyCommand::ImportNsjail { file, best_effort } => import_nsjail(file, *best_effort),
    };
    match done {
        Ok(text) => say::data(&text),
        Err((error, hint)) => {
            say::error(&error, hint.as_deref());
            ExitCode::from(say::FAILURE)
        }
    }
}

type Done = Result<String, (String, Option<String>)>;

fn wrong(error: &PolicyError) -> (String, Option<String>) {
    (error.to_string(), error.hint())
}

fn list() -> Done {
    let mut text = String::new();
    for preset in PRESETS {
        let policy = policy::preset(preset.name).map_err(|error| wrong(&error))?;
        text += &format!("{:<10} {}\n", policy.name, policy.description);
    }
    Ok(text)
}

fn show(name: &str) -> Done {
    let policy = policy::load(name).map_err(|error| wrong(&error))?;
    policy::to_toml(&policy).map_err(|error| (error.to_string(), None))
}

fn check(file: &str) -> Done {
    let path = if file.contains('/') { file.to_owned() } else { format!("./{file}") };
    let policy = policy::load(&path).map_err(|error| wrong(&error))?;
    Ok(format!("{file}: policy `{}` is valid\n", policy.name))
}

fn import_nsjail(file: &Path, best_effort: bool) -> Done {
    let text = std::fs::read_to_string(file)
        .map_err(|error| (format!("cannot read `{}`: {error}", file.display()), None))?;
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let config = nsjail::parse(&text).map_err(|error| (named(&error), None))?;
    let dropped = nsjail::check(&config, best_effort).map_err(|error| (named(&error), error.hint()))?;
    for unsupported in dropped {
        say::note(&format!("dropped `{}`: {}", unsupported.field, unsupported.reason));
    }
    let import =
        nsjail::to_policy(&config, &nsjail::Caller::current()).map_err(|error| (named(&error), None))?;
    nsjail::to_toml(&import, &file.display().to_string()).map_err(|error| (error.to_string(), None))
}
