//! Reads nsjail's config file into one typed struct.
//!
//! nsjail accepts protobuf's text format and proto-JSON for the same schema; so does [`parse`]. The schema is
//! `config.proto` beside this crate, compiled by the build script; [`NsjailConfig`] mirrors it field by
//! field and keeps which fields the file set, so that a reader can honour or refuse each of them by name.
//! What the fields mean for a sandbox is decided elsewhere: this crate only reads.

#![forbid(unsafe_code)]

mod config;
mod json;
mod message;
mod multiline;
mod parse;

pub use config::{Exe, IdMap, LogLevel, Mode, MountPt, NsjailConfig, RLimit};
pub use parse::{Format, ParseError, parse};
