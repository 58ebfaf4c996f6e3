//! Landlock as the second belt behind the mount namespace: the same trees, granted again by the kernel's LSM.

use super::PlanError;
use super::root::Root;
use super::steps::c_string;
use crate::host::Host;
use crate::policy::{Level, Network, Outside, Policy, Scratch};
use crate::sandbox::SCRATCH_PREFIX;
use std::ffi::CString;
use std::path::Path;
use wardian_init::Handled;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REFER: u64 = 1 << 13;
const IOCTL_DEV: u64 = 1 << 15;
const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
/// Rights that can be given on a file that is no directory.
const ON_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | IOCTL_DEV;

/// All file system rights of an ABI: ABI 1 has 13, 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV.
fn fs_rights(abi: u32) -> u64 {
    match abi {
        0 => 0,
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// What is handled and what is granted; nothing where there is no usable Landlock.
pub(super) fn rules(
    policy: &Policy,
    root: &Root,
    host: &Host,
) -> Result<(Handled, Vec<(CString, u64)>), PlanError> {
    // Under ABI 1 no file could be moved between directories, whatever is granted.
    if host.landlock_abi < 2 {
        if policy.outside == Outside::Denied {
            return Err(PlanError::Unenforceable {
                what: "outside = \"denied\"",
                reason: format!(
                    "it needs Landlock with ABI 2 or later, and this kernel has {}",
                    host.landlock_abi
                ),
                fix: "boot Linux 5.19 or later with `landlock` in `lsm=`, or use --outside absent".into(),
            });
        }
        return Ok((Handled::default(), Vec::new()));
    }
    const BIND_TCP_CONNECT_TCP: u64 = 0b11;
    const ABSTRACT_SOCKET_SIGNAL: u64 = 0b11;
    let fs = fs_rights(host.landlock_abi);
    let refuses_tcp = host.landlock_abi >= 4 && policy.network == Network::None;
    let handled = Handled {
        fs,
        net: if refuses_tcp { BIND_TCP_CONNECT_TCP } else { 0 },
        scoped: if host.landlock_abi >= 6 { ABSTRACT_SOCKET_SIGNAL } else { 0 },
    };
    let mut rules = match policy.outside {
        // Of the host's own root nothing is listed.
        _ if policy.level == Level::Landlock => Vec::new(),
        Outside::Absent => vec![(c_string("/")?, READ_DIR)],
        Outside::Denied => Vec::new(),
    };
    read_only_devices_stay_so(root)?;
    let device_rights = |path: &str| {
        let write = if root.read_only_devices.contains(path) { 0 } else { WRITE_FILE };
        READ_FILE | IOCTL_DEV | write
    };
    for path in &root.readable {
        let device = is_device(path, root);
        let unlistable = path == "/proc" && policy.outside == Outside::Denied;
        let allowed = match (device, unlistable) {
            (true, _) => device_rights(path),
            (false, true) => READ & !READ_DIR,
            (false, false) => READ,
        };
        rules.push((c_string(path.as_str())?, on(path, root, allowed & !unexecutable(policy, path)) & fs));
    }
    for path in &root.writable {
        let device = is_device(path, root);
        let allowed = if device { device_rights(path) } else { fs | REFER };
        rules.push((c_string(path.as_str())?, on(path, root, allowed & !unexecutable(policy, path)) & fs));
    }
    Ok((handled, rules))
}

/// Rights of a directory are those of all below it, whatever a rule of something below says.
fn read_only_devices_stay_so(root: &Root) -> Result<(), PlanError> {
    let is_above = |device: &str, above: &str| device != above && Path::new(device).starts_with(above);
    let writable = |device: &&String| root.writable.iter().any(|above| is_above(device, above));
    match root.read_only_devices.iter().find(writable) {
        None => Ok(()),
        Some(device) => Err(PlanError::Unenforceable {
            what: "a mount of /dev/zero",
            reason: format!(
                "programs could map `{device}` shared, as memory that only a cgroup counts: it lies in a writable place"
            ),
            fix: "`wardian doctor` says how to get a cgroup; or mount it elsewhere, or what it lies in read-only".into(),
        }),
    }
}

/// What a mount with `noexec` would refuse, where there are no mounts.
fn unexecutable(policy: &Policy, path: &str) -> u64 {
    let mount = policy.files.mounts.iter().find(|mount| mount.dst == path);
    let is_scratch =
        || Path::new(path).iter().any(|part| part.as_encoded_bytes().starts_with(SCRATCH_PREFIX.as_bytes()));
    let noexec = match mount {
        Some(mount) => !mount.exec,
        None => policy.files.scratch == Scratch::Noexec && is_scratch(),
    };
    if policy.level == Level::Landlock && noexec { EXECUTE } else { 0 }
}

/// A directory below `/dev` is one like any other.
fn is_device(path: &str, root: &Root) -> bool {
    (path.starts_with("/dev/") && root.plain_files.contains(path)) || root.read_only_devices.contains(path)
}

/// A rule on a file may only name rights that files have.
fn on(path: &str, root: &Root, allowed: u64) -> u64 {
    if root.plain_files.contains(path) { allowed & ON_FILES } else { allowed }
}
