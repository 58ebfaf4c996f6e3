//! Init around a zygote: makes the slots that the zygote's children enter.
//!
//! It stays privileged in its own user namespace, whose processes are the zygote, the inits of its slots, and
//! nobody who has seen untrusted code. It reads nothing but the supervisor's messages.

use crate::life::Failure;
use crate::message::{MESSAGE_BYTES, Message};
use crate::networks::Networks;
use crate::plan::{Plan, Slots};
use crate::{MOST_PASSED, MOST_SLOTS, Part, guest, slot, watch};
use core::fmt::Write;
use wardian_sys::clone::{self, Tenant};
use wardian_sys::file::{POLLIN, PollFd};
use wardian_sys::process::Reaped;
use wardian_sys::signal::{SIGCHLD, SignalSet, signalfd};
use wardian_sys::socket::receive;
use wardian_sys::{Errno, Fd, Result, file, memory, process};

const STACK_BYTES: usize = 16 * 1024;

/// The whole life after set-up; `proc` is the one that [`Step::SlotsProc`](crate::Step::SlotsProc) made.
pub(crate) fn run(
    plan: &Plan<'static>,
    slots: &Slots<'static>,
    proc: Fd,
    control: Fd,
) -> core::result::Result<(), Failure> {
    let at = Failure::at;
    process::set_dumpable(false).map_err(at(Part::Slot))?;
    skip_a_pid().map_err(at(Part::Guest))?;
    let zygote = guest::start(&plan.guest, false).map_err(at(Part::Guest))?;
    introduce(zygote, control).map_err(at(Part::Guest))?;
    let context = slot::Context { slots: slots.clone(), init_filter: plan.init_filter };
    let context = memory::keep(context).map_err(at(Part::Slot))?;
    let mut keeper = Keeper {
        context,
        proc,
        zygote,
        tenants: [const { None }; MOST_SLOTS],
        spare: Spare { networks: Networks::NONE, stacks: [const { None }; MOST_SLOTS] },
    };
    keeper.serve(control).map_err(at(Part::Slot))
}

/// Pid 2 of this namespace is nobody's: what the zygote's libraries remember of their pid is never that of a guest,
/// which is pid 2 of its own, so that what looks for forks by pid sees every one.
fn skip_a_pid() -> Result<()> {
    static NOTHING: () = ();
    let stack = memory::allocate_stack(STACK_BYTES)?;
    let child = clone::start_sharing(stack, SIGCHLD, |()| process::exit(0), &NOTHING)?;
    file::close(child.pidfd.fd())
}

/// Tells the supervisor who the zygote is.
fn introduce(zygote: i32, control: Fd) -> Result<()> {
    let pidfd = process::pidfd_open(zygote)?;
    Message::Child { pid: zygote }.send(control, Some(pidfd.fd()))?;
    file::close(pidfd.fd())
}

struct Keeper {
    context: &'static slot::Context,
    proc: Fd,
    zygote: i32,
    /// Each with its network namespace, if that is used again.
    tenants: [Option<(Tenant, Option<Fd>)>; MOST_SLOTS],
    spare: Spare,
}

/// What slots that are gone, or were not to be, have left for the next ones.
struct Spare {
    networks: Networks,
    stacks: [Option<&'static mut [u8]>; MOST_SLOTS],
}

impl Spare {
    fn stack(&mut self) -> Result<&'static mut [u8]> {
        match self.stacks.iter_mut().find_map(Option::take) {
            Some(stack) => Ok(stack),
            None => memory::allocate_stack(STACK_BYTES),
        }
    }

    fn take_stack_back(&mut self, stack: &'static mut [u8]) {
        if let Some(free) = self.stacks.iter_mut().find(|free| free.is_none()) {
            *free = Some(stack);
        }
    }

    fn take_network_back(&mut self, network: Option<Fd>) -> Result<()> {
        network.map_or(Ok(()), |network| self.networks.give_back(network))
    }
}

impl Keeper {
    /// Returns when the supervisor or the zygote is gone.
    fn serve(&mut self, control: Fd) -> Result<()> {
        let children = signalfd(SignalSet::only(SIGCHLD))?.fd();
        loop {
            while let Some(reaped) = watch::reap()? {
                if reaped.pid() == self.zygote {
                    return Message::Exited { status: reaped.status(), usage: Default::default() }
                        .send(control, None);
                }
                self.forget(&reaped)?;
            }
            let wait = |fd: Fd| PollFd { fd: fd.number(), events: POLLIN, revents: 0 };
            let mut fds = [wait(control), wait(children)];
            match file::poll(&mut fds) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            let [order, signal] = fds;
            if signal.revents != 0 {
                watch::drain(children)?;
            }
            if order.revents != 0 && !self.obey(control)? {
                return Ok(());
            }
        }
    }

    /// Takes one order; false when there will be no more.
    fn obey(&mut self, control: Fd) -> Result<bool> {
        let mut bytes = [0u8; MESSAGE_BYTES];
        let mut passed = [Fd::NONE; MOST_PASSED];
        let (len, count) = match receive(control, &mut bytes, &mut passed) {
            Ok((0, _)) => return Ok(false),
            Err(Errno::INTR) => return Ok(true),
            Err(errno) => return Err(errno),
            Ok(received) => received,
        };
        let message = bytes.get(..len).and_then(Message::decode);
        let (Some(Message::NewSlot { guest }), 1, [slots_control, ..]) = (message, count, passed) else {
            return Err(Errno::PROTO);
        };
        if let Err(errno) = self.new_slot(guest, slots_control) {
            // Nobody may want to know any more.
            let _ = Failure::at(Part::Slot)(errno).message().send(slots_control, None);
        }
        file::close(slots_control)?;
        Ok(true)
    }

    fn new_slot(&mut self, guest: u32, control: Fd) -> Result<()> {
        let Keeper { context, proc, tenants, spare, .. } = self;
        let place = tenants.iter_mut().find(|tenant| tenant.is_none()).ok_or(Errno::AGAIN)?;
        let (mut flags, mut network) = (context.slots.namespaces, None);
        if context.slots.reuses_networks {
            network = Some(spare.networks.enter(*proc)?);
            flags &= !clone::NEWNET;
        }
        let started = spare.stack().and_then(|stack| {
            clone::start_in(flags, stack, SIGCHLD, slot::main, context, control.number()).map_err(
                |(errno, stack)| {
                    spare.take_stack_back(stack);
                    errno
                },
            )
        });
        let (tenant, pidfd) = match started {
            Ok(started) => started,
            Err(errno) => return spare.take_network_back(network).and(Err(errno)),
        };
        let pid = tenant.pid();
        *place = Some((tenant, network));
        let told = map_ids(*proc, pid, guest, &context.slots)
            .and_then(|()| Message::Init { pid }.send(control, Some(pidfd.fd())));
        file::close(pidfd.fd())?;
        told
    }

    /// Takes back what a slot had: its init's stack, its network namespace.
    fn forget(&mut self, reaped: &Reaped) -> Result<()> {
        for place in &mut self.tenants {
            let Some((tenant, network)) = place.take() else { continue };
            match tenant.leave(reaped) {
                Ok(stack) => {
                    self.spare.take_stack_back(stack);
                    return self.spare.take_network_back(network);
                }
                Err(tenant) => *place = Some((tenant, network)),
            }
        }
        Ok(())
    }
}

/// Writes the id maps of a slot's user namespace: set-up keeps the zygote's id, the guest gets one of its own.
fn map_ids(proc: Fd, pid: i32, guest: u32, slots: &Slots<'_>) -> Result<()> {
    for (file, inside) in [("uid_map", slots.guest.uid), ("gid_map", slots.guest.gid)] {
        let (mut path, mut text) = (Text::default(), Text::default());
        let written = match (slots.guest.change_ids, inside) {
            (true, 1..) => writeln!(text, "0 0 1\n{inside} {guest} 1"),
            // One id: there set-up and guest are one.
            (true, 0) => writeln!(text, "0 {guest} 1"),
            (false, _) => writeln!(text, "{inside} 0 1"),
        };
        written.and_then(|()| write!(path, "{pid}/{file}\0")).map_err(|_| Errno::PROTO)?;
        let map = file::openat(proc, path.c_str()?, file::O_WRONLY | file::O_CLOEXEC, 0)?;
        // The kernel takes a map in one piece.
        let answer = file::write(map.fd(), text.bytes());
        file::close(map.fd())?;
        answer?;
    }
    Ok(())
}

/// A short text made without an allocator.
struct Text {
    bytes: [u8; 96],
    len: usize,
}

impl Default for Text {
    fn default() -> Text {
        Text { bytes: [0; 96], len: 0 }
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    fn c_str(&self) -> Result<&core::ffi::CStr> {
        core::ffi::CStr::from_bytes_with_nul(self.bytes()).map_err(|_| Errno::PROTO)
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.len + text.len();
        let space = self.bytes.get_mut(self.len..end).ok_or(core::fmt::Error)?;
        space.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
