//! Starting `wardian-init` from any thread of any program.
//!
//! Between `clone3` and `execveat` the child keeps its capabilities, puts its descriptors in place, and
//! nothing else. All memory it uses was prepared by the parent, whose thread waits (`VFORK`) meanwhile.

use crate::clone::{self, Child, Request};
use crate::process::StringList;
use crate::signal::SignalSet;
use crate::{Errno, Fd, NewFd, Result, caps, file, process, signal};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The number that the first of `InitSpec::fds` has inside.
pub const FIRST_SLOT: i32 = 3;
const STACK_BYTES: usize = 32 * 1024;
const NOT_EXECUTED: u8 = 127;

/// Has what a command starts killed when the thread that starts it ends, however that comes.
pub fn end_with_this_thread(command: &mut Command) -> &mut Command {
    let parent = process::getpid();
    let bind = move || {
        process::die_with_parent()?;
        // It may have ended before.
        if process::getppid() == parent { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec it makes two system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(bind) }
}

/// What `start_init` needs.
pub struct InitSpec<'a> {
    /// The static helper, in a sealed memfd.
    pub executable: BorrowedFd<'a>,
    /// Namespaces to create: `clone::NEW*`.
    pub namespaces: u64,
    /// The cgroup v2 directory to be born into.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The capabilities that it keeps in a new user namespace.
    pub capabilities: &'a [u32],
    /// Becomes number `FIRST_SLOT`; no other is inherited. Numbers 0 to 2 are copies of it, so that
    /// descriptors received later get the numbers after it, in order.
    pub control: BorrowedFd<'a>,
}

/// A started init.
#[derive(Debug)]
pub struct StartedInit {
    /// Its pid in our namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
}

/// Why init did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError {
    /// `clone3` failed.
    Clone(Errno),
    /// The child could not keep its capabilities.
    Capabilities(Errno),
    /// The child could not place its descriptors.
    Descriptors(Errno),
    /// `execveat` of the helper failed.
    Exec(Errno),
}

struct ChildPlan {
    executable: Fd,
    namespaces: u64,
    capabilities: Vec<u32>,
    control: Fd,
    args: StringList,
    failure: Option<StartError>,
}

/// Starts `wardian-init`; returns when it has been executed.
///
/// The child has an empty environment, no controlling relation to us but the control socket, and every signal
/// blocked.
pub fn start_init(spec: &InitSpec<'_>) -> core::result::Result<StartedInit, StartError> {
    // Not filled with zeros, of which each page would be a fault.
    let mut stack = Vec::<u8>::with_capacity(STACK_BYTES);
    static ARGS: std::sync::OnceLock<StringList> = std::sync::OnceLock::new();
    let args = *ARGS.get_or_init(|| {
        let space = Box::leak(Box::new([0usize; 2]));
        StringList::new(core::iter::once(c"wardian-init"), space).unwrap_or(StringList::EMPTY)
    });
    let mut plan = ChildPlan {
        executable: spec.executable.into(),
        namespaces: spec.namespaces,
        capabilities: spec.capabilities.to_vec(),
        control: spec.control.into(),
        args,
        failure: None,
    };
    let request = Request {
        flags: clone::VFORK | spec.namespaces | if spec.cgroup.is_some() { clone::INTO_CGROUP } else { 0 },
        exit_signal: 0,
        cgroup: spec.cgroup.map_or(-1, |fd| Fd::from(fd).number()),
        stack: core::ptr::slice_from_raw_parts_mut(stack.as_mut_ptr(), stack.capacity()),
    };
    // A handler of the program we live in must not run in the child, on memory it shares with us.
    let before = signal::set_blocked(SignalSet::ALL).map_err(StartError::Clone)?;
    // SAFETY: `in_child` never returns and keeps to the rules; `plan` and `stack` live until `start` returns,
    // which `VFORK` delays until the child has executed init or ended.
    let child = unsafe { clone::start(request, in_child, (&raw mut plan).addr()) };
    let _ = signal::set_blocked(before);
    let Child { pid, pidfd } = child.map_err(StartError::Clone)?;
    // SAFETY: the child, the only other user of `plan`, is gone from our memory; a volatile read because
    // the compiler cannot know that the child wrote it.
    let failure = unsafe { core::ptr::read_volatile(&raw const plan.failure) };
    let pidfd = OwnedFd::from(pidfd);
    match failure {
        None => Ok(StartedInit { pid, pidfd }),
        Some(error) => {
            reap(&pidfd);
            Err(error)
        }
    }
}

fn reap(pidfd: &OwnedFd) {
    // SAFETY: a null siginfo is allowed; `__WALL` because the child's exit signal is 0.
    unsafe {
        libc::waitid(
            libc::P_PIDFD,
            Fd::from(pidfd).number().cast_unsigned(),
            core::ptr::null_mut(),
            libc::WEXITED | libc::__WALL,
        );
    }
}

extern "C" fn in_child(plan: usize) -> ! {
    // SAFETY: `plan` is the address of the parent's `ChildPlan`, which waits and does not touch it.
    let plan = unsafe { &mut *(plan as *mut ChildPlan) };
    plan.failure = Some(prepare_and_exec(plan));
    process::exit(NOT_EXECUTED)
}

fn prepare_and_exec(plan: &mut ChildPlan) -> StartError {
    if plan.namespaces & clone::NEWUSER != 0
        && let Err(errno) = caps::keep_through_exec(&plan.capabilities)
    {
        return StartError::Capabilities(errno);
    }
    match place(plan.control, plan.executable) {
        Ok(executable) => {
            StartError::Exec(process::exec_fd(executable.fd(), c"", plan.args, StringList::EMPTY))
        }
        Err(errno) => StartError::Descriptors(errno),
    }
}

/// Puts the control socket where it belongs, everything else close-on-exec; returns where the executable is now.
fn place(control: Fd, executable: Fd) -> Result<NewFd> {
    // First both move out of the way.
    let executable = file::dup_at_least(executable, FIRST_SLOT + 1)?;
    let control = file::dup_at_least(control, FIRST_SLOT + 1)?;
    file::cloexec_from(0)?;
    for number in 0..=FIRST_SLOT {
        file::dup_onto(control.fd(), Fd::from_number(number))?;
    }
    Ok(executable)
}
