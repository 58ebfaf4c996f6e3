//! The service, through the real binary: what it answers, what it refuses, what it survives.

mod auth;
mod client;
mod hostile;
mod life;
mod live;
mod piston;
mod refused;
mod run;
mod server;
mod snekbox;
mod surface;
mod warm;
mod websocket;
