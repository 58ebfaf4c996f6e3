//! What warm starts are compared with: bare Python, and tools that start it cold.

use crate::Failure;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command that must succeed.
fn time(command: &mut Command) -> Result<Duration, Failure> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = started.elapsed();
    if !output.status.success() {
        return Err(
            format!("{command:?}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    Ok(took)
}

pub fn bare(python: &Path, code: &str) -> Result<Duration, Failure> {
    time(Command::new(python).args(["-c", code]))
}

pub fn wardian(program: &Path, python: &Path, code: &str) -> Result<Duration, Failure> {
    time(Command::new(program).args(["run", "--python"]).arg(python).args(["-c", code]))
}

/// As its manual recommends, with every namespace; it has no limits.
pub fn bubblewrap(python: &Path, code: &str) -> Result<Duration, Failure> {
    let mut command = Command::new("bwrap");
    command.args("--unshare-all --die-with-parent --proc /proc --dev /dev --tmpfs /tmp".split(' '));
    for tree in ["/usr", "/etc/alternatives", "/etc/ld.so.cache"] {
        command.args(["--ro-bind", tree, tree]);
    }
    for link in ["/bin", "/lib", "/lib64"] {
        if let Ok(target) = std::fs::read_link(link) {
            command.arg("--symlink").arg(target).arg(link);
        }
    }
    time(command.arg(python).args(["-c", code]))
}
