//! The engine behind the service: an environment's interpreter, and how its sandboxes are started.

use crate::config::{ConfigError, EnvironmentConfig};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardian::files::{GuestName, Input, InputError, InputSet, InputSetError};
use wardian::host::Host;
use wardian::plan::{Plan, PlanError, Program, Request};
use wardian::policy::Policy;
use wardian::python::{self, Interpreter};
use wardian::report::Report;
use wardian::sandbox::{self, Connections, HeadStart, SandboxError};

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
    /// With one of the inputs, by its name.
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
    starts: Starts,
    /// How long it took to get ready.
    pub(crate) took: Duration,
}

/// How sandboxes are started.
enum Starts {
    /// Each for itself.
    Cold,
}

impl Environment {
    /// Finds the interpreter, and starts what is to be ready ahead.
    pub(crate) fn start(config: &EnvironmentConfig) -> Result<Environment, ConfigError> {
        let started = Instant::now();
        let key = || format!("environments.{}", config.name);
        let request = match (&config.python, &config.venv) {
            (Some(text), _) => text.parse().map_err(|error| ConfigError::invalid(key(), error))?,
            (None, Some(directory)) => python::Request::Venv(directory.clone()),
            (None, None) => python::Request::Default,
        };
        let interpreter = python::find(&request).map_err(|error| ConfigError::invalid(key(), error))?;
        if !config.preload.is_empty() {
            return Err(ConfigError::invalid(key(), "`preload`: this version starts every run cold"));
        }
        Ok(Environment {
            config: config.clone(),
            interpreter,
            request,
            starts: Starts::Cold,
            took: started.elapsed(),
        })
    }

    /// How sandboxes are started, in a word.
    pub(crate) fn starts(&self) -> &'static str {
        match self.starts {
            Starts::Cold => "cold",
        }
    }

    /// Blocks until the run is over and everything inside is gone.
    pub(crate) fn run(&self, job: Job, connections: Connections, host: &Host) -> Result<Report, RunError> {
        match self.starts {
            Starts::Cold => self.run_cold(job, connections, host),
        }
    }

    fn run_cold(&self, job: Job, connections: Connections, host: &Host) -> Result<Report, RunError> {
        let head_start = HeadStart::begin(host);
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
            policy: job.policy,
            program,
            args: job.args.into_iter().map(OsString::from).collect(),
            inputs,
            cwd: None,
            python: self.request.clone(),
            unbuffered: job.unbuffered,
        };
        let plan = Plan::build(request, host)?;
        Ok(sandbox::launch(plan, connections, Some(head_start))?.wait()?)
    }
}

fn inputs(files: Vec<(GuestName, Vec<u8>)>) -> Result<Vec<Input>, RunError> {
    let inputs = files.into_iter().map(|(name, bytes)| Input::from_bytes(name, &bytes));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    Ok(InputSet::new(inputs, u64::MAX)?.into_vec())
}
