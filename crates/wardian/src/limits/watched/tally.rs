//! CPU time of a tree whose members die, some without leaving their time to anybody.

use std::collections::HashMap;

/// CPU time of one process at one look, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) pid: u32,
    pub(super) start: u64,
    /// Its own.
    pub(super) own_ns: u64,
    /// Of descendants that it, or they, waited for.
    pub(super) waited_ns: u64,
}

/// The sum over all looks.
///
/// When a process ends, its time moves to the `waited` of the parent that waits for it, and is lost where the
/// parent ignores `SIGCHLD`. So what has been seen is never given back: time that a parent gained counts only
/// as far as it exceeds what those that vanished had already been counted for.
#[derive(Debug, Default)]
pub(super) struct Tally {
    known: HashMap<(u32, u64), (u64, u64)>,
    total_ns: u64,
}

impl Tally {
    /// Takes in one look, and returns the total so far.
    pub(super) fn add(&mut self, look: &[Times]) -> u64 {
        let mut before = std::mem::take(&mut self.known);
        let (mut own_gain, mut waited_gain) = (0u64, 0u64);
        for times in look {
            let key = (times.pid, times.start);
            let (own, waited) = before.remove(&key).unwrap_or_default();
            own_gain = own_gain.saturating_add(times.own_ns.saturating_sub(own));
            waited_gain = waited_gain.saturating_add(times.waited_ns.saturating_sub(waited));
            self.known.insert(key, (times.own_ns.max(own), times.waited_ns.max(waited)));
        }
        let vanished = before.values().fold(0u64, |sum, (own, waited)| sum.saturating_add(own + waited));
        let gain = own_gain.saturating_add(waited_gain.saturating_sub(vanished));
        self.total_ns = self.total_ns.saturating_add(gain);
        self.total_ns
    }

    /// Takes in a process whose time so far does not count.
    pub(super) fn start_with(&mut self, times: &Times) {
        self.known.insert((times.pid, times.start), (times.own_ns, times.waited_ns));
    }

    /// Pid and start time of those that were there at the last look.
    pub(super) fn known(&self) -> HashMap<u32, u64> {
        self.known.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pid: u32, own_ns: u64, waited_ns: u64) -> Times {
        Times { pid, start: 1, own_ns, waited_ns }
    }

    #[test]
    fn time_moves_to_the_parent_and_is_counted_once() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&[times(1, 10, 0), times(2, 100, 0)]), 110);
        assert_eq!(tally.add(&[times(1, 11, 0), times(2, 150, 0)]), 161);
        // 2 ran for 20 more and was waited for.
        assert_eq!(tally.add(&[times(1, 12, 170)]), 182);
        // 3 came, ended and was waited for between two looks.
        assert_eq!(tally.add(&[times(1, 12, 175)]), 187);
    }

    #[test]
    fn chains_end_at_once() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&[times(1, 0, 0), times(2, 10, 5), times(3, 20, 0)]), 35);
        assert_eq!(tally.add(&[times(1, 0, 38)]), 38);
    }

    #[test]
    fn time_that_nobody_inherits_stays_counted() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&[times(1, 10, 0), times(2, 100, 0)]), 110);
        assert_eq!(tally.add(&[times(1, 10, 0)]), 110);
        assert_eq!(tally.add(&[times(1, 30, 0)]), 130);
    }

    #[test]
    fn a_reused_pid_starts_anew() {
        let mut tally = Tally::default();
        assert_eq!(tally.add(&[times(2, 100, 0)]), 100);
        assert_eq!(tally.add(&[Times { start: 2, ..times(2, 7, 0) }]), 107);
        assert_eq!(tally.add(&[]), 107);
        assert!(tally.known().is_empty());
    }
}
