//! Jobs that wait: for their turn, then for a sandbox.

use super::Shared;
use super::state::State;
use crate::sandbox::{Cancel, ReadySlot};
use crate::warm::WarmError;
use crate::warm::line::Place;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting job looks whether it was cancelled.
const CANCEL_LOOK: Duration = Duration::from_millis(20);

/// One of the runs that may be under way at once.
pub(super) struct Turn<'a>(&'a Shared);

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

/// Why a job is not to wait any more, if so.
fn no_longer(cancel: Option<&Cancel>) -> Option<WarmError> {
    cancel.is_some_and(Cancel::is_called).then_some(WarmError::Cancelled)
}

impl Shared {
    /// Waits for a turn, first come first served.
    pub(super) fn enter(&self, cancel: Option<&Cancel>) -> Result<Turn<'_>, WarmError> {
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
                given_up = no_longer(cancel);
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
    pub(super) fn take(&self, _turn: &Turn<'_>, cancel: Option<&Cancel>) -> Result<ReadySlot, WarmError> {
        let mut state = self.lock();
        let mut place: Option<Place> = None;
        let taken = loop {
            let is_first = match &place {
                None => state.takers.is_empty(),
                Some(place) => state.takers.is_first(place),
            };
            if is_first && let Some(slot) = state.ready.pop_front() {
                let alive = slot.is_alive();
                // While others are ready, the next one is made when this run has ended: making one takes the cores that a
                // run needs.
                if state.ready.is_empty() || !alive {
                    self.wanted.notify_one();
                }
                if alive {
                    break Ok(slot);
                }
                continue;
            }
            if let Some(error) = no_longer(cancel).or_else(|| state.no_sandbox()) {
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
}
