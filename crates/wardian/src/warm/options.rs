//! What a pool is told to be, and how it is doing.

use super::Preload;
use crate::policy::Policy;
use crate::python;
use std::time::Duration;

/// What a pool is. `ready` and `running` are 1019 together at most.
pub struct PoolOptions {
    /// The policy of every run: with namespaces, a root made for the interpreter, and `files.dev`.
    pub policy: Policy,
    /// The interpreter.
    pub python: python::Request,
    /// What is loaded ahead, in order; empty for the interpreter alone.
    pub preload: Vec<Preload>,
    /// Sandboxes that wait; with 0 one is made when a job wants it.
    pub ready: usize,
    /// Most runs at once; 1 or more.
    pub running: usize,
    /// Most jobs that wait for their turn; with 0 a job is refused while `running` others run.
    pub queue: usize,
    /// When a zygote makes place for a new one.
    pub rotation: Rotation,
}

/// When a zygote makes place for a new one: what sandboxes of one zygote share (the hash seed, the places of things in
/// memory) should not stay the same for ever.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// After so many sandboxes; 1 or more, 5,000 by default.
    pub sandboxes: u64,
    /// After so long; above 0, an hour by default.
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
