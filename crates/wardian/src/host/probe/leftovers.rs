//! What killed supervisors left: removed here, as every run does.

use crate::host::Host;
use crate::host::examination::Finding;
use crate::limits::cgroup;

pub(super) fn finding(host: &Host) -> Finding {
    let swept = cgroup::gc(host.cgroups());
    if let Some((path, error)) = swept.failed.first() {
        let detail = format!("{} cgroups do not go: {}: {error}", swept.failed.len(), path.display());
        return Finding::warn("leftovers", detail, error.hint().unwrap_or_else(|| "`wardian gc`".into()));
    }
    let removed = match swept.removed.len() {
        0 => "no killed wardian left anything".to_owned(),
        1 => "a killed wardian had left a cgroup, which is removed".to_owned(),
        more => format!("killed wardians had left {more} cgroups, which are removed"),
    };
    Finding::ok("leftovers", removed)
}
