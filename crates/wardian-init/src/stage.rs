//! The stages of the guest's start.

#[cfg(not(feature = "supervisor"))]
use crate::message::Message;
#[cfg(not(feature = "supervisor"))]
use wardian_sys::Errno;

/// Where the guest's start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// Joining its cgroups.
    Join = 1,
    /// Standard streams and session.
    Streams,
    /// The cgroup namespace.
    CgroupNamespace,
    /// Nice value and CPU affinity.
    Scheduling,
    /// Resource limits.
    Limits,
    /// The working directory.
    WorkingDirectory,
    /// The Landlock ruleset.
    Landlock,
    /// User and group ids, capabilities.
    Identity,
    /// `no_new_privs`.
    NoNewPrivs,
    /// Opening the executable.
    OpenProgram,
    /// Putting an empty path where the filter allows one.
    EmptyPath,
    /// The seccomp filter.
    Seccomp,
    /// Handing the seccomp listener over.
    Listener,
    /// Executing the program.
    Exec,
    /// Entering a slot's namespaces, as a zygote's child.
    Enter,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 15] = [
        Stage::Join,
        Stage::Streams,
        Stage::CgroupNamespace,
        Stage::Scheduling,
        Stage::Limits,
        Stage::WorkingDirectory,
        Stage::Landlock,
        Stage::Identity,
        Stage::NoNewPrivs,
        Stage::OpenProgram,
        Stage::EmptyPath,
        Stage::Seccomp,
        Stage::Listener,
        Stage::Exec,
        Stage::Enter,
    ];
}

/// Where a guest's start ended, and why.
#[cfg(not(feature = "supervisor"))]
pub(crate) struct Stopped(Stage, Errno);

#[cfg(not(feature = "supervisor"))]
impl Stopped {
    /// For `map_err`.
    pub(crate) fn at(stage: Stage) -> impl Fn(Errno) -> Stopped {
        move |errno| Stopped(stage, errno)
    }

    pub(crate) fn message(&self) -> Message {
        Message::NotStarted { stage: self.0 as u32, errno: self.1.0 }
    }
}
