//! The pool: one zygote at a time, sandboxes ready ahead of demand, a bounded queue.
//!
//! Making a sandbox is a conversation of several processes, each of which waits for the next: several are made at once,
//! so that no core waits for them.

use super::line::{Line, Place};
use super::options::{Levels, PoolOptions};
use super::preload::Loads;
use super::{Job, JobLimits, WarmError};
use crate::host::Host;
use crate::plan::WarmPlan;
use crate::report::Report;
use crate::sandbox::{Cancel, Connections, ReadySlot, Remains, SandboxError, Zygote};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wardian_init::MOST_SLOTS;

/// The two halves of the harness, by the names that Python finds them by.
const HARNESS: [(&str, &[u8]); 2] = [
    ("sitecustomize.py", include_bytes!("harness.py")),
    ("wardian_zygote.so", include_bytes!(concat!(env!("OUT_DIR"), "/shared/libwardian_zygote.so"))),
];
/// How long the maker of sandboxes waits after a failure, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long an old zygote goes on before its successor is tried again.
const OVERDUE: Duration = Duration::from_secs(1);
/// After so many sandboxes in a row that could not be made the zygote is taken for unfit, and replaced.
const MOST_FAILED_SLOTS: u32 = 3;
/// Most threads that make sandboxes: a zygote forks one child after the other.
const MOST_MAKERS: usize = 4;
/// Most sandboxes of a pool.
const MOST: usize = MOST_SLOTS - MOST_MAKERS - 1;
/// Of so many runs at most something may remain for a while.
const MOST_REMAINS: usize = 8;
/// How often a job takes another sandbox when the one it has ended before it began.
const ATTEMPTS: usize = 3;

/// How often a waiting job looks whether it was cancelled.
const CANCEL_LOOK: Duration = Duration::from_millis(20);

/// Warm sandboxes of one policy, interpreter and set of imports. Shared by threads; nothing forks from the caller.
///
/// Dropping it ends every run.
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

struct State {
    zygote: Option<Arc<Zygote>>,
    ready: VecDeque<ReadySlot>,
    running: usize,
    /// Jobs that wait for their turn.
    queue: Line,
    generation: u64,
    /// Jobs that have their turn, and no sandbox yet.
    takers: Line,
    /// Sandboxes being made.
    making: usize,
    /// Whether a zygote is being made.
    renewing: bool,
    /// Why the old zygote is still there, and until when nothing is done about it.
    overdue: Option<(String, Instant)>,
    /// Of runs that have ended: the next maker removes it, so that no report waits for that.
    remains: Vec<Remains>,
    /// Sandboxes made from this zygote.
    made: u64,
    /// How many could not be made since one could.
    failed_slots: u32,
    born: Instant,
    draining: bool,
    ended: bool,
    /// Why the last sandbox could not be made, while none has been since.
    failure: Option<String>,
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
        let state = State {
            zygote: None,
            ready: VecDeque::new(),
            running: 0,
            queue: Line::default(),
            generation: 0,
            takers: Line::default(),
            making: 0,
            renewing: false,
            overdue: None,
            remains: Vec::new(),
            made: 0,
            failed_slots: 0,
            born: Instant::now(),
            draining: false,
            ended: false,
            failure: None,
        };
        let shared = Arc::new(Shared {
            loads: Loads::read(&options.preload)?,
            options,
            host: host.clone(),
            state: Mutex::new(state),
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
        let (cancel, result) = (connections.cancel.clone(), connections.result.is_some());
        let turn = self.shared.enter(cancel.as_ref())?;
        let mut connections = Some(connections);
        for attempt in 1.. {
            let slot = self.shared.take(&turn, cancel.as_ref())?;
            let plan = job.plan(slot.plan())?;
            // A sandbox that has ended while it waited is not the job's.
            match job.with_frame(result, |frame| slot.arm(&plan, &job.inputs, frame)) {
                Ok(armed) => {
                    let Some(connections) = connections.take() else { break };
                    let (report, remains) = armed.begin(plan, connections, accepted)?.wait_for_processes()?;
                    self.shared.lock().remains.push(remains);
                    return Ok(report);
                }
                Err(error) if attempt == ATTEMPTS => return Err(error.into()),
                Err(_) => {}
            }
        }
        Err(WarmError::Draining)
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
        {
            let mut state = self.shared.lock();
            (state.draining, state.ended) = (true, true);
            state.queue.call_all();
            state.takers.call_all();
        }
        self.shared.wanted.notify_all();
        self.shared.changed.notify_all();
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

/// One of the runs that may be under way at once.
struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        state.queue.call_first();
        drop(state);
        self.0.changed.notify_all();
        self.0.wanted.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_zygote(&self) -> Result<Arc<Zygote>, WarmError> {
        let options = &self.options;
        let harness = HARNESS.map(|(name, content)| (name.to_owned(), content.to_vec()));
        let files = harness.into_iter().chain(self.loads.files.iter().cloned()).collect();
        let plan = WarmPlan::build(options.policy.clone(), options.python.clone(), files, &self.host)?;
        // While one zygote makes place for the next, both have sandboxes.
        let slots = options.ready + options.running + self.makers() + 1;
        Ok(Arc::new(Zygote::start(plan, &self.loads.names, u32::try_from(slots).unwrap_or(u32::MAX))?))
    }

    /// Waits for a turn, first come first served.
    fn enter(&self, cancel: Option<&Cancel>) -> Result<Turn<'_>, WarmError> {
        let mut state = self.lock();
        if state.draining {
            return Err(WarmError::Draining);
        }
        if state.running >= self.options.running || !state.queue.is_empty() {
            if state.queue.len() >= self.options.queue {
                return Err(WarmError::Busy { queue: self.options.queue });
            }
            let place = state.queue.join();
            let mut given_up = None;
            while given_up.is_none()
                && (state.running >= self.options.running || !state.queue.is_first(&place))
            {
                state = self.wait(state, &place, cancel);
                given_up = state.no_longer(cancel);
            }
            state.queue.leave(&place);
            self.changed.notify_all();
            if let Some(error) = given_up {
                return Err(error);
            }
        }
        state.running += 1;
        Ok(Turn(self))
    }

    /// The next sandbox that is ready.
    fn take(&self, _turn: &Turn<'_>, cancel: Option<&Cancel>) -> Result<ReadySlot, WarmError> {
        let mut state = self.lock();
        let mut place: Option<Place> = None;
        let taken = loop {
            let is_first = match &place {
                None => state.takers.is_empty(),
                Some(place) => state.takers.is_first(place),
            };
            if is_first && let Some(slot) = state.ready.pop_front() {
                let alive = slot.is_alive();
                // While others are ready, the next one is made when this run has ended: making it needs the same cores.
                if state.ready.is_empty() || !alive {
                    self.wanted.notify_one();
                }
                if alive {
                    break Ok(slot);
                }
                continue;
            }
            if let Some(error) = state.no_longer(cancel).or_else(|| state.no_sandbox()) {
                break Err(error);
            }
            let place = place.get_or_insert_with(|| state.takers.join()).clone();
            self.wanted.notify_one();
            state = self.wait(state, &place, cancel);
        };
        if let Some(place) = place {
            state.takers.leave(&place);
        }
        taken
    }

    /// Waits to be called; a job that can be cancelled looks now and then whether it was.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        place: &Place,
        cancel: Option<&Cancel>,
    ) -> MutexGuard<'a, State> {
        match cancel {
            None => place.call.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(_) => place.call.wait_timeout(state, CANCEL_LOOK).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// How many threads make sandboxes.
    fn makers(&self) -> usize {
        self.host.cpus.len().clamp(1, MOST_MAKERS)
    }

    /// A maker's thread: replaces what was used, and the zygote when it is old or gone.
    fn make(&self) {
        // What killed supervisors left; what cannot be removed is the next sweep's.
        drop(crate::limits::cgroup::gc(self.host.cgroups()));
        let mut pause = PAUSES.0;
        while let Some(order) = self.next_order() {
            let made = match &order {
                Order::Zygote => self.new_zygote().map(Made::Zygote),
                Order::Slot { zygote, rehearses } => ReadySlot::make(zygote, *rehearses)
                    .map(|slot| Made::Slot(Box::new(slot)))
                    .map_err(WarmError::from),
            };
            let mut state = self.lock();
            state.fulfil(&order);
            match made {
                Ok(made) => {
                    if matches!(made, Made::Slot(_)) {
                        state.failed_slots = 0;
                        pause = PAUSES.0;
                    }
                    state.take_in(made);
                    state.failure = None;
                    state.takers.call_first();
                }
                Err(error) if matches!(order, Order::Zygote) && state.live_zygote().is_some() => {
                    state.overdue = Some((error.to_string(), Instant::now() + OVERDUE));
                }
                Err(error) => {
                    state = self.pause(state, pause);
                    // That a zygote has ended is nobody's failure: the next order replaces it.
                    if !order.is_void() {
                        state.failed_slots += u32::from(matches!(order, Order::Slot { .. }));
                        state.failure = Some(error.to_string());
                        state.takers.call_all();
                    }
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Lets time pass, unless the pool ends.
    fn pause<'a>(&self, mut state: MutexGuard<'a, State>, long: Duration) -> MutexGuard<'a, State> {
        let until = Instant::now() + long;
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.wanted.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// Waits until there is something to make; none at the end.
    fn next_order(&self) -> Option<Order> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            // Somebody waits for a sandbox, and nobody for this.
            if state.remains.len() <= MOST_REMAINS
                && let Some(order) = state.order(&self.options)
            {
                return Some(order);
            }
            if !state.remains.is_empty() {
                let remains = std::mem::take(&mut state.remains);
                drop(state);
                drop(remains);
                state = self.lock();
                continue;
            }
            // The zygote's age is looked at now and then.
            let waited = self.wanted.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a maker is to make.
enum Order {
    Zygote,
    Slot { zygote: Arc<Zygote>, rehearses: bool },
}

impl Order {
    /// Whether it cannot be carried out any more, by whomever.
    fn is_void(&self) -> bool {
        matches!(self, Order::Slot { zygote, .. } if !zygote.is_alive())
    }
}

enum Made {
    Zygote(Arc<Zygote>),
    Slot(Box<ReadySlot>),
}

impl State {
    /// Why a job is not to wait any more, if so.
    fn no_longer(&self, cancel: Option<&Cancel>) -> Option<WarmError> {
        if self.ended {
            return Some(WarmError::Draining);
        }
        cancel.is_some_and(Cancel::is_called).then_some(WarmError::Cancelled)
    }

    /// Why there is no sandbox to wait for, if so.
    fn no_sandbox(&self) -> Option<WarmError> {
        let reason = self.failure.clone()?;
        Some(SandboxError::Zygote { reason }.into())
    }

    fn live_zygote(&self) -> Option<&Arc<Zygote>> {
        self.zygote.as_ref().filter(|zygote| zygote.is_alive())
    }

    /// What is missing and nobody makes yet.
    fn order(&mut self, options: &PoolOptions) -> Option<Order> {
        let rotation = options.rotation;
        let old = self.made >= rotation.sandboxes
            || self.born.elapsed() >= rotation.age
            || self.failed_slots >= MOST_FAILED_SLOTS;
        let due = old && self.overdue.as_ref().is_none_or(|(_, until)| Instant::now() >= *until);
        let alive = self.live_zygote().cloned();
        if (due || alive.is_none()) && !std::mem::replace(&mut self.renewing, true) {
            return Some(Order::Zygote);
        }
        // One that is old goes on until the next is there.
        let zygote = alive?;
        if self.ready.len() + self.making >= options.ready.max(self.takers.len()) {
            return None;
        }
        self.made += 1;
        self.making += 1;
        Some(Order::Slot { zygote, rehearses: self.takers.is_empty() })
    }

    /// A maker has done what it could.
    fn fulfil(&mut self, order: &Order) {
        match order {
            Order::Zygote => self.renewing = false,
            Order::Slot { .. } => self.making -= 1,
        }
    }

    fn adopt(&mut self, zygote: Arc<Zygote>) {
        self.zygote = Some(zygote);
        self.generation += 1;
        self.overdue = None;
        self.made = 0;
        self.failed_slots = 0;
        self.born = Instant::now();
    }

    fn take_in(&mut self, made: Made) {
        match made {
            Made::Zygote(zygote) => self.adopt(zygote),
            Made::Slot(slot) => self.ready.push_back(*slot),
        }
    }
}
