//! After the start: reap, watch the lifeline, report the guest's end.

use crate::message::{Message, Usage};
use wardian_sys::file::{POLLIN, PollFd};
use wardian_sys::process::{Reaped, reap_any};
use wardian_sys::signal::{SIGCHLD, SignalSet, signalfd};
use wardian_sys::{Errno, Fd, Result, file, process};

/// Returns when the guest has ended and that is reported, or when the supervisor is gone.
///
/// Without a guest of its own (a zygote's child is the zygote's to reap) init goes on until it is told to end.
/// `same_id`: init has the guest's id, and so may kill what is left. (The kernel answers kill(-1) with success even
/// where nobody could be killed.)
pub(crate) fn until_the_end(guest: Option<i32>, same_id: bool, control: Fd) -> Result<()> {
    let children = signalfd(SignalSet::only(SIGCHLD))?.fd();
    let mut watch = Watch { guest, same_id, status: None, usage: Usage::default() };
    loop {
        // Before the first wait too: the guest may have ended already.
        while watch.status.is_none()
            && let Some(reaped) = reap()?
        {
            watch.take(&reaped);
        }
        if watch.status.is_some() {
            return watch.end(control);
        }
        let wait = |fd: Fd| PollFd { fd: fd.number(), events: POLLIN, revents: 0 };
        let mut fds = [wait(control), wait(children)];
        match file::poll(&mut fds) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let [lifeline, signal] = fds;
        if lifeline.revents != 0 {
            let mut order = [0u8; 1];
            return match file::read(control, &mut order) {
                Ok(1) => watch.end(control),
                // The supervisor is gone.
                _ => Ok(()),
            };
        }
        if signal.revents != 0 {
            drain(children)?;
        }
    }
}

struct Watch {
    guest: Option<i32>,
    same_id: bool,
    /// The guest's wait status, once it has ended.
    status: Option<i32>,
    usage: Usage,
}

impl Watch {
    fn take(&mut self, reaped: &Reaped) {
        add(&mut self.usage, reaped);
        if Some(reaped.pid) == self.guest {
            self.status = Some(reaped.status);
        }
    }

    /// Ends what is left inside, so that its use is counted too, and reports. Where the guest has an id of its own
    /// we may not kill; then a cgroup counts, and our own end kills.
    fn end(mut self, control: Fd) -> Result<()> {
        if self.same_id && process::kill_all().is_ok() {
            loop {
                match process::reap_next() {
                    Ok(Some(reaped)) => self.take(&reaped),
                    Ok(None) | Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        match self.status {
            Some(status) => Message::Exited { status, usage: self.usage }.send(control, None),
            None if self.guest.is_none() => Message::Reaped { usage: self.usage }.send(control, None),
            None => Ok(()),
        }
    }
}

pub(crate) fn reap() -> Result<Option<Reaped>> {
    match reap_any() {
        Err(Errno::CHILD) => Ok(None),
        answer => answer,
    }
}

pub(crate) fn drain(children: Fd) -> Result<()> {
    const SIGINFO_BYTES: usize = 128;
    let mut info = [0u8; SIGINFO_BYTES];
    match file::read(children, &mut info) {
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn add(usage: &mut Usage, reaped: &Reaped) {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let micros = |[seconds, micros]: [i64; 2]| count(seconds) * 1_000_000 + count(micros);
    let of = &reaped.usage;
    usage.cpu_user_us += micros(of.user);
    usage.cpu_system_us += micros(of.system);
    usage.max_rss_bytes = usage.max_rss_bytes.max(count(of.max_rss_kib) * 1024);
    usage.minor_faults += count(of.minor_faults);
    usage.major_faults += count(of.major_faults);
    usage.voluntary_switches += count(of.voluntary_switches);
    usage.involuntary_switches += count(of.involuntary_switches);
}
