//! Files in and out: what the caller gives a run, and what is collected from it once every guest process is dead.
//!
//! Names and contents that come out are the guest's and hostile. A tree is walked from held directory
//! descriptors with `openat2` (see `openat2(2)`: beneath, no links, no other file system), and only regular files
//! are taken. What is left out is said, with the reason.

mod collect;
mod escape;
mod globs;
#[cfg(test)]
mod hostile_out_tests;
#[cfg(test)]
mod hostile_tests;
mod input;
mod input_set;
mod listing;
mod mime;
mod out_dir;
mod path;
mod report_sink;
mod walk;

pub use collect::{CollectLimits, Collected, Found, Sink, SinkError, collect, too_deep};
pub use escape::{printable as is_printable, shown, unescape};
pub use globs::{GlobError, Globs};
pub use input::{Input, InputError};
pub use input_set::{InputSet, InputSetError};
pub use out_dir::{OutDir, OutDirError};
pub use path::{GuestName, GuestPath, PathError};
pub use report_sink::ReportSink;
