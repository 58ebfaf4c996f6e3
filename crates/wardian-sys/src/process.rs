//! Processes: identity, limits, exec, wait.

use crate::arch::syscall;
use crate::file::AT_EMPTY_PATH;
use crate::{Errno, Fd, Result, nr};
use core::ffi::CStr;

const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_DUMPABLE: usize = 4;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const WALL: usize = 0x4000_0000;
const WNOHANG: usize = 1;
const SIGKILL: usize = 9;

/// Ends the process, all threads, with `code`.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: no memory is passed; the call does not return.
        let _ = unsafe { syscall!(nr::EXIT_GROUP, code) };
    }
}

/// Lets others that wait for this core go first.
pub fn yield_now() {
    // SAFETY: no memory is passed. It always succeeds.
    let _ = unsafe { syscall!(nr::SCHED_YIELD) };
}

/// What two processes may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Common {
    /// `KCMP_VM`: their memory.
    Memory = 1,
    /// `KCMP_FILES`: their descriptors.
    Descriptors = 2,
}

/// Whether two processes or threads have it in common (kcmp(2), which asks for the right to read both of them).
pub fn have_in_common(one: i32, other: i32, what: Common) -> Result<bool> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::KCMP, one, other, what as usize, 0usize, 0usize) }.map(|order| order == 0)
}

/// Our own process id, as our pid namespace numbers it.
pub fn getpid() -> i32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { syscall!(nr::GETPID) }.ok().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(-1)
}

/// The process id of our parent.
pub fn getppid() -> i32 {
    // SAFETY: no memory is passed; the call cannot fail.
    unsafe { syscall!(nr::GETPPID) }.ok().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(-1)
}

/// Starts a new session.
pub fn setsid() -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::SETSID) }.map(drop)
}

/// Takes real, effective and saved user and group id, after leaving all supplementary groups if asked.
pub fn become_user(uid: u32, gid: u32, clear_groups: bool) -> Result<()> {
    if clear_groups {
        // SAFETY: a list of zero entries may be null.
        unsafe { syscall!(nr::SETGROUPS, 0usize, 0usize) }?;
    }
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::SETRESGID, gid, gid, gid) }?;
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::SETRESUID, uid, uid, uid) }.map(drop)
}

fn prctl(option: usize, value: usize) -> Result<()> {
    // SAFETY: the options used in this file take a plain number and no memory.
    unsafe { syscall!(nr::PRCTL, option, value, 0usize, 0usize, 0usize) }.map(drop)
}

/// No exec may grant privileges any more.
pub fn no_new_privs() -> Result<()> {
    prctl(PR_SET_NO_NEW_PRIVS, 1)
}

/// Whether others of our uid may trace us or read our `/proc` files.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(PR_SET_DUMPABLE, usize::from(dumpable))
}

/// Be killed when the creating thread ends; a second belt only.
pub fn die_with_parent() -> Result<()> {
    prctl(PR_SET_PDEATHSIG, SIGKILL)
}

/// Orphans among our descendants become our children, as they would pid 1's.
pub fn become_subreaper() -> Result<()> {
    prctl(PR_SET_CHILD_SUBREAPER, 1)
}

/// `RLIMIT_CPU`
pub const RLIMIT_CPU: u32 = 0;
/// `RLIMIT_FSIZE`
pub const RLIMIT_FSIZE: u32 = 1;
/// `RLIMIT_STACK`
pub const RLIMIT_STACK: u32 = 3;
/// `RLIMIT_CORE`
pub const RLIMIT_CORE: u32 = 4;
/// `RLIMIT_NPROC`
pub const RLIMIT_NPROC: u32 = 6;
/// `RLIMIT_NOFILE`
pub const RLIMIT_NOFILE: u32 = 7;
/// `RLIMIT_MEMLOCK`
pub const RLIMIT_MEMLOCK: u32 = 8;
/// `RLIMIT_AS`
pub const RLIMIT_AS: u32 = 9;
/// `RLIMIT_SIGPENDING`
pub const RLIMIT_SIGPENDING: u32 = 11;
/// `RLIMIT_MSGQUEUE`
pub const RLIMIT_MSGQUEUE: u32 = 12;
/// `RLIMIT_NICE`
pub const RLIMIT_NICE: u32 = 13;
/// `RLIMIT_RTPRIO`
pub const RLIMIT_RTPRIO: u32 = 14;

#[repr(C)]
struct RLimit {
    soft: u64,
    hard: u64,
}

/// Sets one of our own resource limits (setrlimit(2) gives the numbers and units).
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = RLimit { soft, hard };
    // SAFETY: `limit` is the kernel's `struct rlimit64`; the old value is not asked for.
    unsafe { syscall!(nr::PRLIMIT64, 0usize, resource, &raw const limit, 0usize) }.map(drop)
}

/// One of our own resource limits: soft, hard.
pub fn get_rlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = RLimit { soft: 0, hard: 0 };
    // SAFETY: `limit` is the kernel's `struct rlimit64`; no new value is set.
    unsafe { syscall!(nr::PRLIMIT64, 0usize, resource, 0usize, &raw mut limit) }?;
    Ok((limit.soft, limit.hard))
}

/// Sets our nice value.
pub fn set_nice(nice: i32) -> Result<()> {
    const PRIO_PROCESS: usize = 0;
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::SETPRIORITY, PRIO_PROCESS, 0usize, nice) }.map(drop)
}

/// The first version of the kernel's `struct sched_attr`.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets how long a process (0 for us) means to run at a time, in nanoseconds; 0 for as long as everybody. Whoever means to
/// run for a shorter time goes first, and all get as much in the end (sched_setattr(2), `sched_runtime` of `SCHED_OTHER`;
/// before Linux 6.12 it is ignored).
pub fn set_slice(pid: i32, nanos: u64) -> Result<()> {
    const SCHED_OTHER: u32 = 0;
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes at most the size that it is told of the live structure.
    unsafe { syscall!(nr::SCHED_GETATTR, pid, &raw mut attr, size_of::<SchedAttr>(), 0usize) }?;
    if attr.policy != SCHED_OTHER {
        return Err(Errno::INVAL);
    }
    attr.runtime = nanos;
    // SAFETY: the kernel reads `size` bytes of the live structure, which is what it has written.
    unsafe { syscall!(nr::SCHED_SETATTR, pid, &raw const attr, 0usize) }.map(drop)
}

/// Restricts us to the CPUs whose bits are set in `mask`.
pub fn set_cpu_affinity(mask: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads `len` bytes of the borrowed mask.
    unsafe { syscall!(nr::SCHED_SETAFFINITY, 0usize, size_of_val(mask), mask.as_ptr()) }.map(drop)
}

/// The CPUs that we are restricted to, as for [`set_cpu_affinity`].
pub fn cpu_affinity(space: &mut [u64]) -> Result<&mut [u64]> {
    // SAFETY: the kernel writes at most `len` bytes into the borrowed space.
    let bytes = unsafe { syscall!(nr::SCHED_GETAFFINITY, 0usize, size_of_val(space), space.as_mut_ptr()) }?;
    space.get_mut(..bytes / size_of::<u64>()).ok_or(Errno::INVAL)
}

/// The CPU that we are on, and may have left by now.
pub fn current_cpu() -> Result<u32> {
    let mut cpu = 0u32;
    // SAFETY: the kernel writes one number; the other two arguments may be null.
    unsafe { syscall!(nr::GETCPU, &raw mut cpu, 0usize, 0usize) }?;
    Ok(cpu)
}

/// Sets the host name of our UTS namespace.
pub fn set_hostname(name: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `len` bytes of the borrowed name.
    unsafe { syscall!(nr::SETHOSTNAME, name.as_ptr(), name.len()) }.map(drop)
}

/// Leaves the namespaces of `flags` ([`clone::NEW*`](crate::clone)) for new ones.
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::UNSHARE, flags) }.map(drop)
}

/// Joins the namespaces of `flags` of the process behind a pidfd (Linux ≥ 5.8), or the one that the descriptor is.
pub fn setns(to: Fd, flags: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::SETNS, to.number(), flags) }.map(drop)
}

/// A descriptor that refers to a child of ours.
pub fn pidfd_open(pid: i32) -> Result<crate::NewFd> {
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::PIDFD_OPEN, pid, 0usize) }.map(crate::NewFd::from_answer)
}

/// Argument or environment strings as exec wants them: pointers to C strings, then a null.
#[derive(Clone, Copy, Debug)]
pub struct StringList(&'static [usize]);

impl StringList {
    /// No strings.
    pub const EMPTY: StringList = StringList(&[0]);

    /// Lays `strings` out in `space`; `None` if it is too small.
    pub fn new(
        strings: impl Iterator<Item = &'static CStr>,
        space: &'static mut [usize],
    ) -> Option<StringList> {
        let mut used = 0;
        for string in strings {
            *space.get_mut(used)? = string.as_ptr().expose_provenance();
            used += 1;
        }
        *space.get_mut(used)? = 0;
        Some(StringList(space))
    }
}

/// Replaces the program by the file `fd` refers to; returns only on failure. A filter may compare where
/// `empty` lies, so the caller says.
pub fn exec_fd(fd: Fd, empty: &CStr, args: StringList, env: StringList) -> Errno {
    exec(fd, empty, args, env, AT_EMPTY_PATH)
}

/// Replaces the program by the file at `path`; returns only on failure.
pub fn exec_path(path: &CStr, args: StringList, env: StringList) -> Errno {
    exec(Fd::CWD, path, args, env, 0)
}

fn exec(dir: Fd, path: &CStr, args: StringList, env: StringList, flags: u32) -> Errno {
    // SAFETY: the path is NUL-terminated; a `StringList` is null-terminated and points to static C strings.
    let answer = unsafe {
        syscall!(nr::EXECVEAT, dir.number(), path.as_ptr(), args.0.as_ptr(), env.0.as_ptr(), flags)
    };
    answer.err().unwrap_or(Errno::IO)
}

/// What a reaped process used (`struct rusage`, getrusage(2)).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Rusage {
    /// User CPU time: seconds, microseconds.
    pub user: [i64; 2],
    /// System CPU time: seconds, microseconds.
    pub system: [i64; 2],
    /// Largest resident set of any process, KiB.
    pub max_rss_kib: i64,
    ixrss: i64,
    idrss: i64,
    isrss: i64,
    /// Page faults without I/O.
    pub minor_faults: i64,
    /// Page faults with I/O.
    pub major_faults: i64,
    nswap: i64,
    inblock: i64,
    oublock: i64,
    msgsnd: i64,
    msgrcv: i64,
    nsignals: i64,
    /// Context switches by waiting.
    pub voluntary_switches: i64,
    /// Context switches by the scheduler.
    pub involuntary_switches: i64,
}

/// A child that has ended: its pid, raw wait status, and what it and its own reaped children used. Only reaping one makes
/// one.
#[derive(Debug)]
pub struct Reaped {
    pid: i32,
    status: i32,
    usage: Rusage,
}

impl Reaped {
    /// The child.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// As wait4(2) gives it.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Its use of resources.
    pub fn usage(&self) -> &Rusage {
        &self.usage
    }
}

/// Kills every process that we may kill in our pid namespace but ourselves, all at one moment (kill(2), -1).
pub fn kill_all() -> Result<()> {
    const EVERYBODY: isize = -1;
    // SAFETY: no memory is passed. Only pid 1 of a namespace calls this, so everybody is everybody inside.
    unsafe { syscall!(nr::KILL, EVERYBODY, SIGKILL) }.map(drop)
}

/// Kills one process. Only a child that is not reaped yet: nobody else can have its pid.
pub fn kill_child(pid: i32) -> Result<()> {
    if pid < 1 {
        return Err(Errno::INVAL);
    }
    // SAFETY: no memory is passed.
    unsafe { syscall!(nr::KILL, pid, SIGKILL) }.map(drop)
}

/// Reaps one child that has ended, if there is one now.
pub fn reap_any() -> Result<Option<Reaped>> {
    reap(WALL | WNOHANG)
}

/// Reaps one child, after waiting for it to end; an error `ECHILD` means that there is none.
pub fn reap_next() -> Result<Option<Reaped>> {
    reap(WALL)
}

fn reap(options: usize) -> Result<Option<Reaped>> {
    let mut status = 0i32;
    let mut usage = Rusage::default();
    const ANY: isize = -1;
    // SAFETY: status and usage are exclusively borrowed and of the kernel's types.
    let pid = unsafe { syscall!(nr::WAIT4, ANY, &raw mut status, options, &raw mut usage) }?;
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(Some(Reaped { pid, status, usage })),
        _ => Ok(None),
    }
}
