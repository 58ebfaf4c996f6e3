//! The pool: one zygote at a time, sandboxes ready ahead of demand, a bounded queue.

mod maker;
mod state;
mod turn;

use super::options::{Levels, PoolOptions};
use super::preload::Loads;
use super::{Job, JobLimits, WarmError};
use crate::host::Host;
use crate::plan::Plan;
use crate::report::Report;
use crate::sandbox::{Armed, Cancel, Connections, ReadySlot, SandboxError};
use maker::MOST_MAKERS;
use state::State;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use turn::Turn;
use wardian_init::MOST_SLOTS;

/// Most sandboxes of a pool.
const MOST: usize = MOST_SLOTS - MOST_MAKERS - 1;
/// How often a job takes another sandbox when the one it has ended before it began.
const ATTEMPTS: usize = 3;

/// Warm sandboxes of one policy, interpreter and set of imports. Shared by threads; nothing forks from the caller.
///
/// Dropping it ends its makers, its sandboxes and its zygote; a run borrows it, so there is none then.
pub struct Pool {
    shared: Arc<Shared>,
    makers: Vec<JoinHandle<()>>,
}

struct Shared {
    options: PoolOptions,
    loads: Loads,
    host: Host,
    state: Mutex<State>,
    /// A run has ended, or a job waits no longer.
    changed: Condvar,
    /// There is something to make.
    wanted: Condvar,
}

impl Pool {
    /// Starts the zygote and the thread that makes sandboxes.
    ///
    /// # Errors
    /// A policy that cannot be warm, a module that cannot be imported or cannot be forked, a host that cannot contain.
    pub fn start(options: PoolOptions, host: &Host) -> Result<Pool, WarmError> {
        if options.running == 0 || options.ready + options.running > MOST {
            let what = format!(
                "{} ready and {} running sandboxes; 1 to {MOST} in all",
                options.ready, options.running
            );
            return Err(WarmError::Options { what });
        }
        let shared = Arc::new(Shared {
            loads: Loads::read(&options.preload)?,
            options,
            host: host.clone(),
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            wanted: Condvar::new(),
        });
        let zygote = shared.new_zygote()?;
        let first = ReadySlot::make(&zygote, true)?;
        {
            let mut state = shared.lock();
            state.adopt(zygote);
            state.made = 1;
            state.ready.push_back(first);
        }
        // What fails here ends the others.
        let mut pool = Pool { shared, makers: Vec::new() };
        for _ in 0..pool.shared.makers() {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new().name("wardian-pool".into());
            let maker = thread.spawn(move || shared.make());
            pool.makers.push(maker.map_err(|error| SandboxError::at("start the pool's threads")(error))?);
        }
        Ok(pool)
    }

    /// Runs a job in the next sandbox that is ready; blocks until every process of it is gone.
    ///
    /// # Errors
    /// A job that cannot be run, a full queue, failures of ours; whatever the program does is in the report.
    pub fn run(&self, job: &Job, connections: Connections) -> Result<Report, WarmError> {
        let accepted = Instant::now();
        job.check()?;
        let cancel = connections.cancel.clone();
        let turn = self.shared.enter(cancel.as_ref())?;
        let (armed, plan) = self.arm(job, &turn, cancel.as_ref(), connections.result.is_some())?;
        let (report, remains) = armed.begin(plan, connections, accepted)?.wait_for_processes()?;
        self.shared.lock().remains.push(remains);
        Ok(report)
    }

    /// A sandbox in which the job's program has begun, and what the run is planned to be. A sandbox that has ended while it
    /// waited is not the job's.
    fn arm(
        &self,
        job: &Job,
        turn: &Turn<'_>,
        cancel: Option<&Cancel>,
        result: bool,
    ) -> Result<(Armed, Plan), WarmError> {
        let mut attempt = 1;
        loop {
            let slot = self.shared.take(turn, cancel)?;
            let plan = job.plan(slot.plan())?;
            match job.with_frame(result, |frame| slot.arm(&plan, &job.inputs, frame)) {
                Ok(armed) => return Ok((armed, plan)),
                Err(error) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Whether jobs may have these limits here; if not, a cold run can.
    ///
    /// # Errors
    /// Names the limit.
    pub fn check_limits(&self, limits: &JobLimits) -> Result<(), WarmError> {
        let state = self.shared.lock();
        let zygote = state.zygote.as_ref().ok_or(WarmError::Draining)?;
        limits.lay_over(&zygote.plan.run).map(drop)
    }

    /// How it is doing.
    pub fn levels(&self) -> Levels {
        let state = self.shared.lock();
        Levels {
            ready: state.ready.len(),
            running: state.running,
            queued: state.queue.len(),
            generation: state.generation,
            zygote_bytes: state.zygote.as_ref().and_then(|zygote| zygote.memory_bytes()),
        }
    }

    /// Why an old zygote goes on, if its successor cannot be made; that is tried again and again.
    pub fn overdue(&self) -> Option<String> {
        self.shared.lock().overdue.as_ref().map(|(why, _)| why.clone())
    }

    /// Takes no more jobs, and waits until those that there are have ended.
    pub fn drain(&self) {
        let mut state = self.shared.lock();
        state.draining = true;
        while state.running > 0 || !state.queue.is_empty() {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Makers alone are left: whoever runs a job, or drains, borrows the pool.
        self.shared.lock().ended = true;
        self.shared.wanted.notify_all();
        for maker in self.makers.drain(..) {
            let _ = maker.join();
        }
        let (ready, remains, zygote) = {
            let mut state = self.shared.lock();
            (std::mem::take(&mut state.ready), std::mem::take(&mut state.remains), state.zygote.take())
        };
        drop((ready, remains, zygote));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
