//! The init of a slot: owns the namespaces that one child of a zygote enters, and watches over it.
//!
//! It shares the memory of the zygote's init, on a stack of its own, with descriptors of its own: only its control
//! socket. It ends when the supervisor says so or is gone, and takes everything inside with it.

use crate::life::{Failure, wait_for_go};
use crate::message::Message;
use crate::plan::Slots;
use crate::{
    CONTROL, MOST_PASSED, ORDER_ARM, ORDER_BYTES, ORDER_DIRECTORY, ORDER_FILE, ORDER_RESIZE, Part, setup,
    watch,
};
use core::ffi::CStr;
use wardian_sys::socket::receive;
use wardian_sys::{Errno, Fd, Result, caps, file, mount, process, seccomp};

/// What all slots of a zygote share.
pub(crate) struct Context {
    pub(crate) slots: Slots<'static>,
    pub(crate) init_filter: &'static [u8],
}

/// The whole life of a slot's init.
pub(crate) fn main(context: &'static Context, control: i32) -> ! {
    match live(context, Fd::from_number(control)) {
        Ok(()) => process::exit(0),
        Err(failure) => {
            let _ = failure.message().send(CONTROL.fd(), None);
            process::exit(1)
        }
    }
}

fn live(context: &Context, control: Fd) -> core::result::Result<(), Failure> {
    let at = Failure::at;
    let own = CONTROL.fd();
    file::dup_onto(control, own).map_err(at(Part::Slot))?;
    let number = own.number().unsigned_abs();
    file::close_range(number + 1, u32::MAX).map_err(at(Part::Slot))?;
    // Copies of the zygote's init's own control socket.
    file::close_range(0, number - 1).map_err(at(Part::Slot))?;
    wait_for_go(own, CONTROL.next()).map_err(at(Part::Slot))?;
    setup::execute(&context.slots.steps, own, CONTROL.next())?;
    Message::Prepared.send(own, None).map_err(at(Part::Slot))?;
    let seal = take_orders(context, own).map_err(at(Part::Input))?;
    if seal {
        mount::set_attributes_at(Fd::CWD, context.slots.seal, mount::ATTR_RDONLY).map_err(at(Part::Input))?;
    }
    Message::Armed.send(own, None).map_err(at(Part::Slot))?;
    // Whoever waits for that may wait for this core as well, and what we do next takes its time.
    process::yield_now();
    confine(context).map_err(at(Part::Confine))?;
    let reach = if context.slots.guest.change_ids { watch::Reach::Nobody } else { watch::Reach::Everybody };
    watch::until_the_end(None, reach, own).map_err(at(Part::Confine))
}

/// Brings the inputs in until there are no more; whether there is something to be made read-only then.
fn take_orders(context: &Context, control: Fd) -> Result<bool> {
    let mut bytes = [0u8; ORDER_BYTES];
    let mut passed = [Fd::NONE; MOST_PASSED];
    loop {
        let (len, fds) = match receive(control, &mut bytes, &mut passed) {
            // The supervisor is gone, or has no use for us: so are we.
            Ok((0, _)) => process::exit(0),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
            Ok(received) => received,
        };
        let (kind, rest) = bytes.get(..len).and_then(<[u8]>::split_first).ok_or(Errno::PROTO)?;
        if *kind == ORDER_ARM {
            return Ok(!context.slots.seal.is_empty());
        }
        if *kind == ORDER_RESIZE {
            resize(rest)?;
            continue;
        }
        let (mode, path) = rest.split_first_chunk().ok_or(Errno::PROTO)?;
        let mode = u32::from_le_bytes(*mode);
        let path = CStr::from_bytes_with_nul(path).map_err(|_| Errno::PROTO)?;
        match (*kind, fds) {
            (ORDER_DIRECTORY, 0) => match file::mkdirat(Fd::CWD, path, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            },
            (ORDER_FILE, 1) => {
                let [source, ..] = passed;
                let copied = setup::with_new_file(Fd::CWD, path, mode, |to| file::copy_whole(source, to));
                file::close(source)?;
                copied?;
            }
            _ => return Err(Errno::PROTO),
        }
        let guest = &context.slots.guest;
        if guest.change_ids && context.slots.seal.is_empty() {
            file::chownat(Fd::CWD, path, guest.uid, guest.gid)?;
        }
    }
}

/// Gives scratch space the size that a job asks for.
fn resize(order: &[u8]) -> Result<()> {
    let size = CStr::from_bytes_until_nul(order).map_err(|_| Errno::PROTO)?;
    let path = order.get(size.to_bytes_with_nul().len()..).ok_or(Errno::PROTO)?;
    let path = CStr::from_bytes_with_nul(path).map_err(|_| Errno::PROTO)?;
    mount::reconfigure(path, c"size", size)
}

/// From here on it can read, write, wait, poll, kill and exit. (What an exec could bring back need not be closed: it
/// executes nothing.)
fn confine(context: &Context) -> Result<()> {
    caps::drop_effective()?;
    process::no_new_privs()?;
    seccomp::install_filter(context.init_filter)
}
