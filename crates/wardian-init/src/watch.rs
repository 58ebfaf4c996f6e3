//! After the start: reap, watch the lifeline, report the guest's end.

use crate::message::{Message, Usage};
use wardian_sys::file::{POLLIN, PollFd};
use wardian_sys::process::{Reaped, reap_any};
use wardian_sys::signal::{SIGCHLD, SignalSet, signalfd};
use wardian_sys::{Errno, Fd, Result, file, process};

/// Whom init can kill.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// Nobody: the guest has another id. Init's own end kills, and a cgroup counts. (The kernel answers kill(-1) with
    /// success even where nobody could be killed.)
    Nobody,
    /// Everybody in its pid namespace, at one moment.
    Everybody,
    /// Its children, as this open list in `/proc` names them; orphans become its children.
    Children(Fd),
}

/// Returns when the guest has ended and that is reported, or when the supervisor is gone.
///
/// Without a guest of its own (a zygote's child is the zygote's to reap) init goes on until it is told to end.
pub(crate) fn until_the_end(guest: Option<i32>, reach: Reach, control: Fd) -> Result<()> {
    let children = signalfd(SignalSet::only(SIGCHLD))?.fd();
    let mut watch = Watch { guest, reach, status: None, usage: Usage::default() };
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
                // The supervisor is gone. In a pid namespace our end is everybody's.
                _ => {
                    watch.end_children();
                    Ok(())
                }
            };
        }
        if signal.revents != 0 {
            drain(children)?;
        }
    }
}

struct Watch {
    guest: Option<i32>,
    reach: Reach,
    /// The guest's wait status, once it has ended.
    status: Option<i32>,
    usage: Usage,
}

impl Watch {
    fn take(&mut self, reaped: &Reaped) {
        add(&mut self.usage, reaped);
        if Some(reaped.pid()) == self.guest {
            self.status = Some(reaped.status());
        }
    }

    /// Reaps one child, waiting for it; false if there is none.
    fn reap_next(&mut self) -> bool {
        match process::reap_next() {
            Ok(Some(reaped)) => self.take(&reaped),
            Ok(None) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        true
    }

    /// Kills children until none is left. What a dying one leaves behind has become our child before its end is told,
    /// and a process that is killed completes no fork: whoever forks and ends as fast as it can is met in between.
    fn end_children(&mut self) {
        let Reach::Children(list) = self.reach else { return };
        loop {
            // One that is killed will end: there is something to wait for.
            if kill_listed(list) && !self.reap_next() {
                return;
            }
            loop {
                match reap_any() {
                    Ok(Some(reaped)) => self.take(&reaped),
                    Ok(None) => break,
                    Err(Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        }
    }

    /// Ends what is left inside, so that its use is counted too, and reports.
    fn end(mut self, control: Fd) -> Result<()> {
        match self.reach {
            Reach::Nobody => {}
            Reach::Everybody => {
                if process::kill_all().is_ok() {
                    while self.reap_next() {}
                }
            }
            Reach::Children(_) => self.end_children(),
        }
        match self.status {
            Some(status) => Message::Exited { status, usage: self.usage }.send(control, None),
            None if self.guest.is_none() => Message::Reaped { usage: self.usage }.send(control, None),
            None => Ok(()),
        }
    }
}

/// What `/proc` lists at once; more are read at the next pass.
const LIST_BYTES: usize = 4096;

/// Kills whom the list names; false if it names nobody.
fn kill_listed(list: Fd) -> bool {
    let mut text = [0u8; LIST_BYTES];
    let len = file::pread(list, &mut text, 0).unwrap_or(0);
    let text = text.get(..len).unwrap_or(&[]);
    // The last number may be cut short by the end of the buffer: whole ones are followed by a space.
    let mut any = false;
    for pid in text.split_inclusive(|byte| *byte == b' ').filter_map(|word| word.strip_suffix(b" ")) {
        let number = pid.iter().try_fold(0i32, |number, digit| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(i32::from(digit))
        });
        any |= number.is_some_and(|pid| process::kill_child(pid).is_ok());
    }
    any
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
    let of = reaped.usage();
    usage.cpu_user_us += micros(of.user);
    usage.cpu_system_us += micros(of.system);
    usage.max_rss_bytes = usage.max_rss_bytes.max(count(of.max_rss_kib) * 1024);
    usage.minor_faults += count(of.minor_faults);
    usage.major_faults += count(of.major_faults);
    usage.voluntary_switches += count(of.voluntary_switches);
    usage.involuntary_switches += count(of.involuntary_switches);
}
