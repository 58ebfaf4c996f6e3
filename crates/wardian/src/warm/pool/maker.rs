//! Makers: threads that replace what was used.
//!
//! Making a sandbox is a conversation of several processes, each of which waits for the next: several are made at once,
//! so that no core waits for them.

use super::Shared;
use super::state::{Made, Order, State};
use crate::plan::WarmPlan;
use crate::sandbox::{ReadySlot, Zygote};
use crate::warm::{WarmError, harness};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a maker waits after a failure, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long an old zygote goes on before its successor is tried again.
const OVERDUE: Duration = Duration::from_secs(1);
/// Most threads that make sandboxes: a zygote forks one child after the other.
pub(super) const MOST_MAKERS: usize = 4;
/// Of so many runs at most something may remain for a while.
const MOST_REMAINS: usize = 8;

impl Shared {
    /// How many threads make sandboxes.
    pub(super) fn makers(&self) -> usize {
        self.host.cpus.len().clamp(1, MOST_MAKERS)
    }

    pub(super) fn new_zygote(&self) -> Result<Arc<Zygote>, WarmError> {
        let options = &self.options;
        let harness = harness::FILES.map(|(name, content)| (name.to_owned(), content.to_vec()));
        let files = harness.into_iter().chain(self.loads.files.iter().cloned()).collect();
        let plan = WarmPlan::build(options.policy.clone(), options.python.clone(), files, &self.host)?;
        // While one zygote makes place for the next, both have sandboxes.
        let slots = options.ready + options.running + self.makers() + 1;
        Ok(Arc::new(Zygote::start(plan, &self.loads.names, u32::try_from(slots).unwrap_or(u32::MAX))?))
    }

    /// A maker's thread: replaces what was used, and the zygote when it is old or gone.
    pub(super) fn make(&self) {
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
