//! Files out: collected when everything inside is dead, through a descriptor init handed out before.

use super::Collect;
use super::launch::Held;
use super::outcome::Facts;
use crate::files::{CollectLimits, Collected, ReportSink, collect as collect_files};
use crate::report::{FileEntry, OmittedFile};
use std::os::fd::AsFd;

/// What was collected, and what matched but was not.
pub(super) fn collect(held: &mut Held, facts: &Facts) -> (Vec<FileEntry>, Vec<OmittedFile>) {
    let (Some(Collect { globs, limits, out }), Some(scratch)) =
        (held.collect.take(), &facts.directories.scratch)
    else {
        return (Vec::new(), Vec::new());
    };
    // Hard links would multiply what scratch space holds.
    let disk = held.plan.policy.limits.disk.0;
    let limits = CollectLimits {
        file_bytes: limits.file_bytes.min(disk),
        total_bytes: limits.total_bytes.min(disk),
        ..limits
    };
    let (collected, entries) = match out {
        Some(mut out) => {
            let collected = collect_files(scratch.as_fd(), &globs, &limits, &held.plan.root.inputs, &mut out);
            (collected, out.into_entries())
        }
        None => {
            let mut sink = ReportSink::new(limits.report_bytes);
            let collected =
                collect_files(scratch.as_fd(), &globs, &limits, &held.plan.root.inputs, &mut sink);
            (collected, sink.into_entries())
        }
    };
    (entries, omitted(collected))
}

fn omitted(collected: Collected) -> Vec<OmittedFile> {
    let mut omitted = collected.omitted;
    if collected.omitted_more > 0 {
        let reason = format!("and {} more that are not listed", collected.omitted_more);
        omitted.push(OmittedFile { path: "…".into(), reason, write_error: false });
    }
    let unmatched = collected.unmatched.into_iter();
    let nothing = "nothing matches this pattern";
    omitted.extend(unmatched.map(|path| OmittedFile { path, reason: nothing.into(), write_error: false }));
    omitted
}
