//! Walks page tables, on a thread of its own.
//!
//! Reading `smaps_rollup` waits for a lock of the process that is looked at, which a program can hold most of the time (by
//! changing and copying many mappings). Deadlines must not wait with it.

use super::tree::{Proc, Resident};
use crate::limits::stat::Stat;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The most processes that are walked at one look; the rest count with all that they share.
const MAX_WALKS: usize = 256;
/// How long one process may take, and how much longer for each MiB that the largest has.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_PER_MIB: Duration = Duration::from_millis(1);
/// Nothing but a walk happens there.
const STACK_BYTES: usize = 128 << 10;

/// What to walk: processes, the largest first, as long as the sum is beyond the limit.
pub(super) struct Order {
    /// All memory, in which what processes share counts once for each.
    pub(super) sum: u64,
    pub(super) limit: u64,
    pub(super) sizes: Vec<(Resident, Stat)>,
}

/// What a walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// The sum, with what is shared counted once.
    Found {
        /// When it began.
        at: Instant,
        bytes: u64,
    },
    /// It is under way.
    Underway,
    /// One process takes so long that somebody makes it so.
    Stuck,
}

/// A walk under way.
struct Going {
    at: Instant,
    patience: Duration,
    /// How many processes were done when that was last looked at, and when that changed.
    steps: u64,
    moved: Instant,
    /// Whether what it finds is still of use.
    is_wanted: bool,
}

#[derive(Default)]
struct Progress {
    steps: AtomicU64,
    is_over: AtomicBool,
}

/// The thread, and what it is doing. It ends when this is dropped and the process that it looks at lets it go, at the latest
/// with that process.
pub(super) struct Walker {
    orders: Sender<Order>,
    found: Receiver<u64>,
    progress: Arc<Progress>,
    going: Option<Going>,
}

impl Walker {
    pub(super) fn start(proc: &Arc<Proc>) -> std::io::Result<Walker> {
        let (orders, received) = channel::<Order>();
        let (answer, found) = channel();
        let (proc, progress) = (Arc::clone(proc), Arc::new(Progress::default()));
        let shared = Arc::clone(&progress);
        let answer_all = move || {
            for order in received {
                if answer.send(walk(&proc, &order, &shared)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("wardian-walk".into()).stack_size(STACK_BYTES);
        thread.spawn(answer_all)?;
        Ok(Walker { orders, found, progress, going: None })
    }

    /// Begins unless one is under way, and waits a little.
    pub(super) fn walk(&mut self, order: Order, wait: Duration) -> Walk {
        self.discard_unwanted();
        if self.going.is_none() {
            let now = Instant::now();
            let largest = order.sizes.first().map_or(0, |(size, _)| size.pages >> 20);
            let patience =
                PATIENCE + PATIENCE_PER_MIB.saturating_mul(u32::try_from(largest).unwrap_or(u32::MAX));
            let steps = self.progress.steps.load(Ordering::Relaxed);
            if self.orders.send(order).is_err() {
                return Walk::Stuck;
            }
            self.going = Some(Going { at: now, patience, steps, moved: now, is_wanted: true });
        }
        self.look(wait)
    }

    /// Nobody needs to know any more.
    pub(super) fn forget(&mut self) {
        if let Some(going) = &mut self.going {
            going.is_wanted = false;
        }
    }

    fn discard_unwanted(&mut self) {
        if self.going.as_ref().is_some_and(|going| !going.is_wanted) && self.found.try_recv().is_ok() {
            self.going = None;
        }
    }

    fn look(&mut self, wait: Duration) -> Walk {
        let Some(going) = &mut self.going else { return Walk::Stuck };
        match self.found.recv_timeout(wait) {
            Ok(bytes) if going.is_wanted => {
                let at = going.at;
                self.going = None;
                return Walk::Found { at, bytes };
            }
            Ok(_) => {
                self.going = None;
                return Walk::Underway;
            }
            Err(RecvTimeoutError::Disconnected) => return Walk::Stuck,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let steps = self.progress.steps.load(Ordering::Relaxed);
        if steps != going.steps {
            (going.steps, going.moved) = (steps, Instant::now());
        }
        if going.moved.elapsed() > going.patience { Walk::Stuck } else { Walk::Underway }
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        self.progress.is_over.store(true, Ordering::Relaxed);
    }
}

fn walk(proc: &Proc, order: &Order, progress: &Progress) -> u64 {
    let mut sum = order.sum;
    for (size, stat) in order.sizes.iter().take(MAX_WALKS) {
        if sum <= order.limit || progress.is_over.load(Ordering::Relaxed) {
            break;
        }
        let exact = proc.proportional_bytes(stat).unwrap_or(size.pages);
        sum = sum.saturating_sub(size.pages.saturating_sub(exact));
        progress.steps.fetch_add(1, Ordering::Relaxed);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(proc: &Proc) -> Order {
        let own = proc.stat(std::process::id()).unwrap();
        Order { sum: 1 << 30, limit: 0, sizes: vec![(proc.resident(&own), own)] }
    }

    #[test]
    fn a_walk_is_answered_once() {
        let proc = Arc::new(Proc::open().unwrap());
        let mut walker = Walker::start(&proc).unwrap();
        let before = Instant::now();
        let Walk::Found { at, bytes } = walker.walk(order(&proc), Duration::from_secs(60)) else {
            panic!("it was not walked")
        };
        assert!(at >= before && bytes < 1 << 30, "{bytes}");
        // What nobody needs is not taken for the answer to what is asked later.
        let _ = walker.walk(order(&proc), Duration::ZERO);
        walker.forget();
        let after = Instant::now();
        loop {
            match walker.walk(order(&proc), Duration::from_secs(60)) {
                Walk::Found { at, .. } => break assert!(at >= after),
                Walk::Underway => {}
                Walk::Stuck => panic!("it is stuck"),
            }
        }
    }

    #[test]
    fn who_takes_too_long_is_stuck() {
        let proc = Arc::new(Proc::open().unwrap());
        let mut walker = Walker::start(&proc).unwrap();
        let now = Instant::now();
        let moved = now.checked_sub(Duration::from_secs(10)).unwrap();
        let patience = Duration::from_secs(9);
        walker.going = Some(Going { at: now, patience, steps: 0, moved, is_wanted: true });
        assert_eq!(walker.look(Duration::ZERO), Walk::Stuck);
        walker.progress.steps.store(1, Ordering::Relaxed);
        assert_eq!(walker.look(Duration::ZERO), Walk::Underway);
    }
}
