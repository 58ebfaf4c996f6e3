//! Positive controls: the same program outside any sandbox.

use crate::harness::{Attempts, attempts};
use std::process::{Command, Stdio};

/// The host's Python.
pub fn python() -> Command {
    let debian = "/usr/bin/python3";
    Command::new(if std::path::Path::new(debian).exists() { debian } else { "python3" })
}

/// What comes of a guest's attempts outside.
pub fn outside(code: &str, args: &[&str]) -> Attempts {
    let mut command = python();
    command.arg("-c").arg(code).args(args).env("CONTROL", "1").stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = attempts(&text);
    assert!(!seen.is_empty(), "{}: {text} {}", output.status, String::from_utf8_lossy(&output.stderr));
    seen
}

/// Fails unless the attempt succeeds outside: then its failure inside says something.
#[track_caller]
pub fn succeeds(outside: &Attempts, name: &str) {
    let (result, detail) = outside.get(name).unwrap_or_else(|| panic!("no control {name} in {outside:?}"));
    assert_eq!(result, "ok", "control {name}: {detail}");
}

/// Fails unless the attempt was made and refused.
#[track_caller]
pub fn refused(inside: &Attempts, name: &str) {
    let (result, detail) = inside.get(name).unwrap_or_else(|| panic!("no attempt {name} in {inside:?}"));
    assert_ne!(result, "ok", "{name} succeeded: {detail}");
}

/// Fails unless the attempt was made and succeeded.
#[track_caller]
pub fn allowed(inside: &Attempts, name: &str) {
    let (result, detail) = inside.get(name).unwrap_or_else(|| panic!("no attempt {name} in {inside:?}"));
    assert_eq!(result, "ok", "{name}: {detail}");
}
