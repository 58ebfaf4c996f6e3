//! The devices of the host that a guest may have.

use super::PlanError;
use crate::host::Host;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// In `/dev`; they hold no state of the host.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Whether a source is one of the devices that hold no state of the host; what would give the host away is an
/// error, whatever links lead there.
pub(super) fn is_given_device(source: &Path, metadata: &Metadata, target: &str) -> Result<bool, PlanError> {
    let refused = |problem| Err(PlanError::MountTarget { path: target.into(), problem });
    let real = source
        .canonicalize()
        .map_err(|error| PlanError::MountSource { path: source.into(), source: error })?;
    if real == Path::new("/") || real.starts_with("/proc") {
        return refused("neither the host's whole file system nor its /proc is given away");
    }
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Ok(false);
    }
    match DEVICES.iter().any(|name| real == Path::new("/dev").join(name)) {
        true => Ok(true),
        false => refused("of devices only /dev/null, zero, full, random and urandom are given"),
    }
}

/// How `/dev/zero` is given. A shared mapping of it, which takes a descriptor that may be written to, is shared anonymous
/// memory, and nothing but a memory cgroup counts that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// As it is.
    Whole,
    /// To be read: Landlock refuses the rest, which neither mode nor mount of a device does.
    ReadOnly,
    /// Not at all.
    Absent,
}

impl Zero {
    pub(super) fn on(host: &Host) -> Zero {
        match (host.cgroups().controllers().memory, host.landlock_abi) {
            (true, _) => Zero::Whole,
            (false, 2..) => Zero::ReadOnly,
            (false, _) => Zero::Absent,
        }
    }
}

/// Whether a file is `/dev/zero`, whatever its name.
pub(super) fn is_zero(metadata: &Metadata) -> bool {
    const MEMORY: u64 = 1;
    const ZERO: u64 = 5;
    metadata.file_type().is_char_device() && metadata.rdev() == MEMORY << 8 | ZERO
}

/// Where it is not given, and would be mounted.
pub(super) fn no_zero() -> PlanError {
    PlanError::Unenforceable {
        what: "a mount of /dev/zero",
        reason: "programs could map it shared, as memory that only a cgroup counts or Landlock refuses, and there is neither"
            .into(),
        fix: "`wardian doctor` says how to get one; or leave it out".into(),
    }
}
