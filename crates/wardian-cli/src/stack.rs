//! Enough stack: a caller's `ulimit -s` holds for us and for what we execute, and running out of it is a crash.

use crate::run::Failure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What we and wardian-init get by with, in bytes.
const LEAST: u64 = 256 << 10;
/// What there usually is.
const USUAL: u64 = 8 << 20;

/// Raises a limit that is too low. The guest's own is the policy's.
///
/// # Errors
/// It cannot be raised far enough.
pub(crate) fn raise() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Stack);
    if limit.current.is_none_or(|bytes| bytes >= LEAST) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(USUAL), maximum: limit.maximum.map(|bytes| bytes.max(USUAL)) };
    // Without the right to raise the hard one, as far as that is.
    let allowed = Rlimit { current: limit.maximum, ..limit };
    let enough = limit.maximum.is_none_or(|bytes| bytes >= LEAST);
    if setrlimit(Resource::Stack, raised).is_ok() || (enough && setrlimit(Resource::Stack, allowed).is_ok()) {
        return Ok(());
    }
    let text =
        format!("the stack may have {} KiB, and needs {} KiB", limit.maximum.unwrap_or(0) >> 10, LEAST >> 10);
    Err(Failure::new(text, Some("start wardian under a higher `ulimit -s`, such as 8192".into())))
}
