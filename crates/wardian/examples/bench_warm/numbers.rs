//! Medians and percentiles.

use std::time::Duration;

/// Measured times, in microseconds.
#[derive(Default)]
pub struct Times(Vec<u64>);

impl Times {
    pub fn push(&mut self, took: Duration) {
        self.0.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn append(&mut self, mut other: Times) {
        self.0.append(&mut other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time below which so many percent of all are; 0 of none.
    pub fn percentile(&mut self, percent: usize) -> u64 {
        self.0.sort_unstable();
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or(0)
    }
}
