//! The guest's child-side code: from its clone to its exec, one stage after the other.
//!
//! It shares init's memory until exec, on a stack of its own, while init goes on to its watch. Nothing of the
//! guest has run before the exec, and after it no memory is shared.

use crate::STEPS;
use crate::codec::List;
use crate::message::Message;
use crate::plan::{Exec, Guest, Seat};
use crate::stage::{Stage, Stopped};
use core::ffi::CStr;
use wardian_sys::process::StringList;
use wardian_sys::signal::{SIGCHLD, SignalSet};
use wardian_sys::{Errno, Fd, Result, caps, clone, file, landlock, memory, process, seccomp, signal};

const STACK_BYTES: usize = 32 * 1024;
const NOT_EXECUTED: u8 = 127;
/// The result channel, where there is one.
pub(crate) const RESULT: i32 = 3;

/// What the child needs, prepared by init.
struct Prepared {
    guest: Guest<'static>,
    args: StringList,
    env: StringList,
    /// Init, where the guest must end with it by itself.
    parent: Option<i32>,
}

/// Starts the guest; returns its pid.
pub(crate) fn start(guest: &Guest<'static>, in_place: bool) -> Result<i32> {
    // SIGCHLD waits for the watch; it must be blocked before there is a child.
    signal::set_blocked(SignalSet::ALL)?;
    let prepared = Prepared {
        guest: guest.clone(),
        args: string_list(&guest.args)?,
        env: string_list(&guest.env)?,
        parent: in_place.then(process::getpid),
    };
    let stack = memory::allocate_stack(STACK_BYTES)?;
    let child = clone::start_sharing(stack, SIGCHLD, in_child, memory::keep(prepared)?)?;
    file::close(child.pidfd.fd())?;
    // The supervisor sees the guest's exec as the end of this channel: ours must not keep it open.
    file::close(guest.channel.fd())?;
    Ok(child.pid)
}

fn string_list(strings: &List<'static, &'static CStr>) -> Result<StringList> {
    let space = memory::as_words(memory::allocate_pages((strings.len() + 1) * size_of::<usize>())?);
    StringList::new(strings.iter(), space).ok_or(Errno::PROTO)
}

/// Where the guest's channel is moved: the steps have been executed. The number that one program is executed by is at
/// least 16, and nothing else must be there.
const CHANNEL: Seat = STEPS;

fn in_child(prepared: &'static Prepared) -> ! {
    let moved = file::move_onto(prepared.guest.channel.fd(), CHANNEL.fd());
    let guest = Guest { channel: CHANNEL, ..prepared.guest.clone() };
    let stopped =
        match moved.map_err(Stopped::at(Stage::Streams)).and_then(|()| become_guest(prepared, &guest)) {
            Ok((program, empty_path)) => Stopped::at(Stage::Exec)(execute(prepared, program, empty_path)),
            Err(stopped) => stopped,
        };
    let _ = stopped.message().send(CHANNEL.fd(), None);
    process::exit(NOT_EXECUTED)
}

/// What is done in a stage.
type Act = fn(&Guest<'static>) -> Result<()>;

/// The privileged sequence up to the exec; answers the program, and the empty path that it is executed by.
fn become_guest(
    prepared: &Prepared,
    guest: &Guest<'static>,
) -> core::result::Result<(Fd, &'static CStr), Stopped> {
    prepare(guest)?;
    let above = CHANNEL.next().fd().number().unsigned_abs();
    file::close_range(above, u32::MAX).map_err(Stopped::at(Stage::Streams))?;
    let ruleset = ruleset(guest)?;
    let program = open_program(guest).map_err(Stopped::at(Stage::OpenProgram))?;
    let empty_path = empty_path(guest).map_err(Stopped::at(Stage::EmptyPath))?;
    restrict(guest, ruleset)?;
    prepared.parent.map_or(Ok(()), end_with).map_err(Stopped::at(Stage::Identity))?;
    close_doors().map_err(Stopped::at(Stage::Limits))?;
    let first_closed = if guest.result.is_some() { RESULT.unsigned_abs() + 1 } else { 3 };
    file::cloexec_from(first_closed).map_err(Stopped::at(Stage::Limits))?;
    if !guest.zygote {
        filter(guest)?;
    }
    limit_descriptors(guest)?;
    Ok((program, empty_path))
}

/// Returns only with why not.
fn execute(prepared: &Prepared, program: Fd, empty_path: &CStr) -> Errno {
    match prepared.guest.exec {
        Exec::Path(path) => process::exec_path(path, prepared.args, prepared.env),
        Exec::Once { .. } => process::exec_fd(program, empty_path, prepared.args, prepared.env),
    }
}

/// What is done while all rights are there.
pub(crate) fn prepare(guest: &Guest<'static>) -> core::result::Result<(), Stopped> {
    let stages: [(Stage, Act); 6] = [
        (Stage::Join, join_cgroups),
        (Stage::Streams, take_streams),
        (Stage::CgroupNamespace, leave_cgroup_namespace),
        (Stage::Scheduling, schedule),
        (Stage::Limits, limit),
        (Stage::WorkingDirectory, |guest| file::chdir(guest.cwd)),
    ];
    for (stage, act) in stages {
        act(guest).map_err(Stopped::at(stage))?;
    }
    Ok(())
}

/// The Landlock ruleset, if there is to be one. It needs the rights to open what it grants, and binds only later.
pub(crate) fn ruleset(guest: &Guest<'static>) -> core::result::Result<Option<Fd>, Stopped> {
    landlock_ruleset(guest).map_err(Stopped::at(Stage::Landlock))
}

/// Gives everything up: ids, capabilities, what exec could bring back, what Landlock does not grant.
pub(crate) fn restrict(guest: &Guest<'static>, ruleset: Option<Fd>) -> core::result::Result<(), Stopped> {
    take_identity(guest).map_err(Stopped::at(Stage::Identity))?;
    process::no_new_privs().map_err(Stopped::at(Stage::NoNewPrivs))?;
    match ruleset {
        Some(ruleset) => landlock::restrict_self(ruleset).map_err(Stopped::at(Stage::Landlock)),
        None => Ok(()),
    }
}

/// cgroup v1: a single-threaded process that writes 0 moves itself, without the grace period a pid costs.
fn join_cgroups(guest: &Guest<'static>) -> Result<()> {
    guest.joins.iter().try_for_each(|tasks| {
        file::write_all(tasks.fd(), b"0")?;
        file::close(tasks.fd())
    })
}

fn take_streams(guest: &Guest<'static>) -> Result<()> {
    process::setsid()?;
    for (number, seat) in (0..).zip(guest.stdio) {
        file::dup_onto(seat.fd(), Fd::from_number(number))?;
    }
    if guest.terminal {
        wardian_sys::socket::take_terminal(Fd::from_number(0))?;
    }
    if let Some(seat) = guest.result {
        // Descriptor 3 is init's control socket, which the guest has no use for.
        file::dup_onto(seat.fd(), Fd::from_number(RESULT))?;
    }
    Ok(())
}

fn leave_cgroup_namespace(guest: &Guest<'static>) -> Result<()> {
    if !guest.new_cgroup_root {
        return Ok(());
    }
    match process::unshare(clone::NEWCGROUP) {
        // A kernel without, or with none left: the group, which is not the guest's own, would only show its name.
        Err(Errno::INVAL | Errno::NOSPC) if guest.joins.is_empty() => Ok(()),
        answer => answer,
    }
}

fn schedule(guest: &Guest<'static>) -> Result<()> {
    const MOST_WORDS: usize = 128;
    if let Some(nice) = guest.nice {
        process::set_nice(nice)?;
    }
    let mut mask = [0u64; MOST_WORDS];
    let words = guest.affinity.len().min(MOST_WORDS);
    for (word, value) in mask.iter_mut().zip(guest.affinity.iter()) {
        *word = value;
    }
    match mask.get(..words) {
        Some(mask) if !mask.is_empty() => process::set_cpu_affinity(mask),
        _ => Ok(()),
    }
}

fn limit(guest: &Guest<'static>) -> Result<()> {
    guest.rlimits.iter().try_for_each(|l| process::set_rlimit(l.resource, l.soft, l.hard))
}

fn landlock_ruleset(guest: &Guest<'static>) -> Result<Option<Fd>> {
    if guest.landlock == landlock::Handled::default() {
        return Ok(None);
    }
    let ruleset = landlock::create_ruleset(guest.landlock)?.fd();
    for rule in guest.landlock_rules.iter() {
        match file::openat(Fd::CWD, rule.path, file::O_PATH | file::O_CLOEXEC, 0) {
            Ok(beneath) => {
                landlock::allow_beneath(ruleset, beneath.fd(), rule.allowed)?;
                file::close(beneath.fd())?;
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Some(ruleset))
}

/// For "exec once": the executable's descriptor, at the number that the filter will compare with.
fn open_program(guest: &Guest<'static>) -> Result<Fd> {
    let Exec::Once { path, fd, .. } = guest.exec else { return Ok(Fd::NONE) };
    let number = i32::try_from(fd).map_err(|_| Errno::PROTO)?;
    let opened = file::openat(Fd::CWD, path, file::O_PATH | file::O_CLOEXEC, 0)?;
    file::dup_onto(opened.fd(), Fd::from_number(number))?;
    Ok(Fd::from_number(number))
}

/// An empty string at the address that only init and the filter know.
fn empty_path(guest: &Guest<'static>) -> Result<&'static CStr> {
    match guest.exec {
        Exec::Once { address, .. } => memory::empty_string_at(address),
        Exec::Path(_) => Ok(c""),
    }
}

fn take_identity(guest: &Guest<'static>) -> Result<()> {
    if guest.zygote {
        return caps::keep_through_exec(&caps::ZYGOTE);
    }
    if guest.locks_down {
        caps::lock_down()?;
    }
    if guest.change_ids {
        process::become_user(guest.uid, guest.gid, true)?;
    }
    caps::drop_effective()
}

/// The guest ends when init does, however that comes. After the ids: a change of them undoes it.
fn end_with(parent: i32) -> Result<()> {
    process::die_with_parent()?;
    if process::getppid() == parent { Ok(()) } else { Err(Errno::SRCH) }
}

/// From here on signals come through.
pub(crate) fn close_doors() -> Result<()> {
    const GUEST_UMASK: u32 = 0o022;
    file::umask(GUEST_UMASK);
    signal::set_blocked(SignalSet::NONE).map(drop)
}

/// After the listener has been sent: a descriptor may be sent while its user has no more on their way than the sender's
/// own limit (unix(7)), and the guests of an ordinary user have one count together.
pub(crate) fn limit_descriptors(guest: &Guest<'static>) -> core::result::Result<(), Stopped> {
    if guest.open_files == 0 {
        return Ok(());
    }
    process::set_rlimit(process::RLIMIT_NOFILE, guest.open_files, guest.open_files)
        .map_err(Stopped::at(Stage::Limits))
}

pub(crate) fn filter(guest: &Guest<'static>) -> core::result::Result<(), Stopped> {
    if !guest.listener {
        return seccomp::install_filter(guest.filter).map_err(Stopped::at(Stage::Seccomp));
    }
    let listener = match seccomp::install_filter_with_listener(guest.filter) {
        Ok(listener) => listener,
        Err(Errno::BUSY) if !guest.unobserved_filter.is_empty() => return filter_unobserved(guest),
        Err(errno) => return Err(Stopped::at(Stage::Seccomp)(errno)),
    };
    // The filter is on: whatever it refuses is for sendmsg(2) not to be. The kernel keeps what the guest is refused
    // before the supervisor looks. A zygote's child has no exec that would close the descriptor.
    Message::Listener
        .send(guest.channel.fd(), Some(listener.fd()))
        .and_then(|()| file::close(listener.fd()))
        .map_err(Stopped::at(Stage::Listener))
}

/// A process has one listener at the most, and one of our ancestors has it.
fn filter_unobserved(guest: &Guest<'static>) -> core::result::Result<(), Stopped> {
    seccomp::install_filter(guest.unobserved_filter).map_err(Stopped::at(Stage::Seccomp))?;
    Message::Unobserved.send(guest.channel.fd(), None).map_err(Stopped::at(Stage::Listener))
}
