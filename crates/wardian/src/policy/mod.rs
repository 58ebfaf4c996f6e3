//! The policy: what a program may do. Plain data, from a preset or a TOML file; all its fields can be set.
//!
//! A policy is only a wish. [`crate::plan`] turns it into what this host will really do, or into an error.

mod error;
mod file;
mod model;
mod mount;
mod place;
mod presets;
mod units;

pub use error::PolicyError;
pub(crate) use file::moves;
pub use file::{check, file_schema, load, parse, to_toml};
pub use model::{
    Environment, ExecMode, Files, HashSeed, Identity, Layer, Level, Limits, Mount, MountKind, Network, OnOom,
    OnOutput, Outside, Policy, ProcMode, Rlimits, RootKind, Scheduling, Scratch, Stderr, Syscalls, Work,
};
pub use mount::MountError;
pub use presets::{PRESETS, Preset, preset};
pub use units::{Bytes, Duration, UnitError};
