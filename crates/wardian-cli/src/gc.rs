//! `wardian gc`: remove what a killed wardian left.

use crate::say;
use std::process::ExitCode;
use wardian::limits::cgroup::{Cap, CgroupHost, gc};

/// Removes cgroup directories, and private directories of level `landlock`, whose owner is gone.
pub(crate) fn main() -> ExitCode {
    let report = gc(&CgroupHost::locate(Cap::Any));
    let mut removed = report.removed.clone();
    removed.extend(wardian::sandbox::sweep_scratch());
    let removed: String = removed.iter().map(|path| format!("removed {}\n", path.display())).collect();
    let code = say::data(&removed);
    for (path, error) in &report.failed {
        say::error(&format!("cannot remove {}: {error}", path.display()), error.hint().as_deref());
    }
    if report.failed.is_empty() { code } else { ExitCode::from(say::FAILURE) }
}
