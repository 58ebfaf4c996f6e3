//! The service, through the real binary: what it answers, what it refuses, what it survives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    reason = "a test fails by panicking, and says what it skips"
)]

mod auth;
mod client;
mod edx;
mod hostile;
mod life;
mod live;
mod packaging;
mod piston;
mod refused;
mod run;
mod run_warm;
mod server;
mod snekbox;
mod surface;
mod warm;
mod websocket;
