//! The native half of the zygote's harness: a small extension module that Python loads and calls.
//!
//! Python itself forks, so that every library's fork handler runs; everything else, above all what confines the
//! child, is the same code that a cold start executes.

use crate::fork::{CHANNEL, CONTROL, INIT, JOINS};
use crate::message::{MESSAGE_BYTES, Message, Usage};
use crate::plan::{Plan, Seat, Slots};
use crate::stage::{Stage, Stopped};
use crate::watch;
use crate::{MOST_PASSED, MOST_SLOTS, guest};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use wardian_sys::file::{POLLIN, PollFd};
use wardian_sys::memory::{self, Place};
use wardian_sys::signal::{SIGCHLD, SignalSet, set_blocked, signalfd};
use wardian_sys::socket::receive;
use wardian_sys::{Errno, Fd, Result, clone, file, process, signal};

/// Where the zygote's own descriptors are, above all those.
const OWN: i32 = 100;

/// While a child prepares itself, programs and their supervisors go first.
const PREPARING_SLICE: u64 = 20_000_000;

static PLAN: Place<Slots<'static>> = Place::new();
static ORDERS: AtomicI32 = AtomicI32::new(-1);
static CHILDREN: AtomicI32 = AtomicI32::new(-1);
/// How many descriptors the last order brought.
static BROUGHT: AtomicI32 = AtomicI32::new(0);
/// Pid and control socket of each child.
static TABLE: [AtomicU64; MOST_SLOTS] = [const { AtomicU64::new(0) }; MOST_SLOTS];

fn answer(result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => -errno.0,
    }
}

/// Takes the plan from the supervisor, over descriptor `socket`; 0 or a negative error number.
pub fn start(socket: i32) -> i32 {
    answer(begin(Fd::from_number(socket)))
}

fn begin(socket: Fd) -> Result<()> {
    let mut bytes = [0u8; MESSAGE_BYTES];
    let mut passed = [Fd::NONE; MOST_PASSED];
    let (len, count) = receive(socket, &mut bytes, &mut passed)?;
    let (Some(Message::Plan { bytes }), 1, [memfd, ..]) =
        (bytes.get(..len).and_then(Message::decode), count, passed)
    else {
        return Err(Errno::PROTO);
    };
    let plan = memory::map_sealed(memfd, usize::try_from(bytes).map_err(|_| Errno::PROTO)?)?;
    file::close(memfd)?;
    let slots = Plan::decode(plan).and_then(|plan| plan.slots).ok_or(Errno::PROTO)?;
    PLAN.set(memory::keep(slots)?);
    signal::set_default(SIGCHLD, signal::NO_STOPS);
    set_blocked(SignalSet::only(SIGCHLD))?;
    let children = signalfd(SignalSet::only(SIGCHLD))?;
    for (from, to) in [(socket, &ORDERS), (children.fd(), &CHILDREN)] {
        to.store(file::dup_at_least(from, OWN)?.fd().number(), Ordering::Relaxed);
        file::close(from)?;
    }
    Ok(())
}

fn own(place: &AtomicI32) -> Fd {
    Fd::from_number(place.load(Ordering::Relaxed))
}

/// Whether the zygote is a single thread, without which no fork is safe: 0, or a negative error number.
pub fn alone(_: i32) -> i32 {
    /// `CLONE_THREAD`: there is nothing to unshare, but more than one thread is an error.
    const THREAD: u64 = 0x1_0000;
    answer(process::unshare(THREAD))
}

/// Puts 2 MiB of memory, by their number, into one large page: 0, or a negative error number.
pub fn gather(number: i32) -> i32 {
    answer(memory::gather(number.unsigned_abs()))
}

/// Says that everything is loaded.
pub fn ready(_: i32) -> i32 {
    answer(Message::Ready.send(own(&ORDERS), None))
}

/// Waits for an order to fork, and reports meanwhile how children end; the next fork is into the slot then. Answers 1 if
/// the child has time to rehearse, 0 if it has none, or a negative error number.
pub fn next(_: i32) -> i32 {
    loop {
        match wait() {
            Ok(Some(rehearses)) => return i32::from(rehearses),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return -errno.0,
        }
    }
}

/// One thing that happens; whether the child rehearses, if it is an order to fork.
fn wait() -> Result<Option<bool>> {
    while let Some(reaped) = watch::reap()? {
        let mut usage = Usage::default();
        watch::add(&mut usage, &reaped);
        if let Some(control) = forget(reaped.pid()) {
            // Nobody may want to know any more.
            let _ = Message::Exited { status: reaped.status(), usage }.send(control, None);
            file::close(control)?;
        }
    }
    let (orders, children) = (own(&ORDERS), own(&CHILDREN));
    let wait = |fd: Fd| PollFd { fd: fd.number(), events: POLLIN, revents: 0 };
    let mut fds = [wait(orders), wait(children)];
    file::poll(&mut fds)?;
    let [order, signal] = fds;
    if signal.revents != 0 {
        watch::drain(children)?;
        return Ok(None);
    }
    if order.revents == 0 {
        return Ok(None);
    }
    let mut bytes = [0u8; MESSAGE_BYTES];
    let mut passed = [Fd::NONE; MOST_PASSED];
    let (len, count) = receive(orders, &mut bytes, &mut passed)?;
    if len == 0 {
        // The supervisor has no more use for us.
        process::exit(0);
    }
    let expected = (0u32..).map(Seat).map(Seat::fd);
    let in_place =
        count >= JOINS as usize && passed.iter().take(count).zip(expected).all(|(fd, at)| *fd == at);
    let (Some(Message::Fork { rehearses }), true) = (bytes.get(..len).and_then(Message::decode), in_place)
    else {
        return Err(Errno::PROTO);
    };
    BROUGHT.store(i32::try_from(count).unwrap_or(0), Ordering::Relaxed);
    if let Err(errno) = process::setns(INIT.fd(), clone::NEWPID) {
        refuse(errno)?;
        return Ok(None);
    }
    Ok(Some(rehearses))
}

/// Tells the supervisor that there will be no child in this slot.
fn refuse(errno: Errno) -> Result<()> {
    let _ = Stopped::at(Stage::Enter)(errno).message().send(CHANNEL.fd(), None);
    close_brought()
}

fn close_brought() -> Result<()> {
    let last = INIT.fd().number() + BROUGHT.load(Ordering::Relaxed) - 1;
    file::close_range(INIT.fd().number().unsigned_abs(), last.unsigned_abs())
}

/// In the zygote, after the fork: introduces the child, and remembers whom to tell of its end. A negative `child` is an error number.
pub fn forked(child: i32) -> i32 {
    if child < 0 {
        return answer(refuse(Errno(-child)));
    }
    answer(introduce(child).and_then(|()| close_brought()))
}

fn introduce(child: i32) -> Result<()> {
    let pidfd = process::pidfd_open(child)?;
    let control = file::dup_at_least(CONTROL.fd(), OWN)?.fd();
    let entry = u64::from(child.cast_unsigned()) << 32 | u64::from(control.number().cast_unsigned());
    let free = TABLE.iter().find(|place| place.load(Ordering::Relaxed) == 0).ok_or(Errno::AGAIN)?;
    free.store(entry, Ordering::Relaxed);
    // Whether anybody still listens shows at the end.
    let _ = Message::Child { pid: child }.send(control, Some(pidfd.fd()));
    file::close(pidfd.fd())
}

/// The control socket that goes with a child.
fn forget(child: i32) -> Option<Fd> {
    let place =
        TABLE.iter().find(|place| place.load(Ordering::Relaxed) >> 32 == u64::from(child.cast_unsigned()))?;
    let low = place.swap(0, Ordering::Relaxed) & u64::from(u32::MAX);
    i32::try_from(low).ok().map(Fd::from_number)
}

/// In the child: becomes the guest, in every way but its program. Answers the channel's number, or a negative number;
/// the supervisor has been told then.
pub fn enter(_: i32) -> i32 {
    match become_guest() {
        Ok(channel) => channel.number(),
        Err(stopped) => {
            let _ = stopped.message().send(CHANNEL.fd(), None);
            -1
        }
    }
}

fn become_guest() -> core::result::Result<Fd, Stopped> {
    let _ = process::set_slice(0, PREPARING_SLICE);
    signal::set_default(SIGCHLD, 0);
    let at = Stopped::at;
    let slots = PLAN.get().ok_or(Errno::PROTO).map_err(at(Stage::Enter))?;
    // How many others there are is nobody's business.
    for place in TABLE.iter().filter(|place| place.load(Ordering::Relaxed) != 0) {
        place.store(0, Ordering::Relaxed);
    }
    // Entered together, the user namespace comes first and gives the rights over the others.
    process::setns(INIT.fd(), slots.namespaces & !clone::NEWPID).map_err(at(Stage::Enter))?;
    join().map_err(at(Stage::Join))?;
    let guest = &slots.guest;
    guest::prepare(guest)?;
    let ruleset = guest::ruleset(guest)?;
    guest::restrict(guest, ruleset)?;
    // A change of ids takes it away, and an exec, which does not come here, would give it back.
    process::set_dumpable(true).map_err(at(Stage::Identity))?;
    guest::close_doors().map_err(at(Stage::Limits))?;
    close_all_but(guest.channel.fd()).map_err(at(Stage::Limits))?;
    guest::filter(guest)?;
    guest::limit_descriptors(guest)?;
    Ok(guest.channel.fd())
}

/// Moves into the cgroup whose files the order brought.
fn join() -> Result<()> {
    let brought = BROUGHT.load(Ordering::Relaxed).unsigned_abs();
    (JOINS..brought).try_for_each(|files| file::write_all(Seat(files).fd(), b"0"))
}

/// Leaves the three streams, the result channel and one more: all others are closed here, since there is no exec to do
/// it.
fn close_all_but(kept: Fd) -> Result<()> {
    let kept = kept.number().unsigned_abs();
    file::close_range(guest::RESULT.unsigned_abs() + 1, kept - 1)?;
    file::close_range(kept + 1, u32::MAX)
}
