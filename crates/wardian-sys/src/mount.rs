//! The file-descriptor based mount interface (Linux ≥ 5.2; `mount_setattr` ≥ 5.12).

use crate::arch::syscall;
use crate::file::AT_EMPTY_PATH;
use crate::{Fd, NewFd, Result, nr};
use core::ffi::CStr;

/// `MOUNT_ATTR_RDONLY`
pub const ATTR_RDONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`
pub const ATTR_NOSUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`
pub const ATTR_NODEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`
pub const ATTR_NOEXEC: u64 = 0x8;
/// `MOUNT_ATTR_NOSYMFOLLOW`
pub const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;
/// `MNT_DETACH`
pub const MNT_DETACH: u32 = 2;

const ATTR_IDMAP: u64 = 0x0010_0000;
const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = crate::file::O_CLOEXEC;
const AT_RECURSIVE: u32 = 0x8000;
const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;
const FSOPEN_CLOEXEC: usize = 1;
const FSMOUNT_CLOEXEC: usize = 1;
const FSCONFIG_SET_STRING: usize = 1;
const FSCONFIG_CMD_CREATE: usize = 6;
const FSCONFIG_CMD_RECONFIGURE: usize = 7;
const FSPICK_CLOEXEC: usize = 1;

/// A detached copy of the mount tree at `path`, submounts included.
pub fn clone_tree(dir: Fd, path: &CStr) -> Result<NewFd> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::OPEN_TREE, dir.number(), path.as_ptr(), flags) }.map(NewFd::from_answer)
}

/// A detached copy of the mount tree at an open directory or file.
pub fn clone_tree_at(fd: Fd) -> Result<NewFd> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH;
    // SAFETY: the empty path is NUL-terminated.
    unsafe { syscall!(nr::OPEN_TREE, fd.number(), c"".as_ptr(), flags) }.map(NewFd::from_answer)
}

/// Attaches the detached tree `tree` at `path`.
pub fn attach(tree: Fd, dir: Fd, path: &CStr) -> Result<()> {
    // SAFETY: both paths are NUL-terminated and outlive the call.
    unsafe {
        syscall!(
            nr::MOVE_MOUNT,
            tree.number(),
            c"".as_ptr(),
            dir.number(),
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH
        )
    }
    .map(drop)
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes on a whole tree: the mount that `tree` refers to and everything mounted below it.
pub fn set_attributes(tree: Fd, set: u64) -> Result<()> {
    setattr(tree, c"", AT_EMPTY_PATH | AT_RECURSIVE, set)
}

/// Sets attributes on the one mount at `path`.
pub fn set_attributes_at(dir: Fd, path: &CStr, set: u64) -> Result<()> {
    setattr(dir, path, 0, set)
}

/// Maps the ids of the files of a detached mount, not of those below it, by the maps of a user namespace: an id inside
/// that, on disk, is the id outside.
pub fn map_ids(tree: Fd, user_namespace: Fd) -> Result<()> {
    let userns_fd = u64::from(user_namespace.number().cast_unsigned());
    let attr = MountAttr { attr_set: ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    set_all(tree, c"", AT_EMPTY_PATH, &attr)
}

fn setattr(dir: Fd, path: &CStr, flags: u32, set: u64) -> Result<()> {
    set_all(dir, path, flags, &MountAttr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 })
}

fn set_all(dir: Fd, path: &CStr, flags: u32, attr: &MountAttr) -> Result<()> {
    // SAFETY: the path is NUL-terminated; `attr` is the kernel's `struct mount_attr` of the stated size.
    unsafe {
        syscall!(
            nr::MOUNT_SETATTR,
            dir.number(),
            path.as_ptr(),
            flags,
            &raw const *attr,
            size_of::<MountAttr>()
        )
    }
    .map(drop)
}

/// A new detached file system of type `fstype` with string options, mounted with `attributes`.
pub fn new_filesystem(fstype: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<NewFd> {
    // SAFETY: the type's name is NUL-terminated.
    let context = unsafe { syscall!(nr::FSOPEN, fstype.as_ptr(), FSOPEN_CLOEXEC) }.map(NewFd::from_answer)?;
    let mounted = configure_and_mount(context.fd(), options, attributes);
    // The mount keeps the file system; the context is of no further use, whatever came of it.
    let _ = crate::file::close(context.fd());
    mounted
}

/// Changes an option of the file system that is mounted at `path`, for all its mounts.
pub fn reconfigure(path: &CStr, key: &CStr, value: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    let context = unsafe { syscall!(nr::FSPICK, Fd::CWD.number(), path.as_ptr(), FSPICK_CLOEXEC) };
    let context = context.map(NewFd::from_answer)?;
    let changed = configure(context.fd(), &[(key, value)], FSCONFIG_CMD_RECONFIGURE);
    let _ = crate::file::close(context.fd());
    changed
}

fn configure_and_mount(context: Fd, options: &[(&CStr, &CStr)], attributes: u64) -> Result<NewFd> {
    configure(context, options, FSCONFIG_CMD_CREATE)?;
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::FSMOUNT, context.number(), FSMOUNT_CLOEXEC, attributes) }.map(NewFd::from_answer)
}

/// Sets options and has them done.
fn configure(context: Fd, options: &[(&CStr, &CStr)], command: usize) -> Result<()> {
    for (key, value) in options {
        // SAFETY: key and value are NUL-terminated and outlive the call.
        unsafe {
            syscall!(
                nr::FSCONFIG,
                context.number(),
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0usize
            )
        }?;
    }
    // SAFETY: this command takes neither key nor value.
    unsafe { syscall!(nr::FSCONFIG, context.number(), command, 0usize, 0usize, 0usize) }.map(drop)
}

/// Unmounts `path`.
pub fn unmount(path: &CStr, flags: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated and outlives the call.
    unsafe { syscall!(nr::UMOUNT2, path.as_ptr(), flags) }.map(drop)
}

/// Makes `new` the root of this mount namespace and moves the old root to `old`.
pub fn pivot_root(new: &CStr, old: &CStr) -> Result<()> {
    // SAFETY: both paths are NUL-terminated and outlive the call.
    unsafe { syscall!(nr::PIVOT_ROOT, new.as_ptr(), old.as_ptr()) }.map(drop)
}
