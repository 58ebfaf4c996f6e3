//! A warm run is a cold run: the same report, and nothing of another run.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod case;
mod equal;
mod lives;
mod pool;
mod preload;
