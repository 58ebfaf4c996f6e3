//! What a pool has, and what is missing.

use crate::sandbox::{ReadySlot, Remains, SandboxError, Zygote};
use crate::warm::WarmError;
use crate::warm::line::Line;
use crate::warm::options::PoolOptions;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// After so many sandboxes in a row that could not be made the zygote is taken for unfit, and replaced.
const MOST_FAILED_SLOTS: u32 = 3;

pub(super) struct State {
    pub(super) zygote: Option<Arc<Zygote>>,
    pub(super) ready: VecDeque<ReadySlot>,
    pub(super) running: usize,
    /// Jobs that wait for their turn.
    pub(super) queue: Line,
    pub(super) generation: u64,
    /// Jobs that have their turn, and no sandbox yet.
    pub(super) takers: Line,
    /// Sandboxes being made.
    pub(super) making: usize,
    /// Whether a zygote is being made.
    pub(super) renewing: bool,
    /// Why the old zygote is still there, and until when nothing is done about it.
    pub(super) overdue: Option<(String, Instant)>,
    /// Of runs that have ended: the next maker removes it, so that no report waits for that.
    pub(super) remains: Vec<Remains>,
    /// Sandboxes made from this zygote.
    pub(super) made: u64,
    /// How many could not be made since one could.
    pub(super) failed_slots: u32,
    pub(super) born: Instant,
    pub(super) draining: bool,
    pub(super) ended: bool,
    /// Why the last sandbox could not be made, while none has been since.
    pub(super) failure: Option<String>,
}

/// What a maker is to make.
pub(super) enum Order {
    Zygote,
    Slot { zygote: Arc<Zygote>, rehearses: bool },
}

impl Order {
    /// Whether it cannot be carried out any more, by whomever.
    pub(super) fn is_void(&self) -> bool {
        matches!(self, Order::Slot { zygote, .. } if !zygote.is_alive())
    }
}

pub(super) enum Made {
    Zygote(Arc<Zygote>),
    Slot(Box<ReadySlot>),
}

impl State {
    pub(super) fn new() -> State {
        State {
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
        }
    }

    /// Why there is no sandbox to wait for, if so.
    pub(super) fn no_sandbox(&self) -> Option<WarmError> {
        let reason = self.failure.clone()?;
        Some(SandboxError::Zygote { reason }.into())
    }

    pub(super) fn live_zygote(&self) -> Option<&Arc<Zygote>> {
        self.zygote.as_ref().filter(|zygote| zygote.is_alive())
    }

    /// What is missing and nobody makes yet.
    pub(super) fn order(&mut self, options: &PoolOptions) -> Option<Order> {
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
    pub(super) fn fulfil(&mut self, order: &Order) {
        match order {
            Order::Zygote => self.renewing = false,
            Order::Slot { .. } => self.making -= 1,
        }
    }

    pub(super) fn adopt(&mut self, zygote: Arc<Zygote>) {
        self.zygote = Some(zygote);
        self.generation += 1;
        self.overdue = None;
        self.made = 0;
        self.failed_slots = 0;
        self.born = Instant::now();
    }

    pub(super) fn take_in(&mut self, made: Made) {
        match made {
            Made::Zygote(zygote) => self.adopt(zygote),
            Made::Slot(slot) => self.ready.push_back(*slot),
        }
    }
}
