//! Groups of processes that the kernel limits and counts: version 2 where it can be used, else version 1.
//!
//! [`CgroupHost`] is our own group, below which every sandbox gets a [`Cgroup`]. A group is named after its
//! owner, `wardian-<pid>-<start time>-<boot id>-<number>`, who holds a lock on its directory; [`gc`] removes
//! those whose owner was killed.
//!
//! On version 2 a sandbox is born into its group ([`Cgroup::clone_into`]); on version 1 a process joins by
//! writing `0` to each of [`Cgroup::join_files`], which takes 40 µs where a pid, or `cgroup.procs`, would take
//! milliseconds (a grace period of the kernel's).

mod dir;
mod gc;
mod group;
mod locate;
mod oom;
mod owner;
mod v1;
mod v2;

pub use gc::{GcReport, gc};
pub use oom::OomWatch;

use super::CgroupError;
use group::Group;
use locate::Map;
use owner::Owner;
use rustix::fs::{Access, AtFlags, accessat};
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The length of time within which a quota of CPU time is used up.
const PERIOD_US: u64 = 100_000;
/// The kernel refuses a smaller quota.
const MIN_QUOTA_US: f64 = 1000.0;
/// How often a group is made anew after [`gc`] of another process took it for abandoned.
const ATTEMPTS: usize = 3;

/// Which versions may be used: a machine that has both can be tested as one that has one of them, or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cap {
    /// Whatever there is.
    #[default]
    Any,
    /// As if there were no version 2.
    V1Only,
    /// As if there were no version 1.
    V2Only,
    /// As if there were no cgroups.
    None,
}

/// The version of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller.
    V1,
    /// One hierarchy.
    V2,
}

/// What can be limited or counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Bytes of memory.
    pub memory: bool,
    /// Processes and threads.
    pub pids: bool,
    /// Cores used at once.
    pub cpu: bool,
    /// CPU time is counted.
    pub cpu_usage: bool,
}

/// What happens when a group's memory runs out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oom {
    /// The kernel kills all of it (version 2). On version 1 it kills one process, and the rest is up to
    /// whoever waits for [`Cgroup::oom_watch`].
    #[default]
    End,
    /// The kernel kills one process.
    One,
}

/// Whether the limit on swap holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The kernel enforces it.
    Enforced,
    /// The kernel counts no swap by group, or memory is not limited at all.
    Unavailable,
}

/// What a group may consume; `None` is as much as the groups above it may.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CgroupLimits {
    /// Memory, page cache, tmpfs and kernel memory included.
    pub memory_bytes: Option<u64>,
    /// Swap beyond that; only with `memory_bytes`.
    pub swap_bytes: u64,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Cores at once. As many as we may run on, or more, set no limit.
    pub cpus: Option<f64>,
    /// What happens when memory runs out.
    pub oom: Oom,
}

impl CgroupLimits {
    /// The CPU time per period, if it is a limit at all.
    fn quota_us(&self) -> Result<Option<u64>, CgroupError> {
        let Some(cpus) = self.cpus else { return Ok(None) };
        if !(cpus.is_finite() && cpus > 0.0) {
            let (value, must) = (cpus.to_string(), "a number above 0");
            return Err(CgroupError::BadLimit { what: "cores", value, must });
        }
        let cores = rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |set| set.count());
        if cpus >= f64::from(cores) {
            return Ok(None);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and below 2^32 cores"
        )]
        let quota = (cpus * PERIOD_US as f64).max(MIN_QUOTA_US).round() as u64;
        Ok(Some(quota))
    }
}

/// CPU time of all processes that are or were in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// In user mode.
    pub user_us: u64,
    /// In the kernel.
    pub system_us: u64,
    /// Both; exact, while its division may be an estimate.
    pub total_us: u64,
}

/// How much a quota of cores held a group up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuThrottled {
    /// Periods of 100 ms in which the quota was used up.
    pub periods: u64,
    /// Time that runnable threads waited, added up over cores.
    pub time_us: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    V2(Arc<v2::Hierarchy>),
    V1(Arc<v1::Hierarchies>),
    None(Arc<CgroupError>),
}

/// The cgroups that this process may use. Cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct CgroupHost {
    kind: Kind,
    controllers: Controllers,
    owner: Option<Owner>,
}

impl CgroupHost {
    /// Looks where our own group is and whether it is ours to write; writes nothing. For the path of a run:
    /// what is wrong beyond that, [`create`](CgroupHost::create) finds out and names.
    pub fn locate(cap: Cap) -> CgroupHost {
        let found = Owner::current().and_then(|owner| Ok((owner, Map::read()?)));
        let (owner, map) = match found {
            Ok(found) => found,
            Err(error) => return CgroupHost::none(error),
        };
        let v2 = match locate_v2(cap, &map) {
            Ok(kind) => return CgroupHost::some(kind, owner),
            Err(error) => error,
        };
        match locate_v1(cap, &map) {
            Ok(kind) => CgroupHost::some(kind, owner),
            Err(v1) => CgroupHost::none(CgroupError::Neither { v2: Box::new(v2), v1: Box::new(v1) }),
        }
    }

    /// Like [`locate`](CgroupHost::locate), and then makes a group with every limit and removes it again: what
    /// this host says it can, it has done.
    ///
    /// On version 2 that may have a lasting effect: our own group hands its controllers down, and its
    /// processes, ourselves among them, move to a group `wardian-supervisor` below it.
    pub fn probe(cap: Cap) -> CgroupHost {
        let mut host = CgroupHost::locate(cap);
        let plain =
            CgroupLimits { memory_bytes: Some(64 << 20), processes: Some(16), ..CgroupLimits::default() };
        let tried = host.create(&plain).and_then(Cgroup::remove);
        match tried {
            Err(CgroupError::Unusable(_)) => return host,
            Err(error) => return CgroupHost::none(error),
            Ok(()) => {}
        }
        let slow = CgroupLimits { cpus: Some(0.5), ..plain };
        host.controllers.cpu = host.controllers.cpu && host.create(&slow).and_then(Cgroup::remove).is_ok();
        host
    }

    fn some(kind: Kind, owner: Owner) -> CgroupHost {
        let controllers = match &kind {
            Kind::V2(hierarchy) => hierarchy.controllers(),
            Kind::V1(hierarchies) => hierarchies.controllers(),
            Kind::None(_) => Controllers::default(),
        };
        CgroupHost { kind, controllers, owner: Some(owner) }
    }

    fn none(reason: CgroupError) -> CgroupHost {
        CgroupHost { kind: Kind::None(Arc::new(reason)), controllers: Controllers::default(), owner: None }
    }

    /// The version in use; `None` where there is no usable cgroup.
    pub fn version(&self) -> Option<Version> {
        match self.kind {
            Kind::V2(_) => Some(Version::V2),
            Kind::V1(_) => Some(Version::V1),
            Kind::None(_) => None,
        }
    }

    /// What can be limited and counted.
    pub fn controllers(&self) -> Controllers {
        self.controllers
    }

    /// Why there is no usable cgroup.
    pub fn reason(&self) -> Option<&CgroupError> {
        match &self.kind {
            Kind::None(reason) => Some(reason),
            _ => None,
        }
    }

    /// The directories below which groups are made: one on version 2, one a hierarchy on version 1.
    pub fn directories(&self) -> Vec<&Path> {
        match &self.kind {
            Kind::V2(hierarchy) => vec![hierarchy.dir().path()],
            Kind::V1(hierarchies) => hierarchies.dirs().iter().map(dir::Dir::path).collect(),
            Kind::None(_) => Vec::new(),
        }
    }

    fn kind(&self) -> &Kind {
        &self.kind
    }

    fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Makes a group for one sandbox and limits it.
    ///
    /// Fails when any limit that is asked for cannot be set; nothing is left then. Takes about 150 µs, may be
    /// called from any thread.
    pub fn create(&self, limits: &CgroupLimits) -> Result<Cgroup, CgroupError> {
        let quota = limits.quota_us()?;
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.try_create(limits, quota) {
                Err(error) if attempts > 0 && was_swept(&error) => {}
                other => return other,
            }
        }
    }

    fn try_create(&self, limits: &CgroupLimits, quota: Option<u64>) -> Result<Cgroup, CgroupError> {
        let name = self.owner.as_ref().map(Owner::next_name).unwrap_or_default();
        let group: Box<dyn Group> = match &self.kind {
            Kind::V2(hierarchy) => Box::new(hierarchy.create(name, limits, quota)?),
            Kind::V1(hierarchies) => Box::new(hierarchies.create(name, limits, quota)?),
            Kind::None(reason) => return Err(CgroupError::Unusable(Arc::clone(reason))),
        };
        Ok(Cgroup { group, removed: false })
    }
}

/// Between the making of a directory and its lock, a sweep that cannot see our pid (one in another pid
/// namespace) takes the group for abandoned. A name may also be taken, by a copy of ourselves that `fork`
/// made.
fn was_swept(error: &CgroupError) -> bool {
    match error {
        CgroupError::Lock { source, .. } => source.kind() == ErrorKind::WouldBlock,
        CgroupError::Create { source, .. } => source.kind() == ErrorKind::AlreadyExists,
        CgroupError::Open { source, .. } | CgroupError::Write { source, .. } => {
            source.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
                || source.kind() == ErrorKind::NotFound
        }
        _ => false,
    }
}

fn locate_v2(cap: Cap, map: &Map) -> Result<Kind, CgroupError> {
    if matches!(cap, Cap::V1Only | Cap::None) {
        return Err(CgroupError::Capped { version: "v2" });
    }
    let hierarchy = v2::Hierarchy::locate(map)?;
    writable(hierarchy.dir())?;
    Ok(Kind::V2(Arc::new(hierarchy)))
}

fn locate_v1(cap: Cap, map: &Map) -> Result<Kind, CgroupError> {
    if matches!(cap, Cap::V2Only | Cap::None) {
        return Err(CgroupError::Capped { version: "v1" });
    }
    let hierarchies = v1::Hierarchies::locate(map)?;
    hierarchies.dirs().iter().try_for_each(writable)?;
    Ok(Kind::V1(Arc::new(hierarchies)))
}

fn writable(dir: &dir::Dir) -> Result<(), CgroupError> {
    accessat(dir, ".", Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(|error| CgroupError::Create { path: dir.path().join("wardian-…"), source: error.into() })
}

/// The group of one sandbox. It goes when this value does, and with it whatever still runs inside.
///
/// Every counter stays right after the last process has died.
#[derive(Debug)]
pub struct Cgroup {
    group: Box<dyn Group>,
    removed: bool,
}

impl Cgroup {
    /// The name of its directory.
    pub fn name(&self) -> &str {
        self.group.name()
    }

    /// Its directory; on version 1 the one of the first hierarchy.
    pub fn path(&self) -> PathBuf {
        self.group.path()
    }

    /// Whether the limit on swap holds.
    pub fn swap(&self) -> Swap {
        self.group.swap()
    }

    /// Version 1: files open for writing, to each of which a single-threaded process that is to join writes
    /// `0`. Empty on version 2.
    pub fn join_files(&self) -> &[OwnedFd] {
        self.group.join_files()
    }

    /// Closes [`join_files`](Cgroup::join_files), which nobody needs once the guest has started.
    pub fn close_join_files(&mut self) {
        self.group.close_join_files();
    }

    /// Version 2: the directory, for `CLONE_INTO_CGROUP`.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        self.group.clone_into()
    }

    /// CPU time so far, in microseconds: one system call. A running thread may be a clock tick ahead of it.
    pub fn cpu_total_us(&self) -> Result<u64, CgroupError> {
        self.group.cpu_total_us()
    }

    /// CPU time so far, by mode.
    pub fn cpu_usage(&self) -> Result<CpuUsage, CgroupError> {
        self.group.cpu_usage()
    }

    /// What the limit on cores did; `None` where there is none.
    pub fn cpu_throttled(&self) -> Result<Option<CpuThrottled>, CgroupError> {
        self.group.cpu_throttled()
    }

    /// Memory in use now.
    pub fn memory_current_bytes(&self) -> Result<u64, CgroupError> {
        self.group.memory_current_bytes()
    }

    /// Most memory ever in use; `None` on version 2 before Linux 5.19.
    pub fn memory_peak_bytes(&self) -> Result<Option<u64>, CgroupError> {
        self.group.memory_peak_bytes()
    }

    /// Processes that were killed because memory ran out, here or in the whole machine.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        self.group.oom_kills()
    }

    /// A descriptor that becomes ready when memory runs out.
    pub fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        self.group.oom_watch()
    }

    /// Most processes and threads at once; `None` before Linux 6.1.
    pub fn processes_peak(&self) -> Result<Option<u64>, CgroupError> {
        self.group.processes_peak()
    }

    /// How often a process or thread was refused because there were too many.
    pub fn process_limit_hits(&self) -> Result<u64, CgroupError> {
        self.group.process_limit_hits()
    }

    /// Whether anything lives in it; on version 1 an ended process counts until its parent has waited for it.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        self.group.is_populated()
    }

    /// Kills every process in it, and lets none start a new one (version 1 forever, version 2 during the call).
    /// Returns before they have ended.
    pub fn kill(&self) -> Result<(), CgroupError> {
        self.group.kill()
    }

    /// Removes it, and kills what is still inside. Waits for at most half a second; a group that does not go
    /// then is left to [`gc`].
    pub fn remove(mut self) -> Result<(), CgroupError> {
        self.removed = true;
        self.group.rmdir()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.removed {
            // Nobody is left to tell: the next start's sweep finds what stays.
            let _ = self.group.rmdir();
        }
    }
}
