//! nsjail's config file, run unchanged.
//!
//! [`parse`] reads it, [`check`] says which fields wardian honours and refuses the rest by name,
//! [`to_policy`] expresses it as a policy and [`to_toml`] as a policy file; [`View`] is the root that makes. [`Ending`] and [`log_line`]
//! are what nsjail answers: exit codes and log lines.

mod command;
mod environment;
mod fields;
mod kafel;
mod mounts;
mod outcome;
mod policy;
mod rlimits;
mod toml;
mod view;

pub use command::{Command, CommandError, command};
pub use environment::{Origin, environment};
pub use fields::{FIELDS, Field, Refused, Treatment, Unsupported, check};
pub use outcome::{Ending, ended_message, error_line, log_line, time_limit_message};
pub use policy::{Caller, Import, ImportError, Log, Stdio, to_policy};
pub use rlimits::{Resource, RlimitError, rlimit};
pub use toml::to_toml;
pub use view::View;
pub use wardian_nsjail::{LogLevel, NsjailConfig, ParseError, parse};
