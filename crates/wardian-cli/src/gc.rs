//! `wardian gc`: remove what a killed wardian left.

use crate::say;
use std::process::ExitCode;
use wardian::limits::cgroup::{Cap, CgroupHost, gc};

/// Removes cgroup directories whose owner is gone.
pub(crate) fn main() -> ExitCode {
    let report = gc(&CgroupHost::locate(Cap::Any));
    for path in &report.removed {
        say::data(&format!("removed {}\n", path.display()));
    }
    for (path, error) in &report.failed {
        say::error(&format!("cannot remove {}: {error}", path.display()), error.hint().as_deref());
    }
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(say::FAILURE) }
}
