//! The `wardian` command line: one file a subcommand, no decisions of containment in any.
#![forbid(unsafe_code)]

mod caller_fd;
mod cap;
mod cli;
mod doctor;
mod exit_code;
mod gc;
mod generate;
mod lifeline;
mod policy;
mod run;
mod safeexec;
mod say;
mod serve;
mod stack;

use cli::{Cli, Command};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    // Beyond the caller's limit of file sizes, which what a program wrote may reach, a write is to fail and not to end us.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    if let Err(failure) = stack::raise() {
        say::error(&failure.text, failure.hint.as_deref());
        return ExitCode::from(say::FAILURE);
    }
    let words = run::command_line();
    let early = run::Early::begin(&words);
    let cli = match Cli::read(words) {
        Ok(cli) => cli,
        Err(error) => return run::wrong_usage(&error),
    };
    match cli.command {
        Command::Run(options) => run::main(*options, early),
        Command::Safeexec { args } => safeexec::main(args),
        Command::Doctor(options) => doctor::main(&options),
        Command::Policy(command) => policy::main(&command),
        Command::Serve(options) => serve::main(*options),
        Command::Gc => gc::main(),
        Command::Completions { shell } => generate::completions(shell),
        Command::Man { subcommand } => generate::man(&subcommand),
    }
}
