//! The whole life of init, from its first instruction to its last.

use crate::message::Message;
use crate::plan::{self, Plan, Seat};
use crate::watch::Reach;
use crate::{CONTROL, Opening, Part, STEPS};
use crate::{guest, setup, watch, zygote_init};
use wardian_sys::{Errno, Fd, caps, file, memory, process, signal, socket};

/// The whole life of init.
pub fn main() -> ! {
    let control = CONTROL.fd();
    match run(control) {
        Ok(()) => process::exit(0),
        Err(failure) => {
            let _ = failure.message().send(control, None);
            process::exit(1)
        }
    }
}

/// A step that failed; the steps of the plan count from 0, what is before and after them is a [`Part`].
pub(crate) struct Failure {
    pub(crate) step: u32,
    pub(crate) errno: Errno,
}

impl Failure {
    /// For `map_err`.
    pub(crate) fn at(part: Part) -> impl Fn(Errno) -> Failure {
        move |errno| Failure { step: part.step(), errno }
    }

    pub(crate) fn message(&self) -> Message {
        Message::Failed { step: self.step, errno: self.errno.0 }
    }
}

fn run(control: Fd) -> Result<(), Failure> {
    let at = Failure::at;
    // While the plan is still being made. Nobody listens yet, so a failure is told when there is one.
    let opened = open(control);
    signal::reset_all();
    let steps = receive_half(control, STEPS);
    // What failed first is why.
    opened.map_err(at(Part::Namespaces))?;
    let steps = steps.map_err(at(Part::Plan))?;
    let list = plan::decode_steps(steps.bytes).ok_or(Errno::PROTO).map_err(at(Part::Plan))?;
    let own = steps.next;
    setup::execute(&list, control, own)?;
    let guest = receive_half(control, own.next()).map_err(at(Part::Plan))?;
    let plan = Plan::decode(guest.bytes).ok_or(Errno::PROTO).map_err(at(Part::Plan))?;
    if let Some(slots) = &plan.slots {
        return zygote_init::run(&plan, slots, own.fd(), control);
    }
    let reach = reach(&plan).map_err(at(Part::Confine))?;
    let guest = guest::start(&plan.guest, plan.in_place).map_err(at(Part::Guest))?;
    make_way();
    confine(&plan).map_err(at(Part::Confine))?;
    watch::until_the_end(Some(guest), reach, control).map_err(at(Part::Confine))
}

/// Whom init can kill, and how.
fn reach(plan: &Plan<'_>) -> Result<Reach, Errno> {
    if plan.in_place {
        process::become_subreaper()?;
        let list = file::openat(Fd::CWD, c"/proc/thread-self/children", file::O_RDONLY | file::O_CLOEXEC, 0)?;
        return Ok(Reach::Children(list.fd()));
    }
    Ok(if plan.guest.change_ids { Reach::Nobody } else { Reach::Everybody })
}

/// Leaves this core to the guest, whose way to its program is what somebody waits for: the kernel may well have the two of us
/// take turns while another core is idle. Where that cannot be, the guest goes first. It has been cloned already, and nobody
/// will be after it: where we may run matters to nobody else.
fn make_way() {
    const MOST_WORDS: usize = 128;
    let mut space = [0u64; MOST_WORDS];
    let moved = process::cpu_affinity(&mut space).and_then(|allowed| {
        let cpu = process::current_cpu()? as usize;
        let word = allowed.get_mut(cpu / 64).ok_or(Errno::INVAL)?;
        let before = *word;
        *word &= !(1 << (cpu % 64));
        process::set_cpu_affinity(allowed)?;
        if let Some(word) = allowed.get_mut(cpu / 64) {
            *word = before;
        }
        process::set_cpu_affinity(allowed)
    });
    if moved.is_err() {
        process::yield_now();
    }
}

/// Does what the supervisor's first message says.
fn open(control: Fd) -> Result<(), Errno> {
    let mut bytes = [0u8; 16];
    let len = loop {
        match file::read(control, &mut bytes) {
            // The supervisor is gone: so are we.
            Ok(0) => process::exit(0),
            Ok(len) => break len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    let opening = bytes.get(..len).and_then(Opening::decode).ok_or(Errno::PROTO)?;
    if opening.namespaces != 0 {
        process::unshare(opening.namespaces)?;
    }
    if opening.locks_down { caps::lock_down() } else { Ok(()) }
}

/// Half of the plan, as it came.
struct Half {
    bytes: &'static [u8],
    /// The seat after its last one.
    next: Seat,
}

/// Receives half of the plan; its seats begin with its memfd, at `first`.
fn receive_half(control: Fd, first: Seat) -> Result<Half, Errno> {
    let (len, count) = wait_for_go(control, first)?;
    Ok(Half { bytes: memory::map_sealed(first.fd(), len)?, next: Seat(first.0 + count) })
}

/// Messages from the supervisor bring the descriptors of the seats from `first` on, in order. Each is eight bytes,
/// little-endian: 0 when more follow, in the last one a length, which is the go. Answers that, and how many there are.
pub(crate) fn wait_for_go(control: Fd, first: Seat) -> Result<(usize, u32), Errno> {
    let mut next = first;
    loop {
        let mut word = [0u8; 8];
        match socket::receive_at(control, &mut word, next.fd()) {
            Ok((8, count)) => {
                next = Seat(next.0 + u32::try_from(count).map_err(|_| Errno::PROTO)?);
                match usize::try_from(u64::from_le_bytes(word)).map_err(|_| Errno::PROTO)? {
                    0 => {}
                    len => return Ok((len, next.0 - first.0)),
                }
            }
            Err(Errno::INTR) => {}
            // The supervisor is gone: so are we.
            Ok((0, _)) => process::exit(0),
            Ok(_) => return Err(Errno::PROTO),
            Err(errno) => return Err(errno),
        }
    }
}

/// From here on init can read, write, wait, poll and exit.
fn confine(plan: &Plan<'_>) -> Result<(), Errno> {
    process::set_dumpable(false)?;
    if plan.in_place && plan.guest.change_ids {
        process::become_user(plan.guest.uid, plan.guest.gid, true)?;
        process::set_dumpable(false)?;
    }
    caps::drop_effective()?;
    process::no_new_privs()?;
    wardian_sys::seccomp::install_filter(plan.init_filter)
}
