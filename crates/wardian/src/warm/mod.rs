//! Warm starts: a fresh, fully isolated Python with its imports loaded, for the price of sending it a program.
//!
//! A [`Pool`] keeps one zygote (an interpreter that has loaded what it is told to, and never sees a program) and
//! some sandboxes that were forked from it, are confined, have rehearsed, and wait. Each is used once.

mod error;
pub(crate) mod harness;
mod job;
mod line;
mod options;
mod pool;
mod preload;

pub use error::WarmError;
pub use job::{Job, JobLimits, JobProgram, is_read_at_start};
pub use options::{Levels, PoolOptions, Rotation};
pub use pool::Pool;
pub use preload::Preload;
