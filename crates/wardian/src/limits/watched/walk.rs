//! Walks page tables, on a thread of its own.
//!
//! Reading `smaps_rollup` waits for a lock of the process that is looked at, which a program can hold most of the time (by
//! changing and copying many mappings). Deadlines must not wait with it.

use super::tree::{Proc, Proportion, Resident};
use crate::limits::stat::Stat;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The most processes that are walked at one look; the rest count with all that they share.
const MAX_WALKS: usize = 256;
/// How long a walk may take, and how much longer for each 8 MiB of all processes: some four times as long as it does.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_PER_8_MIB: Duration = Duration::from_millis(1);
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
        sum: Sum,
    },
    /// It is under way.
    Underway,
    /// It takes so long that somebody makes it so.
    Stuck,
}

/// Memory of processes that come and go while it is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// That of those who were still there at the end. What they shared with others who were not is theirs by now, and counts
    /// for less.
    pub(super) at_least: u64,
    /// With that of those who have ended meanwhile: the last of them had, when it was looked at, parts of what others had been
    /// counted with.
    pub(super) at_most: u64,
}

impl Sum {
    /// It is so much.
    pub(super) fn known(bytes: u64) -> Sum {
        Sum { at_least: bytes, at_most: bytes }
    }
}

/// A walk under way.
struct Going {
    at: Instant,
    patience: Duration,
    /// Whether what it finds is still of use.
    is_wanted: bool,
}

/// The thread, and what it is doing. It ends when this is dropped and the process that it looks at lets it go, at the latest
/// with that process.
pub(super) struct Walker {
    orders: Sender<Order>,
    found: Receiver<Sum>,
    is_over: Arc<AtomicBool>,
    going: Option<Going>,
}

impl Walker {
    pub(super) fn start(proc: &Arc<Proc>) -> std::io::Result<Walker> {
        let (orders, received) = channel::<Order>();
        let (answer, found) = channel();
        let (proc, is_over) = (Arc::clone(proc), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&is_over);
        let answer_all = move || {
            for order in received {
                if answer.send(walk(&proc, &order, &told)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("wardian-walk".into()).stack_size(STACK_BYTES);
        thread.spawn(answer_all)?;
        Ok(Walker { orders, found, is_over, going: None })
    }

    /// Begins unless one is under way, and waits a little.
    pub(super) fn walk(&mut self, order: Order, wait: Duration) -> Walk {
        self.discard_unwanted();
        if self.going.is_none() {
            let at = Instant::now();
            let amount = u32::try_from(order.sum >> 23).unwrap_or(u32::MAX);
            let patience = PATIENCE + PATIENCE_PER_8_MIB.saturating_mul(amount);
            if self.orders.send(order).is_err() {
                return Walk::Stuck;
            }
            self.going = Some(Going { at, patience, is_wanted: true });
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
            Ok(sum) if going.is_wanted => {
                let at = going.at;
                self.going = None;
                Walk::Found { at, sum }
            }
            Ok(_) => {
                self.going = None;
                Walk::Underway
            }
            Err(RecvTimeoutError::Timeout) if going.at.elapsed() <= going.patience => Walk::Underway,
            Err(_) => Walk::Stuck,
        }
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn walk(proc: &Proc, order: &Order, is_over: &AtomicBool) -> Sum {
    let mut sum = order.sum;
    let mut found = Vec::new();
    for (size, stat) in order.sizes.iter().take(MAX_WALKS) {
        if sum <= order.limit || is_over.load(Ordering::Relaxed) {
            break;
        }
        let (counted, is) = match proc.proportion(stat) {
            Proportion::Bytes(bytes) => (size.pages, bytes),
            Proportion::Gone => (size.bytes(), 0),
            Proportion::Hidden => continue,
        };
        sum = sum.saturating_sub(counted).saturating_add(is);
        found.push((is, size, stat));
    }
    let ended = found.iter().filter(|(is, _, stat)| *is > 0 && !proc.is_there(stat));
    let of_ended: u64 = ended.map(|(is, size, _)| is.saturating_add(size.tables)).sum();
    Sum { at_least: sum.saturating_sub(of_ended), at_most: sum }
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
        let Walk::Found { at, sum } = walker.walk(order(&proc), Duration::from_secs(60)) else {
            panic!("it was not walked")
        };
        // The kernel's quick count of pages is not exact.
        assert!(at >= before && sum.at_most.abs_diff(1 << 30) < 256 << 20, "{sum:?}");
        assert_eq!(sum.at_least, sum.at_most);
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
    fn whoever_ends_meanwhile_counts_for_nothing() {
        let proc = Arc::new(Proc::open().unwrap());
        let mut child = std::process::Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let stat = proc.stat(child.id()).unwrap();
        let size = proc.resident(&stat);
        child.kill().unwrap();
        child.wait().unwrap();
        let order = Order { sum: 1 << 40, limit: 0, sizes: vec![(size, stat)] };
        let left = (1 << 40) - size.bytes();
        let sum = walk(&proc, &order, &AtomicBool::new(false));
        assert_eq!(sum, Sum::known(left));
    }

    #[test]
    fn who_takes_too_long_is_stuck() {
        let proc = Arc::new(Proc::open().unwrap());
        let mut walker = Walker::start(&proc).unwrap();
        let at = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        for (seconds, found) in [(9, Walk::Stuck), (60, Walk::Underway)] {
            walker.going = Some(Going { at, patience: Duration::from_secs(seconds), is_wanted: true });
            assert_eq!(walker.look(Duration::ZERO), found);
        }
    }
}
