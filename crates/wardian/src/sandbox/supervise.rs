//! Supervising: one loop over everything that can happen, until nothing inside is left.

use super::SandboxError;
use super::accounting::Accounting;
use super::cancel::{Cancel, Order};
use super::cores;
use super::denials::Denials;
use super::inbox::{is_readable, receive};
use super::launch::Held;
use super::live::Live;
use super::outcome::{self, Facts, Killed};
use super::pass;
use super::private::Private;
use super::remains::{Mounts, Remains};
use super::streams::{Ends, Taker};
use super::terminal::Resizer;
use crate::plan::Plan;
use crate::policy::OnOom;
use crate::report::Report;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use wardian_init::Message;
use wardian_sys::spawn::InitEnd;

/// Set-up takes about a millisecond; longer than this, the host hangs.
const SET_UP_LIMIT: Duration = Duration::from_secs(30);
/// Why refused calls are not recorded below another sandbox.
const NESTED: &str = "wardian itself runs under a seccomp listener, and the kernel allows but one";
/// How long init may take to end everybody and report.
const ORDERLY_END: Duration = Duration::from_millis(100);
/// How long the caller may take for the last output after the program has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// The same for a caller who has ordered the end.
const ORDERED_DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// A live sandbox and all our ends of it.
pub(super) struct Supervision {
    pub(super) held: Held,
    pub(super) init: Live,
    /// Of a slot.
    pub(super) mounts: Option<Mounts>,
    pub(super) control: OwnedFd,
    /// None if the program has begun.
    pub(super) channel: Option<OwnedFd>,
    /// The program, where it is not init's child.
    pub(super) guest: Option<OwnedFd>,
    pub(super) denials: Denials,
    pub(super) streams: Ends,
    /// The result channel, where there is one.
    pub(super) result: Option<Taker>,
    pub(super) cancel: Option<Cancel>,
    pub(super) accounting: Accounting,
    pub(super) facts: Facts,
    pub(super) progress: Progress,
}

/// How far a supervision has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether init can say no more: a closed socket is always ready, and waiting for it would spin beside an init that is
    /// ending.
    control_is_closed: bool,
    /// Whether a guest has ended that is a zygote's child: nobody else tells us as early.
    guest_has_ended: bool,
    /// When init was asked to end the run.
    asked: Option<Instant>,
    /// Whether the caller has ordered the end.
    ordered: bool,
}

/// What a descriptor in the poll set is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Init,
    Guest,
    Control,
    Channel,
    Listener,
    Cancel,
    Oom,
    StdinSource,
    Stdin,
    Stdout,
    StdoutTarget,
    Stderr,
    StderrTarget,
    Resized,
    Result,
}

impl Supervision {
    /// A slot's program has been sent in.
    pub(super) fn has_begun(&mut self, listener: Option<OwnedFd>) -> Result<(), SandboxError> {
        let now = Instant::now();
        self.facts.started = Some(now);
        match listener {
            Some(listener) => self.denials.listen(listener),
            None if self.held.plan.guest.listener => self.facts.denials_unavailable = Some(NESTED.into()),
            None => {}
        }
        self.accounting.start(now, self.init.pid(), &self.facts.directories.all(), None)?;
        cores::keep_away(self.init.pid());
        Ok(())
    }

    pub(super) fn init_pid(&self) -> u32 {
        self.init.pid().cast_unsigned()
    }

    /// Watches, kills when a limit says so, and reports when every process inside is gone.
    pub(super) fn until_gone(mut self) -> Result<(Report, Remains), SandboxError> {
        if let Some(private) = &self.held.private {
            self.facts.directories.scratch =
                Some(private.work().map_err(SandboxError::at("keep its private directory"))?);
        }
        let mut init_is_alive = true;
        let mut init_end = InitEnd::Unknown;
        while init_is_alive || !self.streams_are_done() || self.status_is_to_come() {
            let deadline = self.deadline(init_is_alive);
            let events = self.wait(init_is_alive, deadline)?;
            let had_ended = self.has_ended();
            for (role, flags) in events {
                match role {
                    Role::Init => {
                        init_is_alive = false;
                        init_end = self.init.reap();
                        self.facts.gone = Some(Instant::now());
                    }
                    _ => self.handle(role, flags)?,
                }
            }
            if self.has_ended() && !had_ended {
                let is_slot = self.held.slot.is_some();
                self.accounting.settle(is_slot);
            }
            if init_is_alive {
                self.enforce();
                continue;
            }
            let drain_limit = self.drain_limit();
            if self.facts.over_since(drain_limit) {
                self.streams.stdout.give_up();
                self.streams.stderr.give_up();
                break;
            }
        }
        self.drain_control()?;
        self.drain_channel()?;
        let denials = self.denials.into_list();
        let zygote = self.held.slot.as_ref().map(|lease| Arc::clone(&lease.zygote));
        let counts = self.accounting.counts();
        let kills_all = self.held.plan.policy.limits.on_oom == OnOom::End && self.accounting.holds_init();
        if kills_all {
            self.facts.note_kill_of_the_group(counts.oom_kills.unwrap_or(0), init_end);
        }
        let report = outcome::report(
            self.held,
            self.facts,
            &self.accounting,
            &counts,
            init_end,
            outcome::Taken { stdout: self.streams.stdout, stderr: self.streams.stderr, result: self.result },
            denials,
        )?;
        let cgroup = self.accounting.cgroup.take().map(|cgroup| (cgroup, counts));
        Ok((report, Remains::new(self.mounts, cgroup, zygote)))
    }

    /// Whether the guest has ended, be it known how or not.
    fn has_ended(&self) -> bool {
        self.facts.exited.is_some() || self.progress.guest_has_ended
    }

    /// Whether a zygote has yet to say how its child has ended; when it has, or is gone itself, the socket is closed.
    fn status_is_to_come(&self) -> bool {
        self.guest.is_some() && self.facts.exited.is_none() && !self.progress.control_is_closed
    }

    fn streams_are_done(&self) -> bool {
        self.streams.stdout.is_done()
            && self.streams.stderr.is_done()
            && self.result.as_ref().is_none_or(Taker::is_done)
    }

    /// When to look again even if nothing happens.
    fn deadline(&self, init_is_alive: bool) -> Instant {
        if !init_is_alive {
            return self.facts.gone.unwrap_or_else(Instant::now) + self.drain_limit();
        }
        if let Some(asked) = self.progress.asked {
            return asked + ORDERLY_END;
        }
        if self.facts.killed.is_some() {
            // Its end wakes us.
            return Instant::now() + DRAIN_LIMIT;
        }
        let limit = self.time_limit();
        [self.denials.due(), self.accounting.due()].into_iter().flatten().fold(limit, Instant::min)
    }

    fn drain_limit(&self) -> Duration {
        if self.progress.ordered { ORDERED_DRAIN_LIMIT } else { DRAIN_LIMIT }
    }

    /// When time is over for what is being done.
    fn time_limit(&self) -> Instant {
        match self.facts.started {
            None => self.facts.accepted + SET_UP_LIMIT,
            Some(started) => started + self.held.plan.policy.limits.wall.as_std(),
        }
    }

    /// Ends the run when a limit is reached.
    fn enforce(&mut self) {
        let now = Instant::now();
        self.denials.answer_due(now);
        if self.progress.asked.take_if(|asked| now >= *asked + ORDERLY_END).is_some() {
            self.init.kill();
        }
        if self.facts.killed.is_some() {
            return;
        }
        let limits = &self.held.plan.policy.limits;
        let end = self.time_limit();
        let killed = match self.facts.started {
            None if now >= end => Some(Killed::SetUpTimeout),
            Some(_) if now >= end => Some(Killed::Wall),
            _ if limits.on_output == crate::policy::OnOutput::Kill
                && (self.streams.stdout.is_over_limit() || self.streams.stderr.is_over_limit()) =>
            {
                Some(Killed::Output)
            }
            _ => None,
        };
        let killed = killed.or_else(|| self.accounting.look(now, end));
        if let Some(killed) = killed {
            self.kill(killed);
        }
    }

    /// Ends the run. Without a cgroup only init can say what it used: it is asked to kill everybody and report;
    /// otherwise, or if that takes too long, its own death takes everybody with it.
    fn kill(&mut self, why: Killed) {
        if self.facts.killed.is_none() && !self.has_ended() {
            self.facts.killed = Some(why);
            self.facts.ended = Some(Instant::now());
        }
        self.end();
    }

    fn end(&mut self) {
        let in_place = self.held.plan.in_place.is_some();
        if in_place {
            // All at one moment.
            self.accounting.kill();
        }
        let ask = (in_place || self.accounting.cgroup.is_none()) && self.facts.started.is_some();
        if ask && rustix::io::write(&self.control, &[0]).is_ok() {
            self.progress.asked = Some(Instant::now());
        } else {
            self.init.kill();
        }
    }

    fn wait(&self, init_is_alive: bool, deadline: Instant) -> Result<Vec<(Role, PollFlags)>, SandboxError> {
        let wanted = self.wanted(init_is_alive);
        let mut set: Vec<PollFd<'_>> =
            wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::event::Timespec::try_from(timeout).ok();
        match poll(&mut set, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(SandboxError::at("wait for the sandbox (poll)")(error)),
        }
        let happened = wanted.iter().zip(&set).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(happened.map(|((role, ..), fd)| (*role, fd.revents())).collect())
    }

    fn wanted(&self, init_is_alive: bool) -> Vec<(Role, BorrowedFd<'_>, PollFlags)> {
        let read = PollFlags::IN;
        let write = PollFlags::OUT;
        let oom = self.accounting.oom_interest().filter(|_| self.facts.killed.is_none());
        let (oom, oom_flags) = oom.map_or((None, read), |(fd, flags)| (Some(fd), flags));
        // Several may be ready at once, when this thread had to wait for a core: what happened first comes first.
        let candidates = [
            (Role::Channel, self.channel.as_ref().map(AsFd::as_fd), read),
            (Role::Control, Some(self.control.as_fd()).filter(|_| !self.progress.control_is_closed), read),
            (
                Role::Guest,
                self.guest.as_ref().map(AsFd::as_fd).filter(|_| !self.progress.guest_has_ended),
                read,
            ),
            (Role::Init, Some(self.init.pidfd()).filter(|_| init_is_alive), read),
            (Role::Listener, self.denials.wants_read(), read),
            (Role::Cancel, self.cancel.as_ref().map(AsFd::as_fd).filter(|_| !self.progress.ordered), read),
            (Role::Oom, oom, oom_flags),
            (Role::StdinSource, self.streams.stdin.wants_read(), read),
            (Role::Stdin, self.streams.stdin.wants_write(), write),
            (Role::Stdout, self.streams.stdout.wants_read(), read),
            (Role::StdoutTarget, self.streams.stdout.wants_write(), write),
            (Role::Stderr, self.streams.stderr.wants_read(), read),
            (Role::StderrTarget, self.streams.stderr.wants_write(), write),
            (Role::Resized, self.streams.terminal.as_ref().and_then(Resizer::wants_read), read),
            (Role::Result, self.result.as_ref().and_then(Taker::wants_read), read),
        ];
        candidates.into_iter().filter_map(|(role, fd, flags)| fd.map(|fd| (role, fd, flags))).collect()
    }

    fn handle(&mut self, role: Role, flags: PollFlags) -> Result<(), SandboxError> {
        match role {
            Role::Init => {}
            Role::Guest => self.guest_has_ended(),
            // What there was may have been heard when the program began.
            Role::Control if is_readable(&self.control) => self.receive_control()?,
            Role::Control => {}
            Role::Channel => self.receive_channel()?,
            // Hung up, with nothing to receive: asking would block for ever on some kernels (6.1).
            Role::Listener if flags.contains(PollFlags::IN) => self.denials.read(),
            Role::Listener => self.denials.hang_up(),
            Role::Cancel => self.obey(),
            Role::Oom => {
                if self.accounting.oom_news() {
                    self.kill(Killed::Oom);
                }
            }
            Role::StdinSource => self.streams.stdin.read(),
            Role::Stdin => self.streams.stdin.write(),
            Role::Stdout => self.streams.stdout.read(),
            Role::StdoutTarget => self.streams.stdout.write(),
            Role::Stderr => self.streams.stderr.read(),
            Role::StderrTarget => self.streams.stderr.write(),
            Role::Resized => self.streams.terminal.iter_mut().for_each(Resizer::follow),
            Role::Result => self.result.iter_mut().for_each(Taker::read),
        }
        self.streams.hang_up_if_over();
        Ok(())
    }

    /// A zygote's child is not its init's, which goes on until it is told to end. That takes as long as the zygote does to
    /// say how its child has ended.
    fn guest_has_ended(&mut self) {
        if self.guest.is_some() && !std::mem::replace(&mut self.progress.guest_has_ended, true) {
            self.facts.ended.get_or_insert_with(Instant::now);
            self.end();
        }
    }

    /// Does what the caller asks for.
    fn obey(&mut self) {
        let Some(cancel) = &self.cancel else { return };
        match cancel.order() {
            Order::End => {
                let signal = cancel.signal();
                self.progress.ordered = true;
                if self.facts.killed.is_none() {
                    self.kill(Killed::Cancelled(signal));
                }
            }
            // A number that is free again may be anybody's.
            Order::Pass(signal) if self.facts.started.is_some() && self.facts.gone.is_none() => {
                match &self.guest {
                    Some(guest) => pass::to(guest, signal),
                    None => pass::to_child_of(self.init.pid(), signal),
                }
            }
            Order::Pass(_) | Order::None => {}
        }
    }

    /// What init said last may still be in the socket when it is gone.
    fn drain_control(&mut self) -> Result<(), SandboxError> {
        while self.receive_control_once()? {}
        Ok(())
    }

    /// All of it may be unread when init is gone.
    fn drain_channel(&mut self) -> Result<(), SandboxError> {
        while self.channel.is_some() {
            self.receive_channel_once()?;
        }
        Ok(())
    }

    /// Init handed them out before the program began, which may be known first.
    fn hear_of_directories(&mut self) -> Result<(), SandboxError> {
        while !self.progress.control_is_closed && is_readable(&self.control) {
            self.receive_control()?;
        }
        Ok(())
    }

    fn receive_control(&mut self) -> Result<(), SandboxError> {
        self.receive_control_once().map(drop)
    }

    fn receive_control_once(&mut self) -> Result<bool, SandboxError> {
        let Some((message, passed)) = receive(&self.control)? else {
            self.progress.control_is_closed = true;
            return Ok(false);
        };
        match (message, passed) {
            (Message::Failed { step, errno }, _) => self.facts.failed = Some((step, errno)),
            (Message::Degraded { step, errno }, _) => self.facts.degraded.push((step, errno)),
            (Message::Directory, Some(directory)) => {
                self.facts.directories.take(directory, self.held.plan.root.hands_out_box)
            }
            (Message::Exited { status, usage }, _) => {
                self.facts.exited = Some((status, usage));
                self.facts.ended.get_or_insert_with(Instant::now);
                self.guest_has_ended();
            }
            (Message::Reaped { usage }, _) => self.facts.reaped = Some(usage),
            (_, _) => {}
        }
        Ok(true)
    }

    /// Reads what there is: the listener's message and the end may have come together.
    fn receive_channel(&mut self) -> Result<(), SandboxError> {
        self.receive_channel_once()?;
        while self.channel.as_ref().is_some_and(is_readable) {
            self.receive_channel_once()?;
        }
        Ok(())
    }

    fn receive_channel_once(&mut self) -> Result<(), SandboxError> {
        let Some(channel) = &self.channel else { return Ok(()) };
        match receive(channel)? {
            Some((Message::NotStarted { stage, errno }, _)) => self.facts.not_started = Some((stage, errno)),
            Some((Message::Listener, Some(listener))) => self.denials.listen(listener),
            Some((Message::Unobserved, _)) => self.facts.denials_unavailable = Some(NESTED.into()),
            Some(_) => {}
            // The exec closed it; or the guest ended before, and said why, or was killed with init and could not.
            None => {
                self.channel = None;
                let was_killed = self.facts.gone.is_some() && self.facts.exited.is_none();
                if self.facts.not_started.is_none() && !was_killed {
                    let now = Instant::now();
                    self.facts.started = Some(self.facts.ended.map_or(now, |ended| now.min(ended)));
                    sweep_once(&self.held.plan);
                    self.hear_of_directories()?;
                    // A short program may have come and gone while we waited for a core.
                    if self.facts.gone.is_none() {
                        let private = self.held.private.as_ref().map(Private::top).transpose();
                        let private = private.map_err(SandboxError::at("watch its private directory"))?;
                        self.accounting.start(
                            now,
                            self.init.pid(),
                            &self.facts.directories.all(),
                            private,
                        )?;
                        cores::keep_away(self.init.pid());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes the cgroups of killed supervisors, and the private directories if we use one: once in a process, and while
/// the program runs anyway.
fn sweep_once(plan: &Plan) {
    static SWEPT: Once = Once::new();
    static SWEPT_SCRATCH: Once = Once::new();
    SWEPT.call_once(|| drop(crate::limits::cgroup::gc(&plan.cgroups)));
    // The directory for temporary files may be a long one to read.
    if plan.in_place.is_some() {
        SWEPT_SCRATCH.call_once(|| drop(super::sweep_scratch()));
    }
}
