//! Why the host refused a call of wardian's own: looked for when it has, as far as the machine shows it.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use std::io;
use std::path::Path;

/// What root needs to make sandboxes.
const NEEDED: [(CapabilitySet, &str); 4] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// What to do about a call that the host refused to wardian itself, if that is known.
pub fn remedy(error: &io::Error) -> Option<String> {
    let known = match Errno::from_io_error(error)? {
        Errno::NOSYS => "Linux 5.15 or later has this call; in a container its seccomp profile must allow it",
        Errno::MFILE => "`ulimit -n` says how many files wardian may open at once: allow more",
        Errno::AGAIN => {
            "`ulimit -u` says how many processes this user may have at once: allow more, or end some"
        }
        Errno::ROFS => {
            "make that directory writable (Docker: `--tmpfs /run`), or run wardian as an ordinary user"
        }
        Errno::PERM | Errno::ACCESS | Errno::NOENT => {
            return wrong_proc().or_else(|| lacking(&missing_capabilities()));
        }
        _ => return None,
    };
    Some(known.into())
}

/// What is wrong with the `/proc` that wardian sees, and what to do about it.
pub(crate) fn wrong_proc() -> Option<String> {
    let shows_us = std::fs::read_link("/proc/self")
        .is_ok_and(|link| link.to_str() == Some(std::process::id().to_string().as_str()));
    (!shows_us).then(|| match Path::new("/proc/self").symlink_metadata() {
        Ok(_) => "/proc belongs to another pid namespace: `mount -t proc proc /proc` in this one".into(),
        Err(_) => "there is no /proc here: `mount -t proc proc /proc`".into(),
    })
}

/// The capabilities that root here has not; an ordinary user needs none.
pub(crate) fn missing_capabilities() -> Vec<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let effective = capabilities(None).map_or(CapabilitySet::all(), |sets| sets.effective);
    NEEDED.iter().filter(|(one, _)| !effective.contains(*one)).map(|(_, name)| *name).collect()
}

/// What to do about capabilities that are missing.
pub(crate) fn lacking(missing: &[&str]) -> Option<String> {
    (!missing.is_empty()).then(|| {
        format!(
            "root has no {} here: run wardian as an ordinary user, or give the container that",
            missing.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_error_number_says_is_told() {
        let of = |errno: Errno| remedy(&errno.into()).unwrap_or_default();
        for (errno, word) in [
            (Errno::NOSYS, "5.15"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::AGAIN, "ulimit -u"),
            (Errno::ROFS, "writable"),
        ] {
            assert!(of(errno).contains(word), "{errno}");
        }
        assert_eq!(of(Errno::IO), "");
    }

    #[test]
    fn this_machine_refuses_nothing() {
        assert_eq!((wrong_proc(), missing_capabilities()), (None, Vec::new()));
        assert_eq!(remedy(&Errno::PERM.into()), None);
        assert!(
            lacking(&["CAP_CHOWN", "CAP_SYS_ADMIN"]).unwrap().contains("no CAP_CHOWN, CAP_SYS_ADMIN here")
        );
    }
}
