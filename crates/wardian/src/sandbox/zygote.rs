//! A live zygote: a warmed interpreter in a sandbox of its own, from which slots are filled.

use super::begun::{self, Begun};
use super::error::SandboxError;
use super::handover::{Half, packet_pair};
use super::ids::{self, IdLease};
use super::inbox::receive;
use super::launch::{GuestSeats, spec};
use super::live::Live;
use super::poll::{poll_now, poll_until};
use super::shared_memory;
use super::slot::pass;
use super::streams::guest_pipe;
use crate::limits::cgroup::{Cgroup, CgroupLimits, Counts};
use crate::plan::{Plan, WarmPlan};
use crate::policy::{Identity, Network};
use rustix::event::{PollFd, PollFlags};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wardian_init::{GuestSpec, Message, SlotsSpec, fork};

/// How long imports may take.
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// Most of a zygote's complaint that is kept.
const MOST_WORDS: usize = 4096;
/// Most cgroups that are kept for later runs.
const MOST_KEPT: usize = 16;
/// The first id of guests in the zygote's user namespace.
const FIRST_GUEST: u32 = 1 << 30;

/// A zygote that is ready to fork.
pub(crate) struct Zygote {
    pub(crate) plan: WarmPlan,
    /// Its init's control socket: orders for slots; its lifeline.
    pub(super) control: OwnedFd,
    /// Its own: orders to fork.
    pub(super) orders: OwnedFd,
    init: Live,
    cgroup: Option<Cgroup>,
    guests: Mutex<Guests>,
    /// Of runs that have ended; as good as new.
    cgroups: Mutex<VecDeque<Cgroup>>,
    _ids: Option<IdLease>,
}

/// Ids of guests: those inside the zygote's user namespace that are free, with those outside.
struct Guests {
    free: Vec<GuestId>,
}

/// The id of one guest at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuestId {
    /// In the zygote's user namespace.
    pub(super) inside: u32,
    /// On the host; none where all guests have the caller's.
    pub(super) host: Option<u32>,
}

impl Zygote {
    /// Starts one, and waits until everything is loaded; `slots` is how many there may be at once.
    pub(crate) fn start(plan: WarmPlan, preload: &[String], slots: u32) -> Result<Zygote, SandboxError> {
        let ids = lease(&plan.zygote, slots)?;
        let base = &plan.zygote;
        // Counted, not limited: it is trusted, and what a fork costs before the child has moved is charged to it.
        let limits =
            CgroupLimits { memory_bytes: None, processes: None, cpus: None, ..begun::limits(&base.policy) };
        let pipe = |reads| guest_pipe(reads, None).map_err(SandboxError::at("make the zygote's pipes"));
        let (stdin, stdout, stderr) = (pipe(true)?, pipe(false)?, pipe(false)?);
        let (channel, guest_channel) = packet_pair()?;
        let (orders, zygote_orders) = packet_pair()?;
        let capabilities = &wardian_sys::caps::ZYGOTE_SET_UP;
        let mut begun = Begun::with(capabilities, base.root.namespaces, Some(&base.cgroups))?;
        let guests = Mutex::new(map_ids(begun.init.pid(), ids.as_ref(), slots, &base.policy.identity)?);
        let next = begun.send_root(&base.root, None)?;
        let cgroup = begun.take_cgroup(&base.cgroups, &limits)?;
        let Begun { init, control, .. } = begun;
        let mut half = Half::at(next);
        let seats = GuestSeats {
            channel: half.add(&guest_channel),
            stdio: [&stdin, &stdout, &stderr].map(|pipe| half.add(&pipe.guests)),
            result: Some(half.add(&zygote_orders)),
            joins: cgroup.iter().flat_map(Cgroup::join_files).map(|file| half.add(file)).collect(),
        };
        let bytes = encode(&plan, seats);
        let half = half.send(&control, "wardian-zygote", &bytes)?;
        drop((guest_channel, zygote_orders, stdout.guests, stderr.guests, stdin));
        let zygote =
            Zygote { plan, control, orders, init, cgroup, guests, cgroups: Mutex::default(), _ids: ids };
        zygote.tell(preload, &half, bytes.len()).map_err(|error| zygote.last_words().unwrap_or(error))?;
        zygote.await_ready(&channel, &stdout.ours, &stderr.ours)?;
        Ok(zygote)
    }

    /// Whether its children may make memory files, what to load, and the half of the plan that is about slots.
    fn tell(&self, preload: &[String], half: &OwnedFd, bytes: usize) -> Result<(), SandboxError> {
        let memfd: &[u8] = if self.plan.run.guest.profile.memfd { b"memfd" } else { b"" };
        let preload = super::slot::frame(iter::once(memfd).chain(preload.iter().map(String::as_bytes)));
        write(&self.orders, &preload, "tell the zygote what to load")?;
        pass(&self.orders, &Message::Plan { bytes: bytes as u64 }.encode(), &[half.as_fd()])
    }

    /// Why its init has ended, if it has and has said so.
    fn last_words(&self) -> Option<SandboxError> {
        loop {
            ready([&self.control].into_iter(), Instant::now()).ok()?;
            if let (Message::Failed { step, errno }, _) = receive(&self.control).ok()?? {
                return Some(SandboxError::set_up(&self.plan.zygote, step, errno));
            }
        }
    }

    /// Waits until everything is loaded. What is written meanwhile on standard error may say why it cannot be; from then on
    /// nobody reads, and nobody writes.
    fn await_ready(&self, channel: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), SandboxError> {
        let deadline = Instant::now() + LOAD_LIMIT;
        let mut words = Vec::new();
        let mut started = false;
        let mut process = None;
        loop {
            // Its end is news once.
            let channels = Some(channel).filter(|_| !started);
            let watched = [&self.orders, &self.control, stdout, stderr].into_iter().chain(channels);
            let ready = ready(watched, deadline)?;
            let &[orders, control, output, complaint, ref rest @ ..] = &ready[..] else { continue };
            let channel_ready = rest.first() == Some(&true);
            if output {
                hear(stdout, &mut Vec::new());
            }
            if complaint {
                hear(stderr, &mut words);
            }
            if channel_ready {
                match receive(channel)? {
                    Some((Message::NotStarted { stage, errno }, _)) => {
                        return Err(SandboxError::guest(stage, errno));
                    }
                    Some(_) => {}
                    None => started = true,
                }
            }
            if control {
                match receive(&self.control)? {
                    Some((Message::Failed { step, errno }, _)) => {
                        return Err(SandboxError::set_up(&self.plan.zygote, step, errno));
                    }
                    Some((Message::Exited { .. }, _)) | None => return Err(self.failure(stderr, words)),
                    Some((Message::Child { .. }, pidfd)) => process = pidfd,
                    Some(_) => {}
                }
            }
            // What init said before has been heard: it comes first.
            if orders && !control {
                return match (receive(&self.orders)?, process) {
                    (Some((Message::Ready, _)), Some(process)) => shares_nothing(&process),
                    _ => Err(self.failure(stderr, words)),
                };
            }
        }
    }

    fn failure(&self, stderr: &OwnedFd, mut words: Vec<u8>) -> SandboxError {
        hear(stderr, &mut words);
        SandboxError::Zygote { reason: String::from_utf8_lossy(&words).trim().to_owned() }
    }

    pub(super) fn take_guest(&self) -> Option<GuestId> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).free.pop()
    }

    pub(super) fn give_back(&self, guest: GuestId) {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).free.push(guest);
    }

    /// A cgroup for a slot: a new one, or one that is as good.
    pub(super) fn take_cgroup(&self) -> Result<Option<Cgroup>, SandboxError> {
        let plan = &self.plan.run;
        if plan.cgroups.version().is_none() {
            return Ok(None);
        }
        let renewed = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match renewed {
            Some(renewed) => Ok(Some(renewed)),
            None => Ok(Some(plan.cgroups.create(&begun::limits(&plan.policy))?)),
        }
    }

    /// Keeps the cgroup of a run that has ended for another one, if it can be renewed and there are few of them.
    pub(super) fn keep_cgroup(&self, used: Cgroup, counts: &Counts) {
        if let Some(renewed) = used.renew(counts) {
            let mut kept = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MOST_KEPT {
                kept.push_back(renewed);
            }
        }
    }

    /// Whether its init is still there, and has not said that the zygote has ended: it says nothing else.
    pub(crate) fn is_alive(&self) -> bool {
        let mut set = [
            PollFd::from_borrowed_fd(self.init.pidfd(), PollFlags::IN),
            PollFd::new(&self.control, PollFlags::IN),
        ];
        poll_now(&mut set) == Ok(0)
    }

    /// Memory of the zygote itself, without what children touched.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.cgroup.as_ref().and_then(|cgroup| cgroup.memory_current_bytes().ok())
    }
}

/// Whether a zygote has no memory that its children would share.
fn shares_nothing(zygote: &OwnedFd) -> Result<(), SandboxError> {
    let refuse = |mapping| {
        let reason = format!("a preloaded module maps memory that runs would share: {mapping}");
        Err(SandboxError::Zygote { reason })
    };
    shared_memory::mapping_of(zygote)?.map_or(Ok(()), refuse)
}

/// Which of some descriptors can be read, at the latest at a deadline.
pub(super) fn ready<'a>(
    fds: impl Iterator<Item = &'a OwnedFd>,
    deadline: Instant,
) -> Result<Vec<bool>, SandboxError> {
    let mut set: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    match poll_until(&mut set, Some(deadline)) {
        Ok(0) => Err(SandboxError::at("wait for the zygote")(late())),
        Ok(_) => Ok(set.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(error) => Err(SandboxError::at("wait for the zygote (poll)")(error)),
    }
}

/// Reads what there is, without waiting.
pub(super) fn hear(stderr: &OwnedFd, words: &mut Vec<u8>) {
    let mut chunk = [0u8; 1024];
    while let Ok(read @ 1..) = rustix::io::read(stderr, &mut chunk) {
        let room = MOST_WORDS.saturating_sub(words.len());
        words.extend_from_slice(chunk.get(..read.min(room)).unwrap_or(&[]));
    }
}

pub(super) fn write(socket: &OwnedFd, bytes: &[u8], step: &str) -> Result<(), SandboxError> {
    rustix::net::send(socket, bytes, rustix::net::SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(SandboxError::at(step))
}

/// One id for the zygote and all set-up, one for what is the guest's in the zygote's own root, one for each guest.
fn lease(plan: &Plan, slots: u32) -> Result<Option<IdLease>, SandboxError> {
    if !plan.root.own_ids {
        return Ok(None);
    }
    let (first, range) = plan.policy.identity.uid_range;
    ids::lease(first, range, 1 + slots).map(Some)
}

/// Writes the id maps of the zygote's user namespace, and says which guests' ids there are then.
fn map_ids(pid: i32, ids: Option<&IdLease>, slots: u32, identity: &Identity) -> Result<Guests, SandboxError> {
    let write = |file: &str, text: &str| {
        fs::write(format!("/proc/{pid}/{file}"), text)
            .map_err(SandboxError::at(format!("write the zygote's {file}")))
    };
    let Some(ids) = ids else {
        write("setgroups", "deny")?;
        write("uid_map", &format!("0 {} 1\n", rustix::process::geteuid().as_raw()))?;
        write("gid_map", &format!("0 {} 1\n", rustix::process::getegid().as_raw()))?;
        return Ok(Guests { free: (0..slots).map(|_| GuestId { inside: 0, host: None }).collect() });
    };
    let first = ids.guest + 1;
    let guests = format!("{FIRST_GUEST} {first} {slots}\n");
    let map = |own_guest: u32| match own_guest {
        0 => format!("0 {} 1\n{guests}", ids.set_up),
        // What is the guest's in the zygote's own root, which no guest sees, has an owner too.
        inside => format!("0 {} 1\n{inside} {} 1\n{guests}", ids.set_up, ids.guest),
    };
    write("uid_map", &map(identity.uid))?;
    write("gid_map", &map(identity.gid))?;
    let id = |index| GuestId { inside: FIRST_GUEST + index, host: Some(first + index) };
    Ok(Guests { free: (0..slots).map(id).collect() })
}

fn encode(plan: &WarmPlan, own: GuestSeats) -> Vec<u8> {
    let zygote = &plan.zygote;
    let change_ids = zygote.root.own_ids;
    let own = GuestSpec { zygote: true, ..spec(&zygote.guest, own, change_ids) };
    let (channel, stdio, result) = (fork::CHANNEL, fork::STDIO, Some(fork::RESULT));
    let seats = GuestSeats { channel, stdio, result, joins: Vec::new() };
    let slots = SlotsSpec {
        namespaces: zygote.root.namespaces,
        // Then there are no sockets but local ones.
        reuses_networks: plan.run.policy.network == Network::None,
        steps: plan.run.root.steps.encoded(),
        // Below another's listener a slot is made unobserved, as a cold run would be, unless denials are required.
        guest: spec(&plan.run.guest, seats, change_ids),
        seal: plan.seal.clone(),
    };
    wardian_init::encode(&own, &zygote.guest.init_filter, false, Some(&slots))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::sandbox::ReadySlot;
    use crate::warm::harness;
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    use std::sync::Arc;

    /// None where it cannot be looked into.
    fn zygote() -> Option<Arc<Zygote>> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: only root may look into a zygote's init");
            return None;
        }
        let python = crate::python::Request::Path("/usr/bin/python3".into());
        let files = harness::FILES.map(|(name, content)| (name.to_owned(), content.to_vec())).to_vec();
        let policy = crate::policy::preset("python").unwrap();
        let plan = WarmPlan::build(policy, python, files, &Host::detect()).unwrap();
        Some(Arc::new(Zygote::start(plan, &[], 4).unwrap()))
    }

    #[test]
    fn a_slot_that_nobody_waits_for_any_more_is_the_end_of_nothing_else() {
        let Some(zygote) = zygote() else { return };
        for _ in 0..3 {
            let (ours, inits) = packet_pair().unwrap();
            let order = Message::NewSlot { guest: FIRST_GUEST }.encode();
            drop(ours);
            pass(&zygote.control, &order, &[inits.as_fd()]).unwrap();
        }
        ReadySlot::make(&zygote, false).unwrap();
        assert!(zygote.is_alive());
    }

    #[test]
    fn slots_that_cannot_be_made_leave_nothing_behind() {
        let Some(zygote) = zygote() else { return };
        let init = Pid::from_raw(zygote.init.pid());
        let limit = Rlimit { current: Some(0), ..getrlimit(Resource::Nproc) };
        let before = prlimit(init, Resource::Nproc, limit).unwrap();
        let fail = || {
            let error = ReadySlot::make(&zygote, false).err().expect("the limit holds").to_string();
            assert!(error.starts_with("cannot make a sandbox beside the zygote: "), "{error}");
        };
        fail();
        let held = || {
            let of = |file: &str| format!("/proc/{}/{file}", zygote.init.pid());
            let status = fs::read_to_string(of("status")).unwrap();
            let size = status.lines().find(|line| line.starts_with("VmSize:")).unwrap().to_owned();
            (fs::read_dir(of("fd")).unwrap().count(), size)
        };
        let (files, size) = held();
        (0..10).for_each(|_| fail());
        let (files_now, size_now) = held();
        assert_eq!(size_now, size);
        // The last one's own socket may still be there.
        assert!(files_now <= files + 1, "{files}, now {files_now}");
        prlimit(init, Resource::Nproc, before).unwrap();
        ReadySlot::make(&zygote, false).unwrap();
    }
}
