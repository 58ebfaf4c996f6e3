//! The wardian service: runs over HTTP, with the interfaces of snekbox, Piston and codejail-service beside its own.
//!
//! [`serve`] blocks until the service is told to end. Requests are read and answered by a few asynchronous threads;
//! what the engine does blocks, and happens on threads of its own, as many as there may be runs.
#![forbid(unsafe_code)]

mod auth;
mod config;
mod connection;
mod crowd;
mod edx;
mod engine;
mod few;
mod gate;
mod guard;
mod health;
mod idempotency;
mod json;
mod limits;
mod listen;
mod live;
mod log;
mod memory;
mod metrics;
mod object;
mod openapi;
mod piston;
mod problem;
mod ready;
mod request_id;
mod room;
mod router;
mod serve;
mod service;
mod setup;
mod signals;
mod snekbox;
mod upgrade;
mod v1;
mod watched;

pub use auth::new_key;
pub use config::{
    CollectLimits, Config, ConfigError, EnvironmentConfig, Frontend, KeyConfig, LogFormat, Requests, Runs,
};
pub use limits::Limits;
pub use listen::ListenError;
pub use serve::{Options, ServeError, serve};
