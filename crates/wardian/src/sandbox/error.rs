//! Why a sandbox could not be made or kept.

use super::words;
use crate::host;
use crate::plan::Plan;
use wardian_init::{Part, Stage};
use wardian_sys::Errno;
use wardian_sys::spawn::{InitEnd, StartError};

/// A failure of ours or of the host: never the program's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// A call of the supervisor's failed.
    #[error("cannot {step}: {source}")]
    Supervisor {
        /// What we were about to do.
        step: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Init could not be started.
    #[error("cannot {step}: {}", std::io::Error::from(*errno))]
    Start {
        /// Which part of it.
        step: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// A set-up step failed inside.
    #[error("cannot {step}: {}", std::io::Error::from(*errno))]
    SetUp {
        /// The step in the plan's words.
        step: String,
        /// Why not.
        errno: Errno,
    },
    /// The guest's child-side code failed before exec.
    #[error("cannot start the program: {stage}: {}", std::io::Error::from(*errno))]
    Guest {
        /// Which stage.
        stage: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// Init ended without a word.
    #[error("wardian-init ended unexpectedly while it was to {during} ({})", how(*end))]
    InitDied {
        /// What it was doing.
        during: &'static str,
        /// How it ended.
        end: InitEnd,
    },
    /// A zygote, or what it was to load, failed.
    #[error("{}", if reason.is_empty() { "the zygote ended unexpectedly" } else { reason })]
    Zygote {
        /// What it said last.
        reason: String,
    },
    /// The cgroup could not be made.
    #[error(transparent)]
    Cgroup(#[from] crate::limits::CgroupError),
    /// An input can no longer be read.
    #[error(transparent)]
    Input(crate::files::InputError),
    /// A mount that is written as its owner is reached through a symbolic link, which a program may have made.
    #[error("the writable mount of {} is reached through a symbolic link", path.display())]
    Linked {
        /// Its path.
        path: std::path::PathBuf,
    },
    /// Root's program cannot have the rights of a writable mount's owner.
    #[error("cannot let the program write in {} as its owner (mount_setattr, MOUNT_ATTR_IDMAP): {}", path.display(), std::io::Error::from(*errno))]
    NotOwned {
        /// What was to be mounted.
        path: std::path::PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// Every host id of the policy's range is in use.
    #[error("no two free host ids in {first}..{end}, the policy's `identity.uid_range`")]
    NoIds {
        /// First of the range.
        first: u32,
        /// One past its last.
        end: u64,
    },
}

impl SandboxError {
    /// For `map_err` after a call of ours.
    pub(crate) fn at<E: Into<std::io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> SandboxError {
        let step = step.into();
        move |source| SandboxError::Supervisor { step, source: source.into() }
    }

    /// A set-up step that failed, in the plan's words.
    pub(super) fn set_up(plan: &Plan, step: u32, errno: i32) -> SandboxError {
        let part = Part::of(step);
        if part == Some(Part::Namespaces) {
            return SandboxError::Start { step: NAMESPACES, errno: Errno(errno) };
        }
        let step = usize::try_from(step).ok().and_then(|step| plan.root.steps.iter().nth(step));
        let step = step.map(|step| step.to_string());
        let step = step.unwrap_or_else(|| part.map_or("do an unknown step", words::part).to_owned());
        SandboxError::SetUp { step, errno: Errno(errno) }
    }

    /// A stage of the guest's start that failed.
    pub(super) fn guest(stage: u32, errno: i32) -> SandboxError {
        let stage = Stage::ALL.into_iter().find(|s| *s as u32 == stage);
        SandboxError::Guest { stage: stage.map_or("unknown stage", words::stage), errno: Errno(errno) }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            SandboxError::Cgroup(error) => return error.hint(),
            SandboxError::Input(error) => return error.hint(),
            SandboxError::Start { errno: Errno::NOSPC, step: NAMESPACES } => {
                "a limit on namespaces is reached: see the sysctls user.max_*_namespaces"
            }
            SandboxError::Start { errno: Errno::PERM, step: NAMESPACES } => {
                "user namespaces are refused here (a chroot, the sysctl kernel.unprivileged_userns_clone, or a \
                 container's seccomp profile); `wardian doctor` tells more"
            }
            SandboxError::SetUp { errno: Errno::ACCES, .. } => {
                "AppArmor may forbid mounts in user namespaces (sysctl \
                 kernel.apparmor_restrict_unprivileged_userns): `wardian doctor` tells, with a profile to install; \
                 or a container's profile does (Docker: `--security-opt apparmor=unconfined`)"
            }
            SandboxError::Guest { errno: Errno::BUSY, .. } => {
                "wardian itself runs under a seccomp listener, and there can be but one: do not require \
                 `denials` here, and where starts are warm set `denials = false` under [syscalls]"
            }
            SandboxError::Guest { errno: Errno::NOENT | Errno::ACCES, stage } if *stage == CHDIR => {
                "the working directory (`--cwd`) must be a directory inside the sandbox: /box, or what a mount shows"
            }
            SandboxError::Guest { errno: Errno::PERM, stage } if *stage == LIMITS => {
                "a limit is above the one that wardian itself was started with: `ulimit -Ha` shows those"
            }
            SandboxError::Supervisor { step, source }
                if step.ends_with(OPEN_TREE) && source.kind() == std::io::ErrorKind::StorageFull =>
            {
                "a limit on namespaces or mounts is reached: see the sysctls user.max_mnt_namespaces and fs.mount-max"
            }
            SandboxError::Supervisor { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput => {
                "as root in a container: the policy's `identity.uid_range` must lie within /proc/self/uid_map"
            }
            SandboxError::NotOwned { .. } => {
                "the kernel (before Linux 5.12) or this file system has no idmapped mounts: run wardian as the owner, \
                 or let everybody write there; or, in a policy, set `as_owner = false` for the mount"
            }
            SandboxError::Linked { .. } => {
                "name the directory itself (`realpath` tells its path), or, in a policy, set `as_owner = false` for the mount"
            }
            SandboxError::NoIds { .. } => "a wider `identity.uid_range` allows more sandboxes at once",
            SandboxError::Supervisor { source, .. } => return host::remedy(source),
            SandboxError::Start { errno, .. }
            | SandboxError::SetUp { errno, .. }
            | SandboxError::Guest { errno, .. } => return host::remedy(&(*errno).into()),
            SandboxError::InitDied { .. } | SandboxError::Zygote { .. } => return None,
        };
        Some(hint.into())
    }
}

fn how(end: InitEnd) -> String {
    match end {
        InitEnd::Exited(code) => format!("exit code {code}"),
        InitEnd::Killed(signal) => format!("killed by {}", words::signal_name(signal)),
        InitEnd::Unknown => "how is not known".into(),
    }
}

/// How the step ends in which a host tree is opened.
pub(super) const OPEN_TREE: &str = "(open_tree)";

/// Stages of the guest's start with a known remedy, in the words of [`super::words::stage`].
pub(super) const CHDIR: &str = "change to its working directory";
pub(super) const LIMITS: &str = "set its resource limits";

pub(super) const NAMESPACES: &str = "create the sandbox's namespaces (clone3, unshare)";

impl From<StartError> for SandboxError {
    fn from(error: StartError) -> Self {
        let (step, errno) = match error {
            StartError::Clone(errno) => (NAMESPACES, errno),
            StartError::Capabilities(errno) => ("keep wardian-init's capabilities", errno),
            StartError::Descriptors(errno) => ("place wardian-init's descriptors (dup3, close_range)", errno),
            StartError::Exec(errno) => ("execute wardian-init (execveat)", errno),
        };
        SandboxError::Start { step, errno }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_mount_namespaces_is_named() {
        let step = format!("open /usr/lib for mounting {OPEN_TREE}");
        let error = SandboxError::at(step)(rustix::io::Errno::NOSPC);
        assert!(error.hint().is_some_and(|hint| hint.contains("max_mnt_namespaces")), "{error}");
        let other = SandboxError::at("make its standard streams")(rustix::io::Errno::NOSPC);
        assert_eq!(other.hint(), None);
    }
}
