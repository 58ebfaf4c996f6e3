//! A line of waiting threads: first come, first served, and nobody is woken before its turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};

/// Those who wait, in order.
#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<Place>,
    next: u64,
}

/// A place in a line.
#[derive(Clone)]
pub(super) struct Place {
    number: u64,
    /// Tells its holder to look again.
    pub(super) call: Arc<Condvar>,
}

impl Line {
    /// A place at the end.
    pub(super) fn join(&mut self) -> Place {
        let place = Place { number: self.next, call: Arc::default() };
        self.next += 1;
        self.waiting.push_back(place.clone());
        place
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_first(&self, place: &Place) -> bool {
        self.waiting.front().is_some_and(|first| first.number == place.number)
    }

    /// Gives a place up; whoever is first now looks again.
    pub(super) fn leave(&mut self, place: &Place) {
        self.waiting.retain(|other| other.number != place.number);
        self.call_first();
    }

    pub(super) fn call_first(&self) {
        if let Some(first) = self.waiting.front() {
            first.call.notify_one();
        }
    }

    /// For news that concern everybody.
    pub(super) fn call_all(&self) {
        self.waiting.iter().for_each(|place| place.call.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_is_first_whoever_leaves() {
        let mut line = Line::default();
        let [a, b, c] = [line.join(), line.join(), line.join()];
        assert!(line.is_first(&a) && !line.is_first(&b));
        line.leave(&b);
        line.leave(&a);
        assert!(line.is_first(&c) && line.len() == 1);
        line.leave(&c);
        assert!(line.is_empty());
    }
}
