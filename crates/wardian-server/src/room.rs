//! Whether a job's files fit into its scratch space. That is found out before its turn: bringing them in is no part of
//! the time that a run may take.

use crate::problem::Problem;
use std::collections::BTreeSet;
use wardian::files::GuestName;
use wardian::policy::{Bytes, Policy, Scratch};

/// Directories above a file; deeper ones are not collected either, and making each takes the longer the deeper it is.
const DEEPEST: usize = 64;
/// What a file takes is counted in pages.
const PAGE: u64 = 4096;
/// Files and directories that scratch space has of its own.
const OWN: u64 = 8;
/// Files and directories where there is no scratch space: they lie beside those of the sandbox's root.
const WITHOUT_SCRATCH: u64 = 8192;

/// Refuses files that take more bytes or inodes than there are.
pub(crate) fn check(files: &[(GuestName, Vec<u8>)], policy: &Policy) -> Result<(), Problem> {
    files.iter().try_for_each(|(name, _)| check_depth(name.as_str()))?;
    let limits = &policy.limits;
    let scratch = policy.files.scratch != Scratch::None;
    let most = if scratch { limits.inodes.saturating_sub(OWN) } else { WITHOUT_SCRATCH };
    if entries(files.iter().map(|(name, _)| name.as_str())) > most {
        return Err(Problem::field("files", format!("more than the {most} files and directories that fit")));
    }
    let bytes: u64 = files.iter().map(|(_, content)| (content.len() as u64).next_multiple_of(PAGE)).sum();
    if scratch && bytes > limits.disk.0 {
        let (bytes, disk) = (Bytes(bytes), limits.disk);
        return Err(Problem::field("files", format!("they take {bytes}, and `limits.disk` is {disk}")));
    }
    Ok(())
}

/// Refuses a path that leads too deep.
pub(crate) fn check_depth(path: &str) -> Result<(), Problem> {
    if path.matches('/').count() <= DEEPEST {
        return Ok(());
    }
    let start: String = path.chars().take(60).flat_map(char::escape_debug).collect();
    Err(Problem::field("files", format!("`{start}…` lies deeper than {DEEPEST} directories")))
}

/// How many files, and directories above them. In order, all that lie in a directory follow each other: what a name does
/// not share with the one before is new.
fn entries<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let names: BTreeSet<&str> = names.collect();
    let (mut count, mut before) = (0, "");
    for name in names {
        let shared = name.bytes().zip(before.bytes()).take_while(|(one, other)| one == other).count();
        let directories = name.bytes().skip(shared).filter(|byte| *byte == b'/').count() as u64;
        (count, before) = (count + directories + 1, name);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_counted_once() {
        for (names, expected) in [
            (vec![], 0),
            (vec!["a", "b"], 2),
            (vec!["a/b", "a/c", "a.b/c", "ab"], 6),
            (vec!["a/b/c", "a/b/d", "a/c/d", "a/c"], 7),
            (vec!["x/y", "x/yz/a", "x/yz/b"], 5),
        ] {
            assert_eq!(entries(names.iter().copied()), expected, "{names:?}");
        }
    }
}
