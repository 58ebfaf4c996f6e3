//! Sandboxes that are ready ahead of demand, under one policy; and which jobs they fit.

use crate::config::EnvironmentConfig;
use crate::engine::{self, Job, RunError, Start};
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use wardian::host::Host;
use wardian::policy::{Limits, Policy};
use wardian::python;
use wardian::report::Report;
use wardian::sandbox::Connections;
use wardian::warm::{self, JobLimits, JobProgram, Levels, Pool, PoolOptions, Preload, Rotation, WarmError};

/// A pool, and the policy it was made with.
pub(crate) struct Ready {
    policy: Policy,
    running: usize,
    pool: Pool,
    /// Whether it has been said that its zygote is older than it should be.
    told_overdue: AtomicBool,
}

/// A job's program, and what the job changes of the pool's policy: as much as a pool lets it.
pub(crate) struct Fitting {
    program: JobProgram,
    limits: JobLimits,
    env: Vec<(String, String)>,
}

/// The service's own queue comes before: here nobody waits but for a sandbox to be made.
const QUEUE: usize = 1024;

impl Ready {
    pub(crate) fn start(
        config: &EnvironmentConfig,
        policy: &Policy,
        python: &python::Request,
        running: usize,
        host: &Host,
    ) -> Result<Ready, WarmError> {
        let options = PoolOptions {
            policy: policy.clone(),
            python: python.clone(),
            preload: config.preload.iter().map(Preload::from).collect(),
            ready: config.ready,
            running,
            queue: QUEUE,
            rotation: Rotation::default(),
        };
        let pool = Pool::start(options, host)?;
        Ok(Ready { policy: policy.clone(), running, pool, told_overdue: AtomicBool::new(false) })
    }

    /// Whether it is what would be started now.
    pub(crate) fn is(&self, policy: &Policy, running: usize) -> bool {
        self.policy == *policy && self.running == running
    }

    /// The policy's name.
    pub(crate) fn policy(&self) -> &str {
        &self.policy.name
    }

    pub(crate) fn levels(&self) -> Levels {
        self.pool.levels()
    }

    /// Whether its zygote goes on because the next cannot be started.
    pub(crate) fn is_overdue(&self) -> bool {
        self.pool.overdue().is_some()
    }

    /// What a pool needs to know of the job, if it can be run here.
    pub(crate) fn fit(&self, job: &Job) -> Option<Fitting> {
        let program = match &job.start {
            Start::Script(entry) => JobProgram::Script(entry.clone()),
            Start::Code(code) => JobProgram::Code(code.into()),
            Start::Module(name) => JobProgram::Module(name.into()),
            Start::Arguments => return None,
        };
        let (ours, wanted) = (&self.policy.limits, &job.policy.limits);
        let mut same = job.policy.clone();
        same.limits = Limits {
            wall: ours.wall,
            cpu_time: ours.cpu_time,
            memory: ours.memory,
            processes: ours.processes,
            disk: ours.disk,
            output: ours.output,
            ..same.limits
        };
        same.environment.set.clone_from(&self.policy.environment.set);
        let set = &self.policy.environment.set;
        let env = job.policy.environment.set.iter().filter(|(name, value)| set.get(*name) != Some(*value));
        let env: Vec<_> = env.map(|(name, value)| (name.clone(), value.clone())).collect();
        if same != self.policy || env.iter().any(|(name, _)| warm::is_read_at_start(name)) {
            return None;
        }
        let limits = JobLimits {
            wall: Some(wanted.wall),
            cpu_time: Some(wanted.cpu_time),
            memory: Some(wanted.memory),
            processes: Some(wanted.processes),
            disk: Some(wanted.disk),
            output: Some(wanted.output),
        };
        self.pool.check_limits(&limits).ok()?;
        Some(Fitting { program, limits, env })
    }

    pub(crate) fn run(
        &self,
        job: Job,
        fitting: Fitting,
        connections: Connections,
    ) -> Result<Report, RunError> {
        let job = warm::Job {
            inputs: engine::inputs(job.files)?,
            args: job.args.into_iter().map(OsString::from).collect(),
            env: fitting.env,
            limits: fitting.limits,
            unbuffered: job.unbuffered,
            ..warm::Job::new(fitting.program)
        };
        let report = self.pool.run(&job, connections)?;
        self.tell_overdue();
        Ok(report)
    }

    /// Says once that rotation does not work, and once that it does again.
    fn tell_overdue(&self) {
        let why = self.pool.overdue();
        let told = self.told_overdue.swap(why.is_some(), Ordering::Relaxed);
        match why {
            Some(why) if !told => {
                tracing::warn!(policy = %self.policy.name, %why, "an old zygote goes on: its successor cannot be started");
            }
            None if told => tracing::info!(policy = %self.policy.name, "the old zygote has been replaced"),
            _ => {}
        }
    }
}
