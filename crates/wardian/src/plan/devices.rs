//! The devices of the host that a guest may have.

use super::PlanError;
use std::fs::Metadata;
use std::os::unix::fs::FileTypeExt;
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
