//! Hostile programs against the real binary: one test per attack.
//!
//! Every attack has a positive control, the same attempt made where it must succeed, so that a test can fail.
//! `WARDIAN_BIN` names another binary to attack; `WARDIAN_TEST_USER` makes root's run start wardian as an ordinary
//! user. What a host cannot offer is skipped with a line `SKIP n: why`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod collect;
mod concurrency;
mod control;
mod cpu;
mod denials;
mod disk;
mod escape;
mod files;
mod harness;
mod killed;
mod leftovers;
mod memory;
mod network;
mod output;
mod processes;
mod result;
mod secrets;
mod stdin;
mod syscalls;
mod truth;
mod wall;
mod watched;
