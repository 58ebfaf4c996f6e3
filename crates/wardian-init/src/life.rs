//! The whole life of init, from its first instruction to its last.

use crate::message::Message;
use crate::plan::Plan;
use crate::{CONTROL, PLAN, STEP_CONFINE, STEP_GUEST, STEP_PLAN, guest, setup, watch, zygote_init};
use wardian_sys::{Errno, Fd, file, memory, process, signal};

/// The whole life of init.
pub fn main() -> ! {
    let control = CONTROL.fd();
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
    signal::reset_all();
    if let Some(slots) = &plan.slots {
        return zygote_init::run(&plan, slots, control);
    }
    setup::execute(&plan.steps, control)?;
    let guest = guest::start(&plan.guest, control).map_err(at(STEP_GUEST))?;
    confine(&plan).map_err(at(STEP_CONFINE))?;
    watch::until_the_end(Some(guest), !plan.guest.change_ids, control).map_err(at(STEP_CONFINE))
}

/// The supervisor's go is the plan's length, eight bytes little-endian.
pub(crate) fn wait_for_go(control: Fd) -> Result<usize, Errno> {
    let mut go = [0u8; 8];
    loop {
        match file::read(control, &mut go) {
            Ok(8) => return usize::try_from(u64::from_le_bytes(go)).map_err(|_| Errno::PROTO),
            Err(Errno::INTR) => {}
            // The supervisor is gone: so are we.
            Ok(0) => process::exit(0),
            Ok(_) => return Err(Errno::PROTO),
            Err(errno) => return Err(errno),
        }
    }
}

/// From here on init can read, write, wait, poll and exit.
fn confine(plan: &Plan<'_>) -> Result<(), Errno> {
    process::set_dumpable(false)?;
    if plan.private_ids {
        wardian_sys::caps::lock_down()?;
    }
    wardian_sys::caps::drop_effective()?;
    process::no_new_privs()?;
    wardian_sys::seccomp::install_filter(plan.init_filter)
}
