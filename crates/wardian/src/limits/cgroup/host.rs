//! The cgroups that this process may use, and how a sandbox gets its own.

use super::dir::Dir;
use super::group::Group;
use super::limits::CgroupLimits;
use super::locate::Map;
use super::owner::Owner;
use super::{Cgroup, v1, v2};
use crate::limits::CgroupError;
use rustix::fs::{Access, AtFlags, accessat};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How often a group is made anew after [`gc`](super::gc()) of another process took it for abandoned.
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

#[derive(Clone, Debug)]
pub(super) enum Kind {
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
    /// On version 2 our own group may hand its controllers down meanwhile, and its processes, ourselves among them, be in
    /// a group `wardian-supervisor` below it, until the last wardian there is done.
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
            Kind::V1(hierarchies) => hierarchies.dirs().iter().map(Dir::path).collect(),
            Kind::None(_) => Vec::new(),
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(super) fn owner(&self) -> Option<&Owner> {
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
        Ok(Cgroup { group, removed: false, altered: AtomicBool::new(false) })
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

fn writable(dir: &Dir) -> Result<(), CgroupError> {
    accessat(dir, ".", Access::WRITE_OK, AtFlags::EACCESS)
        .map_err(|error| CgroupError::Create { path: dir.path().join("wardian-…"), source: error.into() })
}
