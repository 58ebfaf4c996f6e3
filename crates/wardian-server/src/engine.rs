//! The engine behind the service: an environment's interpreter, and how its sandboxes are started.

use crate::config::{ConfigError, EnvironmentConfig};
use crate::ready::Ready;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardian::files::{GuestName, Input, InputError, InputSet, InputSetError};
use wardian::host::Host;
use wardian::plan::{PlanError, Program, Request};
use wardian::policy::Policy;
use wardian::python::{self, FindError, Interpreter};
use wardian::report::Report;
use wardian::sandbox::{self, Connections, HeadStart, SandboxError};
use wardian::warm::WarmError;

/// What is run, with everything it gets.
pub(crate) struct Job {
    pub(crate) environment: Arc<Environment>,
    /// The policy with the request's limits and variables laid over it.
    pub(crate) policy: Policy,
    pub(crate) start: Start,
    pub(crate) args: Vec<String>,
    /// Files in its working directory. They become files of the kernel's only when the job's turn has come.
    pub(crate) files: Vec<(GuestName, Vec<u8>)>,
    /// Whether output is watched live.
    pub(crate) unbuffered: bool,
}

/// How the interpreter is started.
pub(crate) enum Start {
    /// With one of the files, by its name.
    Script(String),
    /// With code, as `python -c`.
    Code(String),
    /// With a module, as `python -m`.
    Module(String),
    /// With the job's arguments as they stand.
    Arguments,
}

/// Why a job was not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Warm(#[from] WarmError),
    #[error(transparent)]
    Inputs(#[from] InputSetError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("the entry `{0}` is none of the files")]
    NoEntry(String),
}

impl RunError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            RunError::Plan(error) => error.hint(),
            RunError::Sandbox(error) => error.hint(),
            RunError::Warm(error) => error.hint(),
            RunError::Input(error) => error.hint(),
            RunError::Inputs(_) | RunError::NoEntry(_) => None,
        }
    }
}

/// An interpreter that is ready to be used.
pub(crate) struct Environment {
    pub(crate) config: EnvironmentConfig,
    pub(crate) interpreter: Interpreter,
    request: python::Request,
    /// Sandboxes that are ready ahead, by policy.
    pub(crate) ready: Vec<Ready>,
    /// How long it took to get ready.
    pub(crate) took: Duration,
}

impl Environment {
    /// Finds the interpreter, and makes sandboxes ready under each of `policies`, for `running` runs at once.
    pub(crate) fn start(
        config: &EnvironmentConfig,
        policies: &[Policy],
        running: usize,
        host: &Host,
    ) -> Result<Environment, ConfigError> {
        let started = Instant::now();
        let wrong = |problem: String, hint| {
            let name = config.name.clone();
            ConfigError::Environment { name, problem, hint }
        };
        let no_python = |error: FindError| wrong(error.to_string(), error.hint());
        let request = match (&config.python, &config.venv) {
            (Some(text), _) => text.parse().map_err(no_python)?,
            (None, Some(directory)) => python::Request::Venv(directory.clone()),
            (None, None) => python::Request::Default,
        };
        let interpreter = python::find(&request).map_err(no_python)?;
        let mut ready = Vec::new();
        for policy in policies.iter().filter(|_| config.ready > 0) {
            match Ready::start(config, policy, &request, running, host) {
                Ok(started) => ready.push(started),
                Err(error) if config.preload.is_empty() => {
                    let (name, policy, hint) = (&config.name, &policy.name, error.hint());
                    tracing::warn!(%name, %policy, %error, hint, "no sandboxes ready ahead: every run starts cold");
                }
                Err(error) => return Err(wrong(error.to_string(), preload_hint(&error, &interpreter))),
            }
        }
        Ok(Environment { config: config.clone(), interpreter, request, ready, took: started.elapsed() })
    }

    /// How sandboxes under a policy are started, in a word.
    pub(crate) fn starts(&self, policy: &Policy) -> &'static str {
        if self.ready.iter().any(|ready| ready.policy() == policy.name) { "warm" } else { "cold" }
    }

    /// Whether it is as it would be started now.
    pub(crate) fn is(&self, config: &EnvironmentConfig, policies: &[Policy], running: usize) -> bool {
        let wanted = policies.iter().filter(|_| config.ready > 0);
        self.config == *config
            && self.ready.len() == wanted.clone().count()
            && self.ready.iter().zip(wanted).all(|(ready, policy)| ready.is(policy, running))
    }

    /// Blocks until the run is over and everything inside is gone; says too whether it was `warm` or `cold`.
    pub(crate) fn run(
        &self,
        job: Job,
        connections: Connections,
        host: &Host,
    ) -> Result<(Report, &'static str), RunError> {
        let fitting = self.ready.iter().find_map(|ready| Some((ready, ready.fit(&job)?)));
        match fitting {
            Some((ready, fitting)) => Ok((ready.run(job, fitting, connections)?, "warm")),
            None => Ok((self.run_cold(job, connections, host)?, "cold")),
        }
    }

    fn run_cold(&self, job: Job, connections: Connections, host: &Host) -> Result<Report, RunError> {
        let mut head_start = HeadStart::begin(host);
        let inputs = inputs(job.files)?;
        let program = match job.start {
            Start::Script(entry) => {
                let input = inputs.iter().find(|input| input.name() == entry);
                Program::Script(input.cloned().ok_or(RunError::NoEntry(entry))?)
            }
            Start::Code(code) => Program::Code(code.into()),
            Start::Module(name) => Program::Module(name.into()),
            Start::Arguments => Program::Exec(self.interpreter.executable.clone()),
        };
        let request = Request {
            args: job.args.into_iter().map(OsString::from).collect(),
            inputs,
            python: self.request.clone(),
            unbuffered: job.unbuffered,
            ..Request::new(job.policy, program)
        };
        let plan = head_start.plan(request, host)?;
        Ok(sandbox::launch(plan, connections, Some(head_start))?.wait()?)
    }
}

/// A module that cannot be imported may be one that another interpreter has.
fn preload_hint(error: &WarmError, interpreter: &Interpreter) -> Option<String> {
    let WarmError::Sandbox(SandboxError::Zygote { .. }) = error else { return error.hint() };
    let path = interpreter.executable.display();
    Some(format!(
        "its interpreter is {path}; choose one that has all that is to be preloaded: `--python`, or `python` or `venv` in \
         the configuration"
    ))
}

/// The job's files as files of the kernel's.
pub(crate) fn inputs(files: Vec<(GuestName, Vec<u8>)>) -> Result<Vec<Input>, RunError> {
    let inputs = files.into_iter().map(|(name, bytes)| Input::from_bytes(name, &bytes));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    Ok(InputSet::new(inputs, u64::MAX)?.into_vec())
}
