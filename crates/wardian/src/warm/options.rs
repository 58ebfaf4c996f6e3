//! What a pool is told to be, and how it is doing.

use super::Preload;
use crate::policy::Policy;
use crate::python;
use std::time::Duration;

/// What a pool is.
pub struct PoolOptions {
    /// The policy of every run.
    pub policy: Policy,
    /// The interpreter.
    pub python: python::Request,
    /// What is loaded ahead, in order.
    pub preload: Vec<Preload>,
    /// Sandboxes that wait.
    pub ready: usize,
    /// Most runs at once.
    pub running: usize,
    /// Most jobs that wait.
    pub queue: usize,
    /// When a zygote makes place for a new one.
    pub rotation: Rotation,
}

/// When a zygote makes place for a new one: what sandboxes of one zygote share (the hash seed, the places of things in
/// memory) should not stay the same for ever.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// After so many sandboxes.
    pub sandboxes: u64,
    /// After so long.
    pub age: Duration,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { sandboxes: 5000, age: Duration::from_secs(3600) }
    }
}

/// How a pool is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Sandboxes that wait for a program.
    pub ready: usize,
    /// Runs under way.
    pub running: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// How many zygotes there have been.
    pub generation: u64,
    /// Memory of the zygote, as its cgroup counts it; none without one.
    pub zygote_bytes: Option<u64>,
}
