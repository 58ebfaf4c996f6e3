//! Removes the groups that a killed supervisor left.

use super::dir::{Dir, Place};
use super::group::lock;
use super::host::{CgroupHost, Kind};
use super::owner::Owner;
use super::v1::remove_with_members;
use crate::limits::CgroupError;
use rustix::fs::{FileType, RawDir};
use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::path::PathBuf;

/// What became of the groups that were found.
#[derive(Debug, Default)]
pub struct GcReport {
    /// Those that are gone now; on version 1 the directory of the first hierarchy stands for all of them, if it was there.
    pub removed: Vec<PathBuf>,
    /// Those whose owner lives.
    pub kept: usize,
    /// Those that would not go, and why. A directory that cannot be read is one of them.
    pub failed: Vec<(PathBuf, CgroupError)>,
}

/// Removes every group below our own whose owner is dead, with whatever still runs in it.
///
/// An owner holds a lock on the directory of its group; one that is about to take it is seen alive by its pid
/// and start time. A group goes only when neither holds. On version 1 the first hierarchy has the lock: groups are made
/// there first and removed there last. What another one has alone (the first was removed by somebody else, or we are in
/// another group of that hierarchy than its owner was) goes if its owner is dead beyond doubt.
pub fn gc(host: &CgroupHost) -> GcReport {
    let mut report = GcReport::default();
    let Some(here) = host.owner() else { return report };
    match host.kind() {
        Kind::V2(hierarchy) => {
            sweep(hierarchy.dir(), &mut report, |name| hierarchy.sweep(name));
        }
        Kind::V1(hierarchies) => {
            let seen = sweep(hierarchies.primary(), &mut report, |name| hierarchies.sweep(name));
            for dir in hierarchies.others() {
                sweep_alone(dir, &seen, here, &mut report);
            }
        }
        Kind::None(_) => {}
    }
    report
}

/// Sweeps a directory of locked groups, and tells their names.
fn sweep(
    dir: &Dir,
    report: &mut GcReport,
    remove: impl Fn(&str) -> Result<(), CgroupError>,
) -> HashSet<String> {
    let groups = owned(dir, report);
    for (name, owner) in &groups {
        let place = dir.group(name);
        if owner.is_alive() {
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
        report.add(place, remove(name));
    }
    groups.into_iter().map(|(name, _)| name).collect()
}

/// Sweeps a directory in which no group is locked, except those whose directory with the lock was `seen`.
fn sweep_alone(dir: &Dir, seen: &HashSet<String>, here: &Owner, report: &mut GcReport) {
    for (name, owner) in owned(dir, report) {
        if !seen.contains(&name) && owner.is_surely_dead(here) {
            let place = dir.group(&name);
            report.add(place, remove_with_members(place));
        }
    }
}

impl GcReport {
    fn add(&mut self, place: Place<'_>, removed: Result<(), CgroupError>) {
        match removed {
            Ok(()) => self.removed.push(place.path()),
            Err(error) => self.failed.push((place.path(), error)),
        }
    }
}

/// The groups below one that have an owner.
fn owned(dir: &Dir, report: &mut GcReport) -> Vec<(String, Owner)> {
    match names(dir) {
        Ok(names) => {
            names.into_iter().filter_map(|name| Owner::of_name(&name).map(|owner| (name, owner))).collect()
        }
        Err(error) => {
            report.failed.push((dir.path().to_owned(), error));
            Vec::new()
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
