//! A slot: a single-use sandbox with a confined child of a zygote in it, which waits for its program.

use super::Connections;
use super::accounting::Accounting;
use super::denials::Denials;
use super::error::SandboxError;
use super::handover::{self, packet_pair};
use super::inbox::receive;
use super::launch::{Held, Running};
use super::live::{Live, pid_of};
use super::outcome::{Directories, Facts};
use super::poll::poll_now;
use super::remains::Mounts;
use super::streams::{Ends, Feeder, GuestPipe, Taker, guest_pipe};
use super::supervise::{Progress, Supervision};
use super::zygote::{GuestId, Zygote, hear, ready, write};
use crate::files::Input;
use crate::limits::cgroup::Cgroup;
use crate::plan::{BOX, Plan};
use rustix::event::{PollFd, PollFlags};
use rustix::net::RecvFlags;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wardian_init::{Message, ORDER_ARM, ORDER_DIRECTORY, ORDER_FILE, ORDER_RESIZE};

/// Making one takes some milliseconds.
const MAKE_LIMIT: Duration = Duration::from_secs(30);
/// What goes into one packet of a program.
const PACKET: usize = 32 << 10;

/// A slot that waits for its program.
pub(crate) struct ReadySlot {
    init: Live,
    mounts: Option<Mounts>,
    control: OwnedFd,
    channel: OwnedFd,
    /// The guest's pid, and what says whether that number is still its own: the zygote reaps it as soon as it ends.
    guest: (i32, OwnedFd),
    listener: Option<OwnedFd>,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    result: OwnedFd,
    directories: Directories,
    accounting: Accounting,
    lease: GuestLease,
}

/// A guest's id, given back when everything of the slot is gone; keeps the zygote alive.
pub(crate) struct GuestLease {
    pub(crate) zygote: Arc<Zygote>,
    guest: GuestId,
}

impl Drop for GuestLease {
    fn drop(&mut self) {
        self.zygote.give_back(self.guest);
    }
}

/// What a guest is told: how its program is run.
pub(crate) struct ProgramFrame<'a> {
    /// `file`, `code`, `module` or `stdin`.
    pub(crate) mode: &'static str,
    /// The file's path, the code, or the module's name.
    pub(crate) target: &'a [u8],
    pub(crate) unbuffered: bool,
    /// Whether it may write a result to descriptor 3.
    pub(crate) result: bool,
    pub(crate) args: &'a [std::ffi::OsString],
    pub(crate) environment: &'a [(String, String)],
}

/// What is being put together.
struct Making<'a> {
    zygote: &'a Zygote,
    control: &'a OwnedFd,
    channel: &'a OwnedFd,
    deadline: Instant,
    init: Option<Live>,
    guest: Option<(i32, OwnedFd)>,
    directories: Directories,
    listener: Option<OwnedFd>,
    prepared: bool,
    ready: bool,
}

impl ReadySlot {
    /// Makes one: namespaces, root, child, confinement, rehearsal unless somebody waits for it.
    pub(crate) fn make(zygote: &Arc<Zygote>, rehearses: bool) -> Result<ReadySlot, SandboxError> {
        let plan = &zygote.plan.run;
        let guest = zygote.take_guest().ok_or_else(|| {
            SandboxError::at("make a slot")(io::Error::other("every slot of the zygote is in use"))
        })?;
        let lease = GuestLease { zygote: Arc::clone(zygote), guest };
        let cgroup = zygote.take_cgroup()?;
        let pipe =
            |reads| guest_pipe(reads, guest.host).map_err(SandboxError::at("make the pipes of its streams"));
        let (stdin, stdout, stderr, result) = (pipe(true)?, pipe(false)?, pipe(false)?, pipe(false)?);
        let errors = plan.policy.stderr.of(&stdout, &stderr);
        let (control, inits_control) = packet_pair()?;
        let (channel, guests_channel) = packet_pair()?;
        let mut making = Making::new(zygote, &control, &channel);
        let init = making.init(guest, &inits_control)?;
        order_fork(
            zygote,
            rehearses,
            &init,
            (inits_control, guests_channel),
            [&stdin, &stdout, errors, &result],
            cgroup.as_ref(),
        )?;
        let guest = making.guest().map_err(|error| explain(error, &errors.ours))?;
        let Making { directories, listener, .. } = making;
        Ok(ReadySlot {
            mounts: Mounts::of(init.pid()),
            init,
            control,
            channel,
            guest,
            listener,
            stdin: stdin.ours,
            stdout: stdout.ours,
            stderr: stderr.ours,
            result: result.ours,
            directories,
            accounting: Accounting::of_slot(cgroup, plan),
            lease,
        })
    }

    /// Whether it is still waiting.
    pub(crate) fn is_alive(&self) -> bool {
        let mut set = [
            PollFd::from_borrowed_fd(self.init.pidfd(), PollFlags::IN),
            PollFd::new(&self.channel, PollFlags::IN),
        ];
        poll_now(&mut set) == Ok(0)
    }

    /// What a run in it is planned to be.
    pub(crate) fn plan(&self) -> &Plan {
        &self.lease.zygote.plan.run
    }

    /// Sets the limits, brings the inputs in, hands the program over and sees it begin; an error says that it has not
    /// begun, and never will.
    pub(crate) fn arm(
        mut self,
        plan: &Plan,
        inputs: &[Input],
        program: &ProgramFrame<'_>,
    ) -> Result<Armed, SandboxError> {
        let resized = self.lower(plan)?;
        self.bring_in(inputs)?;
        write(&self.control, &[ORDER_ARM], "arm the slot's init")?;
        // It is no longer one that prepares itself. (Anybody else who has its number by now gets what everybody has.)
        let _ = wardian_sys::process::set_slice(self.guest.0, 0);
        // The guest is woken and hears what it is to run while init is at work.
        let init_works = resized || !inputs.is_empty();
        self.send(program, init_works)?;
        if init_works {
            self.wait_until_armed()?;
            write(&self.channel, b"1", "let the program begin")?;
        }
        let prepared = Instant::now();
        self.wait_until_begun()?;
        Ok(Armed { slot: self, prepared })
    }

    /// Sets limits below those that the slot was made with; whether its init has an order to carry out for it.
    fn lower(&mut self, plan: &Plan) -> Result<bool, SandboxError> {
        let wanted = &plan.policy.limits;
        let (disk, processes) = (self.plan().policy.limits.disk, self.plan().policy.limits.processes);
        let resized = wanted.disk != disk;
        if resized {
            let order = [&[ORDER_RESIZE][..], format!("{}\0{BOX}\0", wanted.disk.0).as_bytes()].concat();
            write(&self.control, &order, "resize scratch space")?;
            if wanted.file_size.is_none() {
                self.limit_file_size(wanted.disk.0)
                    .map_err(SandboxError::at("lower the limit of file sizes"))?;
            }
        }
        self.accounting.lower_limits(plan, processes)?;
        Ok(resized)
    }

    /// The kernel takes only the guest's number, which is another's when the guest has ended meanwhile: that one gets
    /// back what it had.
    fn limit_file_size(&self, bytes: u64) -> rustix::io::Result<()> {
        let (number, pidfd) = &self.guest;
        let pid = Pid::from_raw(*number);
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        let before = prlimit(pid, Resource::Fsize, limit)?;
        if poll_now(&mut [PollFd::new(pidfd, PollFlags::IN)])? == 0 {
            return Ok(());
        }
        prlimit(pid, Resource::Fsize, before)?;
        Err(rustix::io::Errno::SRCH)
    }

    /// Orders for the slot's init.
    fn bring_in(&self, inputs: &[Input]) -> Result<(), SandboxError> {
        let mut made = BTreeSet::new();
        for input in inputs {
            let (name, mode) = (input.name().to_string(), if input.executable() { 0o755 } else { 0o644 });
            for (at, _) in name.match_indices('/') {
                let parent = name.get(..at).unwrap_or_default();
                if made.insert(parent.to_owned()) {
                    let order = order(ORDER_DIRECTORY, 0o755, &format!("{BOX}/{parent}"));
                    write(&self.control, &order, "bring a directory in")?;
                }
            }
            pass(&self.control, &order(ORDER_FILE, mode, &format!("{BOX}/{name}")), &[input.fd().as_fd()])?;
        }
        Ok(())
    }

    /// When it says that it is armed, it has carried out every order.
    fn wait_until_armed(&self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + MAKE_LIMIT;
        loop {
            ready([&self.control].into_iter(), deadline)?;
            match receive(&self.control)? {
                Some((Message::Armed, _)) => return Ok(()),
                Some((Message::Failed { step, errno }, _)) => {
                    return Err(SandboxError::set_up(self.plan(), step, errno));
                }
                Some(_) => {}
                None => return Err(broken()),
            }
        }
    }

    /// `held` until another packet comes.
    fn send(&self, program: &ProgramFrame<'_>, held: bool) -> Result<(), SandboxError> {
        let args = frame(program.args.iter().map(|arg| arg.as_bytes()));
        let pairs: Vec<String> =
            program.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let environment = frame(pairs.iter().map(String::as_bytes));
        let flag = |set: bool| -> &[u8] { if set { b"1" } else { b"" } };
        let (held, unbuffered, result) = (flag(held), flag(program.unbuffered), flag(program.result));
        let whole = [held, program.mode.as_bytes(), program.target, unbuffered, result, &args, &environment];
        let body = frame(whole.into_iter());
        let mut bytes = (body.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes.chunks(PACKET).try_for_each(|packet| write(&self.channel, packet, "send the program in"))
    }

    /// The guest closes its channel when it begins. The kernel does that for one that has ended before, and says so if
    /// it had not read everything (unix(7) `ECONNRESET`).
    fn wait_until_begun(&self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + MAKE_LIMIT;
        ready([&self.channel].into_iter(), deadline)?;
        rustix::net::recv(&self.channel, &mut [0u8; 1], RecvFlags::empty())
            .map(drop)
            .map_err(SandboxError::at("see the program begin"))
    }
}

/// A slot whose program has begun.
pub(crate) struct Armed {
    slot: ReadySlot,
    prepared: Instant,
}

impl Armed {
    /// From here on it is a run like any other.
    pub(crate) fn begin(
        self,
        plan: Plan,
        connections: Connections,
        accepted: Instant,
    ) -> Result<Running, SandboxError> {
        let Armed { slot, prepared } = self;
        let streams = connections.streams;
        let limit = plan.policy.limits.output.0;
        let mut accounting = slot.accounting;
        let (guest, pidfd) = slot.guest;
        accounting.guest_is(guest);
        let mut supervision = Supervision {
            denials: Denials::new(plan.guest.profile.clone()),
            held: Held {
                plan,
                _ids: None,
                slot: Some(slot.lease),
                collect: connections.collect,
                private: None,
            },
            init: slot.init,
            mounts: slot.mounts,
            control: slot.control,
            channel: None,
            guest: Some(pidfd),
            streams: Ends {
                stdin: Feeder::new(streams.stdin, slot.stdin),
                stdout: Taker::new(slot.stdout, streams.stdout, limit),
                stderr: Taker::new(slot.stderr, streams.stderr, limit),
                terminal: None,
            },
            result: connections.result.map(|limit| Taker::keeper(slot.result, limit.0)),
            cancel: connections.cancel,
            accounting,
            facts: Facts { directories: slot.directories, ..Facts::new(accepted, prepared) },
            progress: Progress::default(),
        };
        supervision.has_begun(slot.listener)?;
        Ok(Running::new(supervision))
    }
}

/// Has the zygote fork a child into a slot, which takes its ends of the sockets: if it ends, nobody else holds them.
fn order_fork(
    zygote: &Zygote,
    rehearses: bool,
    init: &Live,
    (inits_control, guests_channel): (OwnedFd, OwnedFd),
    pipes: [&GuestPipe; 4],
    cgroup: Option<&Cgroup>,
) -> Result<(), SandboxError> {
    let v2 = cgroup.map(Cgroup::procs_file).transpose()?.flatten();
    // As `wardian_init::fork` numbers them.
    let mut fds = vec![init.pidfd(), inits_control.as_fd(), guests_channel.as_fd()];
    fds.extend(pipes.map(|pipe| pipe.guests.as_fd()));
    fds.extend(cgroup.into_iter().flat_map(Cgroup::join_files).map(AsFd::as_fd));
    fds.extend(v2.iter().map(AsFd::as_fd));
    pass(&zygote.orders, &Message::Fork { rehearses }.encode(), &fds)
}

impl<'a> Making<'a> {
    fn new(zygote: &'a Zygote, control: &'a OwnedFd, channel: &'a OwnedFd) -> Making<'a> {
        Making {
            zygote,
            control,
            channel,
            deadline: Instant::now() + MAKE_LIMIT,
            init: None,
            guest: None,
            directories: Directories::default(),
            listener: None,
            prepared: false,
            ready: false,
        }
    }

    /// Has the zygote's init make the slot's, and waits until that has set the slot up.
    fn init(&mut self, guest: GuestId, inits_control: &OwnedFd) -> Result<Live, SandboxError> {
        let order = Message::NewSlot { guest: guest.inside }.encode();
        pass(&self.zygote.control, &order, &[inits_control.as_fd()])?;
        self.until(|making| making.init.is_some())?;
        // It needs no plan but the one that the zygote's init has.
        write(self.control, &1u64.to_le_bytes(), "let the slot's init go")?;
        self.until(|making| making.prepared)?;
        self.init.take().ok_or_else(broken)
    }

    /// Waits for the child that the zygote was told to fork: until it is confined, and has rehearsed.
    fn guest(&mut self) -> Result<(i32, OwnedFd), SandboxError> {
        self.until(|making| making.ready && making.guest.is_some())?;
        self.guest.take().ok_or_else(broken)
    }

    /// Hears from init, zygote and guest until `done`.
    fn until(&mut self, done: impl Fn(&Making<'_>) -> bool) -> Result<(), SandboxError> {
        while !done(self) {
            // We hold ends of the slot's sockets ourselves: that the zygote has ended shows at its own.
            let ready = ready([self.control, self.channel, &self.zygote.control].into_iter(), self.deadline)?;
            let [from_control, from_channel, from_zygote] = ready[..] else { return Err(broken()) };
            if from_control {
                let heard = receive(self.control)?.ok_or_else(broken)?;
                self.hear(heard)?;
            }
            if from_channel {
                match receive(self.channel)? {
                    Some((Message::Listener, listener)) => self.listener = listener,
                    Some((Message::Unobserved, _)) => {}
                    Some((Message::Ready, _)) => self.ready = true,
                    Some((Message::NotStarted { stage, errno }, _)) => {
                        return Err(SandboxError::guest(stage, errno));
                    }
                    _ => return Err(broken()),
                }
            }
            if from_zygote && !from_control && !from_channel {
                return Err(broken());
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: (Message, Option<OwnedFd>)) -> Result<(), SandboxError> {
        match heard {
            (Message::Init { .. }, Some(pidfd)) => self.init = Some(Live::of_another(pidfd)?),
            (Message::Child { .. }, Some(pidfd)) => self.guest = Some((pid_of(&pidfd)?, pidfd)),
            (Message::Directory, Some(directory)) => {
                self.directories.take(directory, self.zygote.plan.run.root.hands_out_box);
            }
            (Message::Prepared, _) => self.prepared = true,
            (Message::Failed { step, errno }, _) => {
                return Err(SandboxError::set_up(&self.zygote.plan.run, step, errno));
            }
            _ => return Err(broken()),
        }
        Ok(())
    }
}

/// What a guest that could not become ready has said in the end, where nobody else has said why.
fn explain(error: SandboxError, stderr: &OwnedFd) -> SandboxError {
    match error {
        SandboxError::Zygote { reason } if reason.is_empty() => {
            let mut words = Vec::new();
            hear(stderr, &mut words);
            let words = String::from_utf8_lossy(&words);
            let last = words.trim_end().lines().next_back().unwrap_or_default();
            SandboxError::Zygote { reason: last.to_owned() }
        }
        other => other,
    }
}

fn broken() -> SandboxError {
    SandboxError::Zygote { reason: String::new() }
}

fn order(kind: u8, mode: u32, path: &str) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&mode.to_le_bytes());
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    bytes
}

/// A count, then as many byte strings, each after its length.
pub(super) fn frame<'a>(strings: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = vec![0; 4];
    let mut count = 0;
    for string in strings {
        bytes.extend_from_slice(&number(string.len()));
        bytes.extend_from_slice(string);
        count += 1;
    }
    if let Some(place) = bytes.first_chunk_mut() {
        *place = number(count);
    }
    bytes
}

/// Sends a message with copies of descriptors.
pub(super) fn pass(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
    handover::send(socket, bytes, fds).map_err(SandboxError::at("pass descriptors to the zygote"))
}
