//! A root in which what is outside shows and refuses (`outside = "denied"`), as CodeJail's users know it.

use super::PlanError;
use super::program::Resolved;
use super::root::text;
use super::steps::Steps;
use std::path::Path;

/// Where the loader looks last.
const LOADED_FROM_LAST: &str = "/usr/lib";

/// Whether a path of the host appears: what refuses is not there to be read.
pub(super) fn shows(path: &Path) -> bool {
    !path.starts_with("/etc")
}

/// Debian chooses among libraries by links through `/etc/alternatives`, which refuses: where the loader looks last, the
/// same links lead to the same libraries.
pub(super) fn link_libraries(program: &Resolved, steps: &mut Steps) -> Result<(), PlanError> {
    let last = Path::new(LOADED_FROM_LAST);
    if program.directories.iter().any(|directory| last.starts_with(directory)) {
        return Ok(());
    }
    for (_, target) in program.links.iter().filter(|(link, _)| link.starts_with("/etc/alternatives")) {
        if let Some(name) = target.file_name() {
            steps.symlink(text(&last.join(name))?, text(target)?)?;
        }
    }
    Ok(())
}

/// The usual directories, so that a program is refused where it would be on any machine.
pub(super) fn directories(steps: &mut Steps) -> Result<(), PlanError> {
    const USUAL: [&str; 18] = [
        "/tmp",
        "/bin",
        "/boot",
        "/etc",
        "/home",
        "/media",
        "/mnt",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/srv",
        "/sys",
        "/var",
        "/usr/bin",
        "/usr/local",
        "/usr/share",
    ];
    // An ordinary user's guest owns them: no mode but this one refuses it.
    const REFUSING: u32 = 0;
    USUAL.iter().try_for_each(|path| steps.directories_with_mode(path, REFUSING))
}
