//! The engine of wardian: run untrusted Python contained, within exact limits, and report what happened.
#![forbid(unsafe_code)]

pub mod compat;
pub mod files;
pub mod host;
pub mod limits;
pub mod plan;
pub mod policy;
pub mod python;
pub mod report;
pub mod sandbox;
pub mod seccomp;
mod signals;
pub mod warm;

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
