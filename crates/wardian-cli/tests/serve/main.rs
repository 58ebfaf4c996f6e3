//! The service, through the real binary: what it answers, what it refuses, what it survives.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test fails by panicking")]

mod auth;
mod ceilings;
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
