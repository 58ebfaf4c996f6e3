//! Removes the groups that a killed supervisor left.

use super::dir::Dir;
use super::group::lock;
use super::host::{CgroupHost, Kind};
use super::owner::Owner;
use crate::limits::CgroupError;
use rustix::fs::{FileType, RawDir};
use std::mem::MaybeUninit;
use std::path::PathBuf;

/// What became of the groups that were found.
#[derive(Debug, Default)]
pub struct GcReport {
    /// Those that are gone now; on version 1 the directory of the first hierarchy stands for all of them.
    pub removed: Vec<PathBuf>,
    /// Those whose owner lives.
    pub kept: usize,
    /// Those that would not go, and why. A directory that cannot be read is one of them.
    pub failed: Vec<(PathBuf, CgroupError)>,
}

/// Removes every group below our own whose owner is dead, with whatever still runs in it.
///
/// An owner holds a lock on the directory of its group; one that is about to take it is seen alive by its pid
/// and start time. A group goes only when neither holds. One directory is read, however many hierarchies
/// there are: groups are made there first and removed there last.
pub fn gc(host: &CgroupHost) -> GcReport {
    let mut report = GcReport::default();
    let Some(owner) = host.owner() else { return report };
    match host.kind() {
        Kind::V2(hierarchy) => sweep(hierarchy.dir(), owner, &mut report, |name| hierarchy.sweep(name)),
        Kind::V1(hierarchies) => {
            sweep(hierarchies.primary(), owner, &mut report, |name| hierarchies.sweep(name));
        }
        Kind::None(_) => {}
    }
    report
}

fn sweep(dir: &Dir, here: &Owner, report: &mut GcReport, remove: impl Fn(&str) -> Result<(), CgroupError>) {
    let names = match names(dir) {
        Ok(names) => names,
        Err(error) => {
            report.failed.push((dir.path().to_owned(), error));
            return;
        }
    };
    for name in names {
        let Some(owner) = Owner::of_name(&name) else { continue };
        let place = dir.group(&name);
        if owner.is_alive(here) {
            report.kept += 1;
            continue;
        }
        // Held until the directory is gone: two sweeps do not meet in one group.
        let _held = match lock(place) {
            Ok(held) => held,
            Err(CgroupError::Open { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                continue;
            }
            Err(CgroupError::Lock { .. }) => {
                report.kept += 1;
                continue;
            }
            Err(error) => {
                report.failed.push((place.path(), error));
                continue;
            }
        };
        match remove(&name) {
            Ok(()) => report.removed.push(place.path()),
            Err(error) => report.failed.push((place.path(), error)),
        }
    }
}

/// The groups below one.
pub(super) fn names(dir: &Dir) -> Result<Vec<String>, CgroupError> {
    let open = dir.group("").open()?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&open, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry =
            entry.map_err(|error| CgroupError::Read { path: dir.path().to_owned(), source: error.into() })?;
        if entry.file_type() == FileType::Directory
            && let Ok(name) = entry.file_name().to_str()
            && ![".", ".."].contains(&name)
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
