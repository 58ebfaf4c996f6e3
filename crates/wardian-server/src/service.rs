//! The service: what all requests share, and how a run gets from a request to its report.

use crate::auth::Caller;
use crate::config::{Config, ConfigError};
use crate::crowd::Crowd;
use crate::engine::{Job, RunError};
use crate::gate::{Gate, Pass, Refused};
use crate::health::Readiness;
use crate::idempotency::Answers;
use crate::memory::Memory;
use crate::metrics::{self, Metrics};
use crate::problem::Problem;
use crate::room;
use crate::setup::Setup;
use axum::http::StatusCode;
use rustix::process::{Resource, getrlimit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use wardian::host::Host;
use wardian::report::{Report, Verdict};
use wardian::sandbox::{Cancel, Collect, Connections, StdinSource};
use wardian::warm::WarmError;

/// What all requests share.
pub(crate) struct Service {
    current: RwLock<Arc<Setup>>,
    pub(crate) host: Host,
    pub(crate) gate: Gate,
    pub(crate) memory: Memory,
    pub(crate) metrics: Metrics,
    pub(crate) crowd: Crowd,
    pub(crate) answers: Answers,
    pub(crate) readiness: Readiness,
    /// What ends every run under way.
    runs: Mutex<HashMap<u64, Cancel>>,
    next_run: AtomicU64,
}

/// Input from memory, output into the report.
pub(crate) fn kept(stdin: Vec<u8>, collect: Option<Collect>) -> Connections {
    let mut connections = Connections { collect, ..Connections::capture() };
    if !stdin.is_empty() {
        connections.streams.stdin = StdinSource::Bytes(stdin);
    }
    connections
}

/// A run under way; dropping it ends the run.
pub(crate) struct Going {
    told: oneshot::Receiver<Result<Report, Problem>>,
    cancel: Cancel,
}

impl Drop for Going {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Going {
    /// Passes a signal on to the program.
    pub(crate) fn signal(&self, number: u8) {
        self.cancel.pass_signal(number);
    }

    /// Waits for its end.
    pub(crate) async fn report(&mut self) -> Result<Report, Problem> {
        let ended = (&mut self.told).await;
        ended.unwrap_or_else(|_| Err(Problem::ours("the run's thread ended unexpectedly")))
    }
}

/// What was asked for and cannot be is the client's matter; the rest is ours.
fn problem(error: &RunError) -> Problem {
    match error {
        RunError::NoEntry(_) => Problem::field("entry", error),
        RunError::Inputs(_) => Problem::field("files", error),
        RunError::Warm(WarmError::Draining | WarmError::Cancelled) => draining(),
        RunError::Plan(wardian::plan::PlanError::Nul { .. }) => Problem::field("args", error),
        RunError::Plan(wardian::plan::PlanError::NoPlaceForFiles) => Problem::field("files", error),
        RunError::Plan(wardian::plan::PlanError::Policy(_)) => Problem::field("limits", error),
        _ => Problem::untold("sandbox"),
    }
}

impl Service {
    pub(crate) fn new(setup: Setup, host: Host) -> Service {
        let (most_running, queue) = bounds(&setup.config, &host);
        let memory = Memory::new(setup.config.requests.memory.0);
        Service {
            current: RwLock::new(Arc::new(setup)),
            host,
            gate: Gate::new(most_running, queue),
            memory,
            metrics: Metrics::new(),
            crowd: Crowd::new(open_files()),
            answers: Answers::default(),
            readiness: Readiness::default(),
            runs: Mutex::default(),
            next_run: AtomicU64::new(0),
        }
    }

    /// The configuration in effect.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration into effect, or keeps the old one.
    pub(crate) fn reload(&self, config: Config) -> Result<Arc<Setup>, ConfigError> {
        let before = self.setup();
        let fixed = [
            ("log", config.log == before.config.log),
            ("requests.memory", config.requests.memory == before.config.requests.memory),
        ];
        if let Some((key, _)) = fixed.into_iter().find(|(_, same)| !same) {
            return Err(ConfigError::invalid(key, "takes effect at a start only"));
        }
        let setup = Arc::new(Setup::new(config, Some(&before), &self.host)?);
        let (most_running, queue) = bounds(&setup.config, &self.host);
        self.gate.resize(most_running, queue);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&setup);
        self.metrics.reloaded();
        Ok(setup)
    }

    /// Goes back to a configuration that was in effect before.
    pub(crate) fn restore(&self, setup: Arc<Setup>) {
        let (most_running, queue) = bounds(&setup.config, &self.host);
        self.gate.resize(most_running, queue);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = setup;
    }

    /// Waits for a turn and starts a run. How it is connected is made when its turn has come: who waits holds no pipes.
    pub(crate) async fn start<T>(
        self: &Arc<Self>,
        interface: &'static str,
        caller: &Caller,
        job: Job,
        connect: impl FnOnce() -> Result<(Connections, T), Problem>,
    ) -> Result<(Going, T), Problem> {
        room::check(&job.files, &job.policy)?;
        let pass = self.turn(caller).await?;
        let (connections, ends) = connect()?;
        let cancel = Cancel::new().map_err(Problem::ours)?;
        let registered = Registered::new(self, &cancel);
        let connections = Connections { cancel: Some(cancel.clone()), ..connections };
        let (service, span) = (Arc::clone(self), tracing::Span::current());
        let (tell, told) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let environment = Arc::clone(&job.environment);
            let ended = environment.run(job, connections, &service.host);
            drop((registered, pass));
            let (ended, log) = service.count(interface, ended);
            let _ = tell.send(ended);
            // Here, whether or not its client is still there; and after the answer, which need not wait for it.
            span.in_scope(log);
        });
        Ok((Going { told, cancel }, ends))
    }

    /// Waits for a turn.
    async fn turn(&self, caller: &Caller) -> Result<Pass, Problem> {
        let runs = self.setup().config.runs.clone();
        let asked = Instant::now();
        let entering = self.gate.enter(&caller.id, caller.at_once);
        let pass = match tokio::time::timeout(runs.queue_time.as_std(), entering).await {
            Ok(Ok(pass)) => pass,
            Ok(Err(Refused::Draining)) => return Err(draining()),
            Ok(Err(Refused::Full)) => return Err(busy(format!("{} requests wait already", runs.queue))),
            Err(_) => return Err(busy(format!("no turn within {}", runs.queue_time))),
        };
        self.metrics.waited(asked.elapsed());
        Ok(pass)
    }

    /// Counts a run that is over; what is answered of it, and what logs it.
    fn count(
        &self,
        interface: &'static str,
        ended: Result<(Report, &'static str), RunError>,
    ) -> (Result<Report, Problem>, Box<dyn FnOnce()>) {
        match ended {
            Ok((report, start)) => {
                self.metrics.ran(interface, start, &report);
                let verdict = metrics::word(report.verdict);
                let (run, policy) = (report.id.clone(), report.policy.name.clone());
                (Ok(report), Box::new(move || tracing::info!(%run, verdict, %policy, start, "run")))
            }
            Err(error) => {
                let problem = problem(&error);
                let log: Box<dyn FnOnce()> =
                    if matches!(error, RunError::Warm(WarmError::Draining | WarmError::Cancelled)) {
                        self.metrics.failed(interface, Verdict::Cancelled);
                        Box::new(|| tracing::info!(verdict = metrics::word(Verdict::Cancelled), "run"))
                    } else if problem.status.is_server_error() {
                        self.metrics.failed(interface, Verdict::SandboxError);
                        Box::new(move || tracing::error!(%error, hint = error.hint(), "run failed"))
                    } else {
                        Box::new(|| ())
                    };
                (Err(problem), log)
            }
        }
    }

    /// A run from its turn to its report.
    pub(crate) async fn run(
        self: &Arc<Self>,
        interface: &'static str,
        caller: &Caller,
        job: Job,
        connections: Connections,
    ) -> Result<Report, Problem> {
        let (mut going, ()) = self.start(interface, caller, job, || Ok((connections, ()))).await?;
        let report = going.report().await?;
        // A run is only cancelled under us when the service ends.
        if report.verdict == Verdict::Cancelled { Err(draining()) } else { Ok(report) }
    }

    /// Ends every run under way.
    pub(crate) fn cancel_all(&self) {
        for cancel in self.runs.lock().unwrap_or_else(PoisonError::into_inner).values() {
            cancel.cancel();
        }
    }

    /// Waits until nothing runs or waits any more, for at most `time`.
    pub(crate) async fn idle(&self, time: Duration) -> bool {
        const LOOK: Duration = Duration::from_millis(20);
        let end = Instant::now() + time;
        while self.gate.levels() != crate::gate::Levels::default() {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

/// A run's place among those that can be ended together.
struct Registered {
    service: Arc<Service>,
    number: u64,
}

impl Registered {
    fn new(service: &Arc<Service>, cancel: &Cancel) -> Registered {
        let number = service.next_run.fetch_add(1, Ordering::Relaxed);
        service.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(number, cancel.clone());
        Registered { service: Arc::clone(service), number }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.service.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Descriptors that this process may have.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

fn bounds(config: &Config, host: &Host) -> (usize, usize) {
    (config.running(host), config.runs.queue)
}

pub(crate) fn draining() -> Problem {
    let detail = "the service is ending and takes no more requests";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).retry_after(5)
}

fn busy(detail: String) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(1)
}
