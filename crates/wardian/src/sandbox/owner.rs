//! A writable mount of root's: what belongs to its owner belongs to the program.
//!
//! As root a program has a host id that nobody else has, to which nothing on disk belongs. An idmapped mount shows the
//! owner's files as the program's, and makes what the program creates the owner's (mount_setattr(2), Linux 5.12). Files
//! of others stay others'. The ids on disk that change their meaning are the owner's alone.

use super::SandboxError;
use super::head_start::Begun;
use crate::plan::HostTree;
use rustix::fs::{Mode, fstat};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use wardian_sys::clone::NEWUSER;

/// Gives a detached tree's files to the guest with this host id, where the plan says so.
pub(super) fn give(tree: &HostTree, mount: &OwnedFd, guest: u32) -> Result<(), SandboxError> {
    if !tree.as_owner {
        return Ok(());
    }
    let step = || format!("let the program write in {} as its owner", tree.source.display());
    let stat = fstat(mount).map_err(SandboxError::at(step()))?;
    let given =
        user_namespace(&format!("{} {guest} 1\n", stat.st_uid), &format!("{} {guest} 1\n", stat.st_gid))
            .map_err(SandboxError::at(step()))
            .and_then(|namespace| {
                wardian_sys::mount::map_ids(mount.into(), namespace.as_fd().into())
                    .map_err(|errno| SandboxError::NotOwned { path: tree.source.clone(), errno })
            });
    match given {
        // Everybody may write there.
        Err(SandboxError::NotOwned { .. }) if Mode::from_raw_mode(stat.st_mode).contains(Mode::WOTH) => {
            Ok(())
        }
        given => given,
    }
}

/// A user namespace with these maps, kept by its descriptor; whom it was made with is gone.
fn user_namespace(uid_map: &str, gid_map: &str) -> std::io::Result<File> {
    let begun = Begun::with(&[], NEWUSER, None).map_err(std::io::Error::other)?;
    let place = |file: &str| format!("/proc/{}/{file}", begun.init.pid());
    fs::write(place("uid_map"), uid_map)?;
    fs::write(place("gid_map"), gid_map)?;
    File::open(place("ns/user"))
}
