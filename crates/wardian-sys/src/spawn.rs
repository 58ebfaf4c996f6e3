//! Starting `wardian-init` from any thread of any program.
//!
//! Between `clone3` and `execveat` the child keeps its capabilities, puts its descriptors in place, and
//! nothing else. All memory it uses was prepared by the parent, which goes on meanwhile and leaves that memory alone.

use crate::arch::syscall;
use crate::clone::{self, Child, Request};
use crate::process::StringList;
use crate::signal::SignalSet;
use crate::{Errno, Fd, NewFd, Result, caps, file, nr, process, signal};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The number that the first of `InitSpec::fds` has inside.
pub const FIRST_SEAT: i32 = 3;
const STACK_BYTES: usize = 32 * 1024;
const NOT_EXECUTED: u8 = 127;

/// Has the kernel kill the command's process when the thread that starts it ends, for whatever reason (`PR_SET_PDEATHSIG`).
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
    /// Becomes number `FIRST_SEAT`; no other is inherited. Numbers 0 to 2 are copies of it, so that
    /// descriptors received later get the numbers after it, in order.
    pub control: BorrowedFd<'a>,
}

/// How init has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitEnd {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Killed(i32),
    /// Nobody can say any more, or not to us.
    Unknown,
}

/// A started init, a child of ours.
#[derive(Debug)]
pub struct StartedInit {
    /// Its pid in our namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    nest: Option<Nest>,
}

impl StartedInit {
    /// Waits until init has been executed, or killed before.
    ///
    /// # Errors
    /// What failed in the child, which has been reaped.
    pub fn wait_until_executed(&mut self) -> core::result::Result<(), StartError> {
        let Some(nest) = self.nest.take() else { return Ok(()) };
        nest.wait();
        let told = nest.shared.failure.told();
        if told.is_err() {
            self.reap();
        }
        told
    }

    /// Waits for its end, and has the kernel forget it: of one that has been reaped nothing is known.
    pub fn reap(&mut self) -> InitEnd {
        loop {
            match wait_for((&self.pidfd).into()) {
                Err(Errno::INTR) => {}
                end => return end.unwrap_or(InitEnd::Unknown),
            }
        }
    }
}

/// `waitid`, for the child that a pidfd refers to.
fn wait_for(pidfd: Fd) -> Result<InitEnd> {
    const P_PIDFD: usize = 3;
    const WEXITED: usize = 4;
    /// Its end sends us no signal, which wait calls must be told (`__WALL`).
    const ALL_CHILDREN: usize = 0x4000_0000;
    const CLD_EXITED: i32 = 1;
    /// `siginfo_t` of 64-bit machines, as it is for a child's end.
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Info {
        signal: i32,
        errno: i32,
        code: i32,
        _padding: i32,
        pid: i32,
        uid: u32,
        status: i32,
        _rest: [i32; 25],
    }
    let mut info = Info::default();
    let options = WEXITED | ALL_CHILDREN;
    // SAFETY: the kernel writes into a live `siginfo_t` of 128 bytes; what the child used is not asked for.
    unsafe { syscall!(nr::WAITID, P_PIDFD, pidfd.number(), &raw mut info, options, 0usize) }?;
    Ok(match info.code {
        CLD_EXITED => InitEnd::Exited(u8::try_from(info.status).unwrap_or(u8::MAX)),
        _ => InitEnd::Killed(info.status),
    })
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

/// What parent and child both have while the child is in the parent's memory.
#[derive(Debug)]
struct Shared {
    /// Not 0 while the child is there; cleared by the kernel.
    inside: AtomicU32,
    executable: Fd,
    namespaces: u64,
    capabilities: Vec<u32>,
    control: Fd,
    args: StringList,
    failure: Failure,
}

/// What the child does.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Step {
    Capabilities = 1,
    Descriptors,
    Exec,
}

/// Where the child leaves word: which step failed, and in the lower half why; 0 for none.
#[derive(Debug, Default)]
struct Failure(AtomicU64);

impl Failure {
    fn tell(&self, (step, errno): (Step, Errno)) {
        self.0.store((step as u64) << 32 | u64::from(errno.0.cast_unsigned()), Ordering::Release);
    }

    fn told(&self) -> core::result::Result<(), StartError> {
        let word = self.0.load(Ordering::Acquire);
        let errno = i32::try_from(word & u64::from(u32::MAX)).map_or(Errno::IO, Errno);
        let steps = [Step::Capabilities, Step::Descriptors, Step::Exec];
        match steps.into_iter().find(|step| *step as u64 == word >> 32) {
            None => Ok(()),
            Some(Step::Capabilities) => Err(StartError::Capabilities(errno)),
            Some(Step::Descriptors) => Err(StartError::Descriptors(errno)),
            Some(Step::Exec) => Err(StartError::Exec(errno)),
        }
    }
}

/// Keeps the child's memory until the child has left it.
#[derive(Debug)]
struct Nest {
    /// Whose memory it is: a copy that fork(2) made has no child in it, and nobody would tell.
    of: i32,
    shared: Arc<Shared>,
    /// Not filled with zeros, of which each page would be a fault.
    _stack: Vec<u8>,
}

impl Nest {
    /// Waits until the child has left (set_tid_address(2), "clear_child_tid").
    fn wait(&self) {
        const FUTEX_WAIT: usize = 0;
        if process::getpid() != self.of {
            return;
        }
        let inside = &self.shared.inside;
        while let still @ 1.. = inside.load(Ordering::Acquire) {
            // SAFETY: `inside` is a live, aligned futex word; not private, as the kernel wakes its waiters so. Whatever it
            // answers, the word is looked at again.
            let _ = unsafe { syscall!(nr::FUTEX, inside.as_ptr(), FUTEX_WAIT, still, 0usize) };
        }
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        self.wait();
    }
}

/// Starts `wardian-init`, which executes itself while we go on: see [`StartedInit::wait_until_executed`].
///
/// The child has an empty environment, no controlling relation to us but the control socket, and every signal
/// blocked.
///
/// # Errors
/// That there is no child.
pub fn start_init(spec: &InitSpec<'_>) -> core::result::Result<StartedInit, StartError> {
    static ARGS: std::sync::OnceLock<StringList> = std::sync::OnceLock::new();
    let args = *ARGS.get_or_init(|| {
        let space = Box::leak(Box::new([0usize; 2]));
        StringList::new(core::iter::once(c"wardian-init"), space).unwrap_or(StringList::EMPTY)
    });
    let mut stack = Vec::<u8>::with_capacity(STACK_BYTES);
    let shared = Arc::new(Shared {
        inside: AtomicU32::new(1),
        executable: spec.executable.into(),
        namespaces: spec.namespaces,
        capabilities: spec.capabilities.to_vec(),
        control: spec.control.into(),
        args,
        failure: Failure::default(),
    });
    let request = Request {
        flags: spec.namespaces | if spec.cgroup.is_some() { clone::INTO_CGROUP } else { 0 },
        exit_signal: 0,
        cgroup: spec.cgroup.map_or(-1, |fd| Fd::from(fd).number()),
        stack: core::ptr::slice_from_raw_parts_mut(stack.as_mut_ptr(), stack.capacity()),
        inside: &raw const shared.inside,
    };
    // A handler of the program we live in must not run in the child, on memory it shares with us.
    let before = signal::set_blocked(SignalSet::ALL).map_err(StartError::Clone)?;
    // SAFETY: `in_child` never returns and keeps to the rules; a `Nest` keeps `shared` and the stack, of which the parent
    // uses nothing but atomics, until the child has left.
    let child = unsafe { clone::start(request, in_child, Arc::as_ptr(&shared).expose_provenance()) };
    let _ = signal::set_blocked(before);
    let Child { pid, pidfd } = child.map_err(StartError::Clone)?;
    Ok(StartedInit {
        pid,
        pidfd: pidfd.into(),
        nest: Some(Nest { of: process::getpid(), shared, _stack: stack }),
    })
}

extern "C" fn in_child(shared: usize) -> ! {
    // SAFETY: the address of a `Shared` that the parent keeps while we are here.
    let shared = unsafe { &*core::ptr::with_exposed_provenance::<Shared>(shared) };
    shared.failure.tell(prepare_and_exec(shared));
    process::exit(NOT_EXECUTED)
}

fn prepare_and_exec(shared: &Shared) -> (Step, Errno) {
    if shared.namespaces & clone::NEWUSER != 0
        && let Err(errno) = caps::keep_through_exec(&shared.capabilities)
    {
        return (Step::Capabilities, errno);
    }
    match place(shared.control, shared.executable) {
        Ok(executable) => {
            (Step::Exec, process::exec_fd(executable.fd(), c"", shared.args, StringList::EMPTY))
        }
        Err(errno) => (Step::Descriptors, errno),
    }
}

/// Puts the control socket where it belongs, everything else close-on-exec; returns where the executable is now.
fn place(control: Fd, executable: Fd) -> Result<NewFd> {
    // First both move out of the way.
    let executable = file::dup_at_least(executable, FIRST_SEAT + 1)?;
    let control = file::dup_at_least(control, FIRST_SEAT + 1)?;
    file::cloexec_from(0)?;
    for number in 0..=FIRST_SEAT {
        file::dup_onto(control.fd(), Fd::from_number(number))?;
    }
    Ok(executable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn start(executable: &File) -> StartedInit {
        start_with(executable, executable.as_fd())
    }

    fn start_with(executable: &File, control: BorrowedFd<'_>) -> StartedInit {
        let executable = executable.as_fd();
        start_init(&InitSpec { executable, namespaces: 0, cgroup: None, capabilities: &[], control }).unwrap()
    }

    #[test]
    fn an_exit_is_told_from_a_signal() {
        assert_eq!(start(&File::open("/bin/true").unwrap()).reap(), InitEnd::Exited(0));
        assert_eq!(start(&File::open("/bin/false").unwrap()).reap(), InitEnd::Exited(1));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        // Reads from what nobody writes to.
        let mut init = start_with(&File::open("/bin/cat").unwrap(), theirs.as_fd());
        process::kill_child(init.pid).unwrap();
        assert_eq!(init.reap(), InitEnd::Killed(9));
        assert_eq!(init.reap(), InitEnd::Unknown);
        drop(ours);
    }

    #[test]
    fn what_cannot_be_executed_is_told_and_reaped() {
        let directory = File::open("/").unwrap();
        let mut init = start(&directory);
        assert_eq!(init.wait_until_executed(), Err(StartError::Exec(Errno::ACCES)));
        // Whoever asks again hears nothing new.
        assert_eq!(init.wait_until_executed(), Ok(()));
        // SAFETY: a null siginfo is allowed.
        let answer = unsafe {
            libc::waitid(
                libc::P_PID,
                init.pid.cast_unsigned(),
                core::ptr::null_mut(),
                libc::WEXITED | libc::WNOHANG | libc::__WALL,
            )
        };
        assert_eq!(answer, -1, "it was still there to be reaped");
    }

    #[test]
    fn what_the_child_uses_stays_until_it_has_left() {
        let program = File::open("/bin/true").unwrap();
        for _ in 0..50 {
            // Dropped at once; the child may just have begun.
            let mut init = start(&program);
            drop(init.nest.take());
            init.reap();
        }
    }
}
