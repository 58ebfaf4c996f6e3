//! A writable mount of root's: what belongs to its owner belongs to the program.
//!
//! As root a program has a host id that nobody else has, to which nothing on disk belongs. An idmapped mount shows the
//! owner's files as the program's, and makes what the program creates the owner's (mount_setattr(2), Linux 5.12); the same
//! goes for the group. Files of others stay others', and so does what is mounted below.

use super::SandboxError;
use super::begun::Begun;
use crate::plan::HostTree;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use wardian_sys::clone::NEWUSER;
use wardian_sys::mount;

/// A detached copy of a tree in which the guest with this host id has the rights of `owner`.
///
/// No symbolic link is followed to it: a program that could write above may have made one.
pub(super) fn open_tree(tree: &HostTree, owner: u32, guest: u32) -> Result<OwnedFd, SandboxError> {
    let step = format!("open {} for writing in it as its owner", tree.source.display());
    let failed = |error: io::Error| SandboxError::at(step)(error);
    let found =
        openat2(CWD, &tree.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let found = match found {
        Err(rustix::io::Errno::LOOP) => return Err(SandboxError::Linked { path: tree.source.clone() }),
        found => found.map_err(io::Error::from),
    };
    let opened = found.and_then(|found| {
        let stat = fstat(&found)?;
        if stat.st_uid != owner {
            return Err(io::Error::other("it has changed hands meanwhile"));
        }
        Ok((OwnedFd::from(mount::clone_tree_at((&found).into())?), stat.st_gid))
    });
    let (detached, group) = opened.map_err(failed)?;
    user_namespace(&format!("{owner} {guest} 1\n"), &format!("{group} {guest} 1\n"))
        .map_err(SandboxError::at("make a user namespace for a mount's owner"))
        .and_then(|namespace| {
            mount::map_ids((&detached).into(), namespace.as_fd().into())
                .map_err(|errno| SandboxError::NotOwned { path: tree.source.clone(), errno })
        })?;
    Ok(detached)
}

/// A user namespace with these maps, kept by its descriptor; whom it was made with is gone.
fn user_namespace(uid_map: &str, gid_map: &str) -> io::Result<File> {
    let begun = Begun::with(&[], NEWUSER, None).map_err(io::Error::other)?;
    let place = |file: &str| format!("/proc/{}/{file}", begun.init.pid());
    fs::write(place("uid_map"), uid_map)?;
    fs::write(place("gid_map"), gid_map)?;
    File::open(place("ns/user"))
}
