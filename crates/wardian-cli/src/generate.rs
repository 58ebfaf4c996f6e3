//! Completions and the manual page, from the one definition of the command line.

use crate::cli::Cli;
use crate::say;
use clap::CommandFactory;
use std::process::ExitCode;

/// A completion script.
pub(crate) fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wardian", &mut script);
    say::data(&String::from_utf8_lossy(&script))
}

/// The manual page of a subcommand, or of the whole, in roff.
pub(crate) fn man(subcommand: &[String]) -> ExitCode {
    let mut whole = Cli::command();
    whole.build();
    let found = subcommand.iter().try_fold(&whole, |command, name| command.find_subcommand(name));
    let Some(command) = found else {
        say::error(
            &format!("there is no subcommand `{}`", subcommand.join(" ")),
            Some("`wardian --help` lists them"),
        );
        return ExitCode::from(say::FAILURE);
    };
    let mut page = Vec::new();
    match clap_mangen::Man::new(command.clone()).render(&mut page) {
        Ok(()) => say::data(&String::from_utf8_lossy(&page)),
        Err(error) => {
            say::error(&format!("cannot make the manual page: {error}"), None);
            ExitCode::from(say::FAILURE)
        }
    }
}

/// The help of a subcommand that takes `--help` for one of its own words.
pub(crate) fn help(name: &str) -> ExitCode {
    let mut command = Cli::command();
    let help = command.find_subcommand_mut(name).map(|command| command.render_help().to_string());
    say::data(&help.unwrap_or_default())
}
