//! The whole life of init, from its first instruction to its last.

use crate::message::Message;
use crate::plan::Plan;
use crate::watch::Reach;
use crate::{CONTROL, PLAN, STEP_CONFINE, STEP_GUEST, STEP_PLAN, guest, setup, watch, zygote_init};
use wardian_sys::{Errno, Fd, file, memory, process, signal, socket};

/// The whole life of init.
pub fn main() -> ! {
    let control = CONTROL.fd();
    // While the plan is still being made.
    signal::reset_all();
    match run(control) {
        Ok(()) => process::exit(0),
        Err(Failure { step, errno }) => {
            let _ = Message::Failed { step, errno: errno.0 }.send(control, None);
            process::exit(1)
        }
    }
}

/// A step that failed; the steps of the plan count from 0, what is before and after them has own numbers.
pub(crate) struct Failure {
    pub(crate) step: u32,
    pub(crate) errno: Errno,
}

fn run(control: Fd) -> Result<(), Failure> {
    let at = |step| move |errno| Failure { step, errno };
    let plan_len = wait_for_go(control).map_err(at(STEP_PLAN))?;
    let bytes = memory::map_sealed(PLAN.fd(), plan_len).map_err(at(STEP_PLAN))?;
    let plan = Plan::decode(bytes).ok_or(Errno::PROTO).map_err(at(STEP_PLAN))?;
    if let Some(slots) = &plan.slots {
        return zygote_init::run(&plan, slots, control);
    }
    setup::execute(&plan.steps, control)?;
    let reach = reach(&plan).map_err(at(STEP_CONFINE))?;
    let guest = guest::start(&plan.guest, plan.in_place).map_err(at(STEP_GUEST))?;
    // On one core, the guest's way to its program is what somebody waits for.
    process::yield_now();
    confine(&plan).map_err(at(STEP_CONFINE))?;
    watch::until_the_end(Some(guest), reach, control).map_err(at(STEP_CONFINE))
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

/// Messages from the supervisor bring the descriptors of the slots after the control socket, in order. Each is
/// eight bytes, little-endian: 0 when more follow, in the last one the plan's length, which is the go.
pub(crate) fn wait_for_go(control: Fd) -> Result<usize, Errno> {
    let mut slot = PLAN.fd().number();
    loop {
        let mut word = [0u8; 8];
        match socket::receive_in_order(control, &mut word, slot) {
            Ok((8, next)) => match u64::from_le_bytes(word) {
                0 => slot = next,
                len => return usize::try_from(len).map_err(|_| Errno::PROTO),
            },
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
    wardian_sys::caps::drop_effective()?;
    process::no_new_privs()?;
    wardian_sys::seccomp::install_filter(plan.init_filter)
}
