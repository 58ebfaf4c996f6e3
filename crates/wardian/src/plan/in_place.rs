//! Level `landlock`: the root is the host's own, of which Landlock grants parts; there are no namespaces.

use super::devices::{Zero, is_given_device, is_zero};
use super::program::Resolved;
use super::root::Root;
use super::{Places, PlanError};
use crate::files::Input;
use crate::host::{Host, Privilege};
use crate::policy::{self, Layer, Mount, Network, Policy, ProcMode, RootKind, Scratch, Work};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The oldest Landlock that keeps signals and abstract sockets of others out of reach.
pub(crate) const OLDEST_ABI: u32 = 6;
const WHAT: &str = "level = \"landlock\"";
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The private directory of a run, which the supervisor makes and removes.
#[derive(Clone, Debug)]
pub(crate) struct InPlace {
    /// Its path, where nothing is yet.
    pub(crate) top: PathBuf,
    /// Whether the guest may write there; else it only has its inputs.
    pub(crate) writable: bool,
}

fn unenforceable(reason: impl Into<String>, fix: impl Into<String>) -> PlanError {
    PlanError::Unenforceable { what: WHAT, reason: reason.into(), fix: fix.into() }
}

/// Refuses what this level cannot do, here or anywhere.
pub(super) fn require(policy: &Policy, host: &Host) -> Result<(), PlanError> {
    if host.landlock_abi < OLDEST_ABI {
        let reason = format!(
            "it needs Landlock with ABI {OLDEST_ABI} or later, which keeps the signals and sockets of others out of \
             reach, and this kernel has {}",
            host.landlock_abi
        );
        return Err(unenforceable(
            reason,
            "Linux 6.12 or later, with `landlock` in the boot parameter `lsm=`",
        ));
    }
    if !Path::new("/proc/thread-self/children").exists() {
        let reason =
            "wardian cannot see which processes belong to a sandbox: /proc/thread-self/children is missing";
        return Err(unenforceable(reason, "mount /proc; a kernel with CONFIG_PROC_CHILDREN"));
    }
    let namespaces = "level = \"namespaces\" can; `wardian doctor` says how to get it here";
    if policy.network == Network::Loopback {
        return Err(unenforceable("without a network namespace there is no loopback of its own", namespaces));
    }
    if policy.files.root == RootKind::Empty {
        return Err(unenforceable(
            "without a mount namespace the root is the host's, never an empty one",
            namespaces,
        ));
    }
    if policy.files.proc == ProcMode::Required || policy.require.contains(&Layer::Proc) {
        return Err(unenforceable("without a pid namespace there is no /proc of its own", namespaces));
    }
    policy.files.mounts.iter().try_for_each(stays_in_place)
}

fn stays_in_place(mount: &Mount) -> Result<(), PlanError> {
    if !policy::moves(mount) {
        return Ok(());
    }
    let reason = format!(
        "nothing can be mounted at `{}`: without a mount namespace files stay where they are",
        mount.dst
    );
    Err(unenforceable(
        reason,
        "give files at their own paths, `--mount src=/data,dst=/data`, or copy them in: `--file`",
    ))
}

/// A private directory in the temporary one, under a name that nobody can know before.
pub(super) fn private_directory(policy: &Policy) -> Result<InPlace, PlanError> {
    let temporary = std::env::temp_dir();
    let wrong = |error| {
        let reason = format!("the directory for temporary files, {}: {error}", temporary.display());
        unenforceable(reason, "TMPDIR must name a directory that you may write to")
    };
    let temporary = temporary.canonicalize().map_err(wrong)?;
    let name = format!("{}{:016x}", crate::sandbox::SCRATCH_PREFIX, super::guest::random());
    Ok(InPlace { top: temporary.join(name), writable: policy.files.scratch != Scratch::None })
}

/// What Landlock is to grant.
pub(super) fn root(
    policy: &Policy,
    program: &Resolved,
    inputs: &[Input],
    cwd: Option<&str>,
    places: &Places,
    host: &Host,
) -> Result<Root, PlanError> {
    let mut granted = Granted {
        privilege: host.privilege,
        readable: Vec::new(),
        writable: Vec::new(),
        files: BTreeSet::new(),
        zero: Zero::on(host),
        read_only_devices: BTreeSet::new(),
    };
    for path in &program.directories {
        granted.reachable(path)?;
        granted.readable.push(text(path)?);
    }
    for path in program.files.iter().chain(&program.copies) {
        granted.file(text(path)?);
    }
    granted.reachable(&program.path)?;
    if policy.files.dev {
        for device in DEVICES {
            granted.files.insert(device.into());
            granted.writable.push(device.into());
            if device == "/dev/zero" {
                granted.note_zero(device);
            }
        }
    }
    for mount in &policy.files.mounts {
        granted.mount(mount)?;
    }
    if policy.files.scratch == Scratch::None {
        granted.readable.push(places.work.clone());
    } else {
        let work = match policy.files.work {
            Work::Writable => &mut granted.writable,
            Work::ReadOnly => &mut granted.readable,
        };
        work.push(places.work.clone());
        granted.writable.extend([places.home.clone(), places.tmp.clone()]);
    }
    let inside = |path: &str| path.strip_prefix(super::BOX).map(|rest| format!("{}{rest}", places.work));
    let cwd = cwd.map_or_else(|| places.work.clone(), |path| inside(path).unwrap_or_else(|| path.to_owned()));
    let Granted { readable, writable, files: plain_files, read_only_devices, .. } = granted;
    Ok(Root {
        copies: Vec::new(),
        trees: Vec::new(),
        inputs: inputs.to_vec(),
        hands_out_box: false,
        readable,
        writable,
        plain_files,
        read_only_devices,
        cwd,
    })
}

struct Granted {
    privilege: Privilege,
    readable: Vec<String>,
    writable: Vec<String>,
    files: BTreeSet<String>,
    zero: Zero,
    read_only_devices: BTreeSet<String>,
}

impl Granted {
    /// This level has a Landlock that can refuse writing to it.
    fn note_zero(&mut self, path: &str) {
        if self.zero != Zero::Whole {
            self.read_only_devices.insert(path.to_owned());
        }
    }

    fn file(&mut self, path: String) {
        self.files.insert(path.clone());
        self.readable.push(path);
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), PlanError> {
        let metadata = match std::fs::metadata(&mount.dst) {
            Ok(metadata) => metadata,
            Err(_) if mount.optional => return Ok(()),
            Err(source) => return Err(PlanError::MountSource { path: mount.dst.clone().into(), source }),
        };
        is_given_device(Path::new(&mount.dst), &metadata, &mount.dst)?;
        if !metadata.is_dir() {
            self.files.insert(mount.dst.clone());
        }
        if is_zero(&metadata) {
            self.note_zero(&mount.dst);
        }
        // What a directory grants, no rule of a file in it takes back.
        let has_zero =
            || std::fs::metadata(Path::new(&mount.dst).join("zero")).is_ok_and(|file| is_zero(&file));
        if mount.writable && self.zero != Zero::Whole && has_zero() {
            return Err(unenforceable(
                format!(
                    "`{}` has /dev/zero in it: mapped shared, that is memory which only a cgroup counts",
                    mount.dst
                ),
                "mount it read-only, or single devices",
            ));
        }
        if mount.writable {
            self.writable.push(mount.dst.clone())
        } else {
            self.readable.push(mount.dst.clone())
        }
        Ok(())
    }

    /// As root the guest gets an id of its own, which opens no private directory; nothing is mounted elsewhere.
    fn reachable(&self, path: &Path) -> Result<(), PlanError> {
        if self.privilege == Privilege::User {
            return Ok(());
        }
        let closed = path.ancestors().find(|part| {
            // Others may search it; the program itself they must be able to execute.
            std::fs::metadata(part).is_ok_and(|metadata| metadata.mode() & 0o001 == 0)
        });
        match closed {
            None => Ok(()),
            Some(part) => Err(unenforceable(
                format!("`{}` is closed to other users, and the program runs as one of them", part.display()),
                "another interpreter, `--python /usr/bin/python3` say, or `chmod o+x`",
            )),
        }
    }
}

fn text(path: &Path) -> Result<String, PlanError> {
    path.to_str().map(str::to_owned).ok_or_else(|| PlanError::NotUtf8 { path: path.into() })
}
