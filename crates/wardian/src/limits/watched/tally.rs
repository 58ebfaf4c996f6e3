//! CPU time of a tree whose members die, some without leaving their time to anybody.

use super::busy::{Crowd, WHOLE};
use std::collections::HashMap;

/// How sure the estimate must be before it counts, in standard deviations.
const CERTAINTY: u128 = 4;
/// How much less of its children's time a parent shows: twice a clock tick of a hundredth of a second, which most kernels have.
const ROUNDED_NS: u64 = 20_000_000;
/// A loss calls for short intervals at so many looks.
const ALERT_LOOKS: u32 = 10;

/// CPU time of one process at one look, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) pid: u32,
    pub(super) start: u64,
    /// Its own.
    pub(super) own_ns: u64,
    /// Of descendants that it, or they, waited for.
    pub(super) waited_ns: u64,
    /// Its threads that run or wait for a processor.
    pub(super) wanting: u64,
}

/// What was known of a process at the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    own_ns: u64,
    waited_ns: u64,
    /// What it will have used unseen, most likely, if it has ended by the next look.
    tail_ns: u64,
}

/// The sum over all looks.
///
/// When a process ends, its time moves to the `waited` of the parent that waits for it, and is lost where the
/// parent ignores `SIGCHLD`. So what has been seen is never given back: time that a parent gained counts only
/// as far as it exceeds what those that vanished had already been counted for.
///
/// Beside what was measured so there is an estimate, which needs no parents: processes that vanish are taken for a sample of
/// all that have ended since the last look. One that was seen busy, once, stands for a whole interval: the chance to see it was
/// its life, as a part of that. It counts when chance alone does not explain that more was used than was measured; so
/// programs that wait for their children are charged what they used.
#[derive(Debug, Default)]
pub(super) struct Tally {
    known: HashMap<(u32, u64), Known>,
    measured_ns: u64,
    /// What vanished, and no parent has shown yet.
    unpaid_ns: u64,
    estimated_ns: u64,
    /// The estimate's variance: each look's part of it squared.
    variance: u128,
    alert: u32,
}

impl Tally {
    /// Takes in one look, so long after the last one, and returns the total so far.
    pub(super) fn add(&mut self, look: &[Times], since_ns: u64, crowd: Crowd) -> u64 {
        let mut before = std::mem::take(&mut self.known);
        let gains: Vec<(&Times, Option<u64>)> = look.iter().map(|it| (it, gain(it, &before))).collect();
        let part = Part::of(&gains, since_ns, crowd);
        let (mut own_gain, mut waited_gain) = (0u64, 0u64);
        for (times, gain) in gains {
            let key = (times.pid, times.start);
            let Known { own_ns, waited_ns, .. } = before.remove(&key).unwrap_or_default();
            own_gain = own_gain.saturating_add(gain.unwrap_or(times.own_ns));
            waited_gain = waited_gain.saturating_add(times.waited_ns.saturating_sub(waited_ns));
            let now = Known {
                own_ns: times.own_ns.max(own_ns),
                waited_ns: times.waited_ns.max(waited_ns),
                tail_ns: part.tail(times, gain),
            };
            self.known.insert(key, now);
        }
        let vanished = before.values().fold(0u64, |sum, it| sum.saturating_add(it.own_ns + it.waited_ns));
        let lost = before.values().fold(0u64, |sum, it| sum.saturating_add(it.tail_ns));
        let inherited = self.inherit(waited_gain, vanished);
        let gain = own_gain.saturating_add(inherited);
        self.measured_ns = self.measured_ns.saturating_add(gain);
        self.estimate(own_gain, lost.min(since_ns.saturating_mul(crowd.cores)));
        self.total_ns()
    }

    /// What parents gained beyond what those that vanished had been counted for. A parent that was looked at before it inherited
    /// shows that at the next look, and by whole clock ticks of each kind.
    fn inherit(&mut self, waited_gain: u64, vanished: u64) -> u64 {
        let owed = self.unpaid_ns.saturating_add(vanished);
        let late = vanished.saturating_sub(waited_gain).saturating_add(ROUNDED_NS);
        self.unpaid_ns = owed.saturating_sub(waited_gain).min(late);
        waited_gain.saturating_sub(owed)
    }

    fn estimate(&mut self, own_gain: u64, lost: u64) {
        self.estimated_ns = self.estimated_ns.saturating_add(own_gain).saturating_add(lost);
        self.variance = self.variance.saturating_add(u128::from(lost) * u128::from(lost));
        self.alert = if lost > 0 { ALERT_LOOKS } else { self.alert.saturating_sub(1) };
    }

    fn total_ns(&self) -> u64 {
        let doubt = u64::try_from(CERTAINTY * self.variance.isqrt()).unwrap_or(u64::MAX);
        self.measured_ns.max(self.estimated_ns.saturating_sub(doubt))
    }

    /// Whether processes have vanished lately whose end may have gone unseen.
    pub(super) fn is_alert(&self) -> bool {
        self.alert > 0
    }

    /// Takes in a process whose time so far does not count.
    pub(super) fn start_with(&mut self, times: &Times) {
        let known = Known { own_ns: times.own_ns, waited_ns: times.waited_ns, tail_ns: 0 };
        self.known.insert((times.pid, times.start), known);
    }

    /// Pid and start time of those that were there at the last look.
    pub(super) fn known(&self) -> HashMap<u32, u64> {
        self.known.keys().copied().collect()
    }
}

/// What a process has used since the last look, at which it was there.
fn gain(times: &Times, before: &HashMap<(u32, u64), Known>) -> Option<u64> {
    before.get(&(times.pid, times.start)).map(|known| times.own_ns.saturating_sub(known.own_ns))
}

/// What there was for whoever has come since the last look and wants a processor.
struct Part {
    since_ns: u64,
    /// Of the interval, in thousandths.
    share: u64,
    /// Others want processors too: how much each gets is then not known well.
    is_contended: bool,
}

impl Part {
    /// What those that were there have not used is for the new ones and the others.
    fn of(gains: &[(&Times, Option<u64>)], since_ns: u64, crowd: Crowd) -> Part {
        let used: u64 = gains.iter().filter_map(|(_, gain)| *gain).sum();
        let all = since_ns.saturating_mul(crowd.cores);
        let left = thousandths(all.saturating_sub(used), since_ns);
        let new = gains.iter().filter(|(_, gain)| gain.is_none()).map(|(times, _)| times.wanting);
        let wanting = new.sum::<u64>().max(1).saturating_mul(WHOLE).saturating_add(crowd.others);
        let share = thousandths(left, wanting).min(WHOLE);
        Part { since_ns, share, is_contended: share < WHOLE && crowd.others > 0 }
    }

    /// What a process will have used unseen, if it has ended by the next look. One that wants a processor and was not there at
    /// the last look stands for all of the interval, of which it has shown something; one that was there will have used
    /// half of the next, on average.
    ///
    /// An eighth less, since that is too much for lives as long as an interval; half of it where others want processors.
    fn tail(&self, times: &Times, gain: Option<u64>) -> u64 {
        if times.wanting == 0 {
            return 0;
        }
        let whole = u128::from(self.since_ns) * u128::from(self.share) * u128::from(times.wanting);
        let whole = u64::try_from(whole / u128::from(WHOLE)).unwrap_or(u64::MAX).max(gain.unwrap_or(0));
        let tail = whole.saturating_sub(gain.unwrap_or(times.own_ns)).max(whole / 2);
        if self.is_contended { tail / 2 } else { tail - tail / 8 }
    }
}

fn thousandths(part: u64, whole: u64) -> u64 {
    let share = (u128::from(part) * u128::from(WHOLE)).checked_div(u128::from(whole));
    share.and_then(|share| u64::try_from(share).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Crowd = Crowd { cores: 2, others: 0 };

    fn times(pid: u32, own_ns: u64, waited_ns: u64) -> Times {
        Times { pid, start: 1, own_ns, waited_ns, wanting: 0 }
    }

    fn add(tally: &mut Tally, look: &[Times]) -> u64 {
        tally.add(look, 1000, ALONE)
    }

    #[test]
    fn time_moves_to_the_parent_and_is_counted_once() {
        let mut tally = Tally::default();
        assert_eq!(add(&mut tally, &[times(1, 10, 0), times(2, 100, 0)]), 110);
        assert_eq!(add(&mut tally, &[times(1, 11, 0), times(2, 150, 0)]), 161);
        // 2 ran for 20 more and was waited for.
        assert_eq!(add(&mut tally, &[times(1, 12, 170)]), 182);
        // 3 came, ended and was waited for between two looks.
        assert_eq!(add(&mut tally, &[times(1, 12, 175)]), 187);
    }

    #[test]
    fn chains_end_at_once() {
        let mut tally = Tally::default();
        assert_eq!(add(&mut tally, &[times(1, 0, 0), times(2, 10, 5), times(3, 20, 0)]), 35);
        assert_eq!(add(&mut tally, &[times(1, 0, 38)]), 38);
    }

    #[test]
    fn time_that_nobody_inherits_stays_counted() {
        let mut tally = Tally::default();
        assert_eq!(add(&mut tally, &[times(1, 10, 0), times(2, 100, 0)]), 110);
        assert_eq!(add(&mut tally, &[times(1, 10, 0)]), 110);
        assert_eq!(add(&mut tally, &[times(1, 30, 0)]), 130);
    }

    #[test]
    fn what_a_parent_shows_late_is_counted_once() {
        let mut tally = Tally::default();
        assert_eq!(add(&mut tally, &[times(1, 0, 0), times(2, 100, 0)]), 100);
        // The parent was looked at first.
        assert_eq!(add(&mut tally, &[times(1, 0, 0)]), 100);
        assert_eq!(add(&mut tally, &[times(1, 0, 120)]), 120);
        // Who never inherits owes that for a short time only.
        let lost = 10 * ROUNDED_NS;
        assert_eq!(add(&mut tally, &[times(1, 0, 120), times(3, lost, 0)]), 120 + lost);
        add(&mut tally, &[times(1, 0, 120)]);
        add(&mut tally, &[times(1, 0, 120)]);
        assert_eq!(add(&mut tally, &[times(1, 0, 120 + 2 * ROUNDED_NS)]), 120 + lost + ROUNDED_NS);
    }

    #[test]
    fn a_reused_pid_starts_anew() {
        let mut tally = Tally::default();
        assert_eq!(add(&mut tally, &[times(2, 100, 0)]), 100);
        assert_eq!(add(&mut tally, &[Times { start: 2, ..times(2, 7, 0) }]), 107);
        assert_eq!(add(&mut tally, &[]), 107);
        assert!(tally.known().is_empty());
    }

    const LIVES: [u64; 8] = [100, 1000, 5000, 9000, 10_000, 13_000, 20_000, 45_000];

    /// Children that use a processor for `life`, one after the other, looked at every 10,000 or a little less; what they
    /// used, and what they are charged. Their parent waits for them or does not. With `others` each gets a part of one.
    fn churn(life: u64, are_waited_for: bool, others: u64) -> (u64, u64) {
        let (mut tally, mut now, mut random) = (Tally::default(), 0u64, 1u64);
        let crowd = Crowd { cores: 1, others: others * WHOLE };
        let mut total = 0;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let since = 5000 + (random >> 33) % 5000;
            now += since;
            let used = now / (1 + others);
            let (child, age) = (used / life, used % life);
            let waited = if are_waited_for { child * life } else { 0 };
            let busy = Times { wanting: 1, ..times(2 + u32::try_from(child).unwrap(), age, 0) };
            total = tally.add(&[times(1, 0, waited), busy], since, crowd);
        }
        (now / (1 + others), total)
    }

    #[test]
    fn children_that_nobody_waits_for_are_estimated() {
        for life in LIVES {
            let (used, charged) = churn(life, false, 0);
            assert!(charged * 10 > used * 7 && charged * 20 < used * 21, "{life}: {charged} of {used}");
            let (used, charged) = churn(life, false, 3);
            assert!(charged * 10 > used * 4 && charged < used, "{life}, others: {charged} of {used}");
        }
    }

    #[test]
    fn children_that_are_waited_for_are_charged_what_they_used() {
        for life in LIVES {
            for others in [0, 3] {
                let (used, charged) = churn(life, true, others);
                assert!(charged <= used && charged + life >= used, "{life}: {charged} of {used}");
            }
        }
    }

    /// Idle ones beside it cannot make it look as if a child got little.
    #[test]
    fn what_those_that_stay_do_not_use_is_for_the_new() {
        let mut tally = Tally::default();
        let idle: Vec<Times> = (10..60).map(|pid| Times { wanting: 1, ..times(pid, 0, 0) }).collect();
        add(&mut tally, &idle);
        let child = |pid| [&idle[..], &[Times { wanting: 1, ..times(pid, 0, 0) }]].concat();
        let charged = (100..200).map(|pid| add(&mut tally, &child(pid))).last().unwrap();
        assert!(charged > 99_000 / 2, "{charged}");
    }

    #[test]
    fn an_end_that_may_be_unseen_is_looked_for_more_often() {
        let mut tally = Tally::default();
        add(&mut tally, &[Times { wanting: 1, ..times(2, 1, 0) }]);
        assert!(!tally.is_alert());
        add(&mut tally, &[]);
        assert!(tally.is_alert());
        for _ in 0..ALERT_LOOKS {
            add(&mut tally, &[]);
        }
        assert!(!tally.is_alert());
    }
}
