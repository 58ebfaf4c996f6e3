//! `wardian serve`: the service, with the command line's options laid over its configuration.

use crate::cli::ServeOptions;
use crate::{cap, lifeline, say};
use std::path::PathBuf;
use std::process::ExitCode;
use wardian::host::Host;
use wardian_server::{Config, EnvironmentConfig, Options};

pub(crate) fn main(options: ServeOptions) -> ExitCode {
    if let Some(name) = &options.new_key {
        return new_key(name);
    }
    let host = match cap::from_environment() {
        Ok(cap) => Host::detect_with(cap),
        Err(error) => return fail(&error.to_string(), None),
    };
    if let Some(path) = &options.lifeline
        && let Err(error) = lifeline::watch(path, end)
    {
        return fail(&error.to_string(), None);
    }
    let file = options.config.clone();
    let over = Box::new(move |config: &mut Config| lay_over(config, &options));
    match wardian_server::serve(Options { file, over, host }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), error.hint().as_deref()),
    }
}

/// Ends the service in order. Before it listens for the signal, the signal ends it at once.
fn end() {
    use rustix::process::{Signal, getpid, kill_process};
    // There is always a process of ours.
    let _ = kill_process(getpid(), Signal::TERM);
}

fn fail(text: &str, hint: Option<&str>) -> ExitCode {
    say::error(text, hint);
    ExitCode::from(say::FAILURE)
}

fn new_key(name: &str) -> ExitCode {
    match wardian_server::new_key(name) {
        Ok((key, entry)) => {
            say::data(&format!("# for the client, shown once: {key}\n{entry}"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("cannot make a key: {error}"), None),
    }
}

fn lay_over(config: &mut Config, options: &ServeOptions) {
    if !options.listen.is_empty() {
        config.listen.clone_from(&options.listen);
    } else if options.unix.is_some() && options.config.is_none() {
        // A socket alone was asked for.
        config.listen.clear();
    }
    if let Some(path) = &options.unix {
        config.unix = Some(path.clone());
    }
    if !options.python.is_empty() {
        config.environments = options.python.iter().map(|python| environment(python)).collect();
    }
    if !options.preload.is_empty() {
        for environment in &mut config.environments {
            environment.preload.clone_from(&options.preload);
        }
    }
}

/// An interpreter of the command line: its name is its version, or the path's last part.
fn environment(python: &str) -> EnvironmentConfig {
    let name = match PathBuf::from(python).file_name() {
        Some(name) if python.contains('/') => name.to_string_lossy().into_owned(),
        _ => format!("python{python}"),
    };
    EnvironmentConfig { name, python: Some(python.to_owned()), ..EnvironmentConfig::default() }
}
