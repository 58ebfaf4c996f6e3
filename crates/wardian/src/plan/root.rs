//! The new root: which directories, files, links and mounts, in which order.

use super::covers::{Cover, Covers};
use super::devices::{self, DEVICES, Zero, is_given_device, is_zero};
use super::host_tree::HostTree;
use super::program::{HOOK_DIRECTORY, Resolved};
use super::steps::{Steps, c_string};
use super::{BOX, HOME, PlanError, Request, etc, refusing};
use crate::files::Input;
use crate::host::{Host, Privilege};
use crate::policy::{Mount, MountKind, Outside, ProcMode, RootKind, Scratch, Work};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use wardian_init::{FIRST_FREE, Seat, Step};
use wardian_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY};

/// Where the scratch file system is while a root is being made; its own part of it covers it at last, which takes no
/// unmounting.
pub(super) const SCRATCH: &str = "/dev/shm";
const READ_ONLY: u64 = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV;

/// What the root consists of, beside its steps.
pub(super) struct Root {
    pub(super) trees: Vec<HostTree>,
    pub(super) inputs: Vec<Input>,
    /// Files of the host whose content init copies: into the kernel once, and through nobody's memory.
    pub(super) copies: Vec<File>,
    pub(super) hands_out_box: bool,
    /// What may be read and executed, and what may be written: guest paths, for Landlock.
    pub(super) readable: Vec<String>,
    pub(super) writable: Vec<String>,
    /// Those of them that are no directories.
    pub(super) plain_files: BTreeSet<String>,
    /// Devices among them that are only to be read.
    pub(super) read_only_devices: BTreeSet<String>,
    pub(super) cwd: String,
}

struct Builder<'a> {
    request: &'a Request,
    privilege: Privilege,
    zero: Zero,
    steps: &'a mut Steps,
    root: Root,
    /// The seats of copies come after the inputs', and those of trees after them.
    first_copy: u32,
    first_tree: u32,
    covers: Covers,
    /// Mounted writable, so that there can be mount points in them; made read-only at the end.
    read_only_at_last: Vec<CString>,
}

/// Those that can be read.
fn open_copies(program: &Resolved, outside: Outside) -> (Vec<&Path>, Vec<File>) {
    let shown = program
        .copies
        .iter()
        .map(PathBuf::as_path)
        .filter(|path| outside == Outside::Absent || refusing::shows(path));
    shown.filter_map(|path| Some((path, File::open(path).ok()?))).unzip()
}

/// Plans the root.
pub(super) fn build(
    request: &Request,
    program: &Resolved,
    host: &Host,
    steps: &mut Steps,
) -> Result<Root, PlanError> {
    let inputs = request.inputs.clone();
    let (paths, copies) = open_copies(program, request.policy.outside);
    let first_copy = FIRST_FREE + u32::try_from(inputs.len()).unwrap_or(u32::MAX);
    let first_tree = first_copy + u32::try_from(copies.len()).unwrap_or(u32::MAX);
    let root = Root {
        trees: Vec::new(),
        inputs,
        copies,
        hands_out_box: false,
        readable: Vec::new(),
        writable: Vec::new(),
        plain_files: BTreeSet::new(),
        read_only_devices: BTreeSet::new(),
        cwd: String::new(),
    };
    if request.policy.outside == Outside::Denied {
        steps.make_unlistable();
    }
    let mut builder = Builder {
        request,
        privilege: host.privilege,
        zero: Zero::on(host),
        steps,
        root,
        first_copy,
        first_tree,
        covers: Covers::default(),
        read_only_at_last: Vec::new(),
    };
    builder.identity()?;
    builder.new_root()?;
    if request.policy.files.dev {
        builder.devices()?;
    }
    builder.scratch()?; // Before the program, which may lie below /tmp, as may its interpreter.
    if request.policy.files.root == RootKind::Program {
        builder.program(program, &paths)?;
    }
    for mount in &request.policy.files.mounts {
        builder.mount(mount)?;
    }
    builder.proc()?;
    builder.finish()?;
    Ok(builder.root)
}

impl Builder<'_> {
    fn identity(&mut self) -> Result<(), PlanError> {
        if self.privilege == Privilege::Root {
            self.steps.push(&Step::Identity { uid: 0, gid: 0, clear_groups: true });
        }
        let hostname = c_string(self.request.policy.identity.hostname.as_str())?;
        self.steps.push(&Step::Hostname { name: &hostname });
        if self.request.policy.network == crate::policy::Network::Loopback {
            self.steps.push(&Step::LoopbackUp);
        }
        self.steps.push(&Step::OomScore { text: c"500" });
        Ok(())
    }

    /// Whether what is outside shows, and refuses.
    fn denies(&self) -> bool {
        self.request.policy.outside == Outside::Denied
    }

    /// Inputs without scratch space lie in the root itself, which is why it grows with them.
    fn new_root(&mut self) -> Result<(), PlanError> {
        const OWN_BYTES: u64 = 4 << 20;
        let inputs: u64 = self.root.inputs.iter().map(|input| input.bytes() + 4096).sum();
        let size = c_string((OWN_BYTES + inputs).to_string())?;
        let mode = if self.denies() { c"0711" } else { c"0755" };
        self.steps.push(&Step::Root { size: &size, inodes: c"16384", mode });
        Ok(())
    }

    fn program(&mut self, program: &Resolved, copies: &[&Path]) -> Result<(), PlanError> {
        let denies = self.denies();
        let shown = |path: &Path| !denies || refusing::shows(path);
        for (link, target) in program.links.iter().filter(|(link, _)| shown(link)) {
            self.steps.symlink(text(link)?, text(target)?)?;
            // A link to a directory stands for it.
            self.steps.note_directory(text(link)?);
        }
        for directory in program.directories.iter().filter(|path| shown(path)) {
            self.host_tree(HostTree::new(directory, READ_ONLY), text(directory)?, true, false)?;
        }
        for file in program.files.iter().filter(|path| shown(path)) {
            self.host_tree(HostTree::new(file, READ_ONLY), text(file)?, false, false)?;
        }
        for (seat, file) in (self.first_copy..).zip(copies) {
            self.steps.parents(text(file)?)?;
            self.steps.push(&Step::Copy { seat: Seat(seat), path: &c_string(text(file)?)?, mode: 0o644 });
        }
        if !program.start_files.is_empty() {
            // Python finds what it can list.
            self.steps.directories_with_mode(HOOK_DIRECTORY, 0o755)?;
            self.root.readable.push(HOOK_DIRECTORY.into());
        }
        for (name, content) in &program.start_files {
            self.steps.file(&format!("{HOOK_DIRECTORY}/{name}"), 0o644, content)?;
        }
        if denies {
            refusing::link_libraries(program, self.steps)?;
        } else {
            etc::add(&self.request.policy, self.steps)?;
            self.root.readable.push("/etc".into());
        }
        Ok(())
    }

    /// A tree of the host: opened by the supervisor where it has the rights, else by init.
    fn host_tree(
        &mut self,
        tree: HostTree,
        path: &str,
        directory: bool,
        optional: bool,
    ) -> Result<(), PlanError> {
        self.mount_point(path, directory)?;
        let path_c = c_string(path)?;
        let HostTree { source, attributes, .. } = tree.clone();
        match self.privilege {
            Privilege::Root => {
                let index = u32::try_from(self.root.trees.len()).unwrap_or(u32::MAX);
                self.root.trees.push(tree);
                self.steps.push(&Step::Attach { seat: Seat(self.first_tree + index), path: &path_c });
            }
            Privilege::User => {
                let source = c_string(text(&source)?)?;
                self.steps.push(&Step::Bind { source: &source, path: &path_c, attributes, optional });
            }
        }
        let list =
            if attributes & ATTR_RDONLY == 0 { &mut self.root.writable } else { &mut self.root.readable };
        list.push(path.to_owned());
        self.steps.hide_below(path);
        self.covers.add(path, Cover::Host(source));
        if !directory {
            self.root.plain_files.insert(path.to_owned());
        }
        Ok(())
    }

    /// In a tree of the host nothing is made: there the mount point must be one already.
    fn mount_point(&mut self, path: &str, directory: bool) -> Result<(), PlanError> {
        if self.covers.host_has(path, directory)? {
            return Ok(());
        }
        if directory {
            return self.steps.directories(path);
        }
        if !self.steps.has_directory(path) {
            self.steps.file(path, 0o644, b"")?;
            self.steps.note_directory(path);
        }
        Ok(())
    }

    /// `/dev`: five devices bound from the host, and the links to the standard streams.
    fn devices(&mut self) -> Result<(), PlanError> {
        for device in DEVICES {
            let path = format!("/dev/{device}");
            if device == "zero" && !self.gives_zero(&path) {
                continue;
            }
            let tree = HostTree::new(Path::new(&path), ATTR_NOSUID | ATTR_NOEXEC);
            self.host_tree(tree, &path, false, false)?;
        }
        for (link, target) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
        ] {
            self.steps.symlink(link, target)?;
        }
        Ok(())
    }

    /// Whether there is to be a `/dev/zero` at this path; notes how.
    fn gives_zero(&mut self, path: &str) -> bool {
        if self.zero == Zero::ReadOnly {
            self.root.read_only_devices.insert(path.to_owned());
        }
        self.zero != Zero::Absent
    }

    /// One sized tmpfs, seen as four directories; or, without scratch, the read-only box in the root itself.
    fn scratch(&mut self) -> Result<(), PlanError> {
        let policy = &self.request.policy;
        self.root.cwd = self.request.cwd.clone().unwrap_or_else(|| {
            if policy.files.root == RootKind::Program { BOX.to_owned() } else { "/".to_owned() }
        });
        if policy.files.root == RootKind::Empty {
            let nothing = self.request.inputs.is_empty();
            return if nothing { Ok(()) } else { Err(PlanError::NoPlaceForFiles) };
        }
        if policy.files.scratch == Scratch::None {
            self.steps.directories(BOX)?;
            let tmp = policy.files.tmp.then_some("/tmp");
            for directory in tmp.into_iter().chain([HOME]) {
                self.steps.directories(directory)?;
            }
            self.root.readable.push(BOX.into());
            return self.copy_inputs(BOX, false);
        }
        let noexec = if policy.files.scratch == Scratch::Noexec { ATTR_NOEXEC } else { 0 };
        let attributes = ATTR_NOSUID | ATTR_NODEV | noexec;
        self.steps.directories(SCRATCH)?;
        let (size, inodes) =
            (c_string(policy.limits.disk.0.to_string())?, c_string(policy.limits.inodes.to_string())?);
        let path = c_string(SCRATCH)?;
        self.steps.push(&Step::Tmpfs {
            path: &path,
            size: &size,
            inodes: &inodes,
            mode: c"0755",
            attributes,
        });
        let writes_work = policy.files.work == Work::Writable;
        let places: &[(&str, &str, u32)] = if self.denies() {
            // One place to write, with the temporary directory in it.
            &[("box", BOX, 0o755), ("shm", SCRATCH, 0o1777)]
        } else {
            &[("box", BOX, 0o755), ("tmp", "/tmp", 0o1777), ("home", HOME, 0o700), ("shm", SCRATCH, 0o1777)]
        };
        let places = || places.iter().copied().filter(|(name, ..)| *name != "tmp" || policy.files.tmp);
        for (directory, _, mode) in places() {
            let inside = format!("{SCRATCH}/{directory}");
            self.steps.directories_with_mode(&inside, mode)?;
            if directory == "box" {
                self.copy_inputs(&inside, writes_work)?;
                if self.denies() {
                    self.steps.directories_with_mode(&format!("{inside}/tmp"), 0o700)?;
                    self.own(&format!("{inside}/tmp"))?;
                }
            }
            if directory != "box" || writes_work {
                self.own(&inside)?;
            }
        }
        for (directory, path, _) in places() {
            self.steps.directories(path)?;
            let source = c_string(format!("{SCRATCH}/{directory}"))?;
            self.steps.push(&Step::BindInside { source: &source, path: &c_string(path)?, attributes });
            if path != BOX || writes_work {
                self.root.writable.push(path.to_owned());
            } else {
                self.root.readable.push(path.to_owned());
                if self.denies() {
                    self.root.writable.push(format!("{BOX}/tmp"));
                }
            }
        }
        self.root.hands_out_box = true;
        self.steps.push(&Step::PassDirectory { path: c"/box" });
        Ok(())
    }

    fn copy_inputs(&mut self, directory: &str, own: bool) -> Result<(), PlanError> {
        for index in 0..self.root.inputs.len() {
            let Some(input) = self.root.inputs.get(index) else { break };
            let (name, mode) = (input.name().to_string(), if input.executable() { 0o755 } else { 0o644 });
            let path = format!("{directory}/{name}");
            self.own_parents(directory, &name, own)?;
            let seat = Seat(FIRST_FREE + u32::try_from(index).unwrap_or(u32::MAX));
            self.steps.push(&Step::Copy { seat, path: &c_string(path.as_str())?, mode });
            if own {
                self.own(&path)?;
            }
        }
        Ok(())
    }

    fn own_parents(&mut self, directory: &str, name: &str, own: bool) -> Result<(), PlanError> {
        for (at, _) in name.match_indices('/') {
            let Some(parent) = name.get(..at) else { continue };
            let path = format!("{directory}/{parent}");
            if !self.steps.has_directory(&path) {
                self.steps.directories_with_mode(&path, 0o755)?;
                // Where mounts that come later find it.
                self.steps.note_directory(&format!("{BOX}/{parent}"));
                if own {
                    self.own(&path)?;
                }
            }
        }
        Ok(())
    }

    /// As an ordinary user init and guest share the one id there is.
    fn own(&mut self, path: &str) -> Result<(), PlanError> {
        if self.privilege == Privilege::Root {
            let identity = &self.request.policy.identity;
            self.steps.push(&Step::Owner { path: &c_string(path)?, uid: identity.uid, gid: identity.gid });
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount) -> Result<(), PlanError> {
        let noexec = if mount.exec { 0 } else { ATTR_NOEXEC };
        let read_only = if mount.writable { 0 } else { ATTR_RDONLY };
        let attributes = ATTR_NOSUID | ATTR_NODEV | noexec | read_only;
        match mount.kind {
            MountKind::Bind => self.bind(mount, attributes),
            MountKind::Tmpfs => self.tmpfs(mount, attributes & !ATTR_RDONLY),
            MountKind::Symlink => {
                self.covers.nothing_of_the_host(&mount.dst)?;
                self.covers.add(&mount.dst, Cover::Link);
                self.steps.symlink(&mount.dst, mount.src.as_deref().unwrap_or_default())
            }
            MountKind::File => {
                self.covers.nothing_of_the_host(&mount.dst)?;
                self.root.readable.push(mount.dst.clone());
                self.root.plain_files.insert(mount.dst.clone());
                self.steps.file(&mount.dst, 0o644, mount.content.as_deref().unwrap_or_default().as_bytes())
            }
            MountKind::Proc => Ok(()),
        }
    }

    fn tmpfs(&mut self, mount: &Mount, attributes: u64) -> Result<(), PlanError> {
        self.mount_point(&mount.dst, true)?;
        let size = mount.size.unwrap_or(self.request.policy.limits.disk);
        let path = c_string(mount.dst.as_str())?;
        self.steps.push(&Step::Tmpfs {
            path: &path,
            size: &c_string(size.0.to_string())?,
            inodes: &c_string(self.request.policy.limits.inodes.to_string())?,
            mode: c"1777",
            attributes,
        });
        self.steps.hide_below(&mount.dst);
        self.covers.add(&mount.dst, Cover::Tmpfs);
        if mount.writable {
            self.root.writable.push(mount.dst.clone());
            if self.zero != Zero::Whole {
                // Whoever watches memory counts what is in it.
                self.steps.push(&Step::PassDirectory { path: &path });
            }
        } else {
            self.root.readable.push(mount.dst.clone());
            self.read_only_at_last.push(path);
        }
        Ok(())
    }

    fn bind(&mut self, mount: &Mount, attributes: u64) -> Result<(), PlanError> {
        let source = Path::new(mount.src.as_deref().unwrap_or_default());
        let metadata = match std::fs::metadata(source) {
            Ok(metadata) => metadata,
            Err(_) if mount.optional => return Ok(()),
            Err(error) => return Err(PlanError::MountSource { path: source.into(), source: error }),
        };
        if mount.dst == "/" {
            return self.whole_root(source, attributes);
        }
        let is_device = is_given_device(source, &metadata, &mount.dst)?;
        if is_zero(&metadata) && !self.gives_zero(&mount.dst) {
            return if mount.optional { Ok(()) } else { Err(devices::no_zero()) };
        }
        let attributes = if is_device { attributes & !ATTR_NODEV } else { attributes };
        let tree = HostTree::of_mount(source, attributes, mount, &metadata);
        self.host_tree(tree, &mount.dst, metadata.is_dir(), mount.optional)
    }

    /// A directory as the root: what is in it appears one by one, so that the root itself stays ours.
    fn whole_root(&mut self, source: &Path, attributes: u64) -> Result<(), PlanError> {
        let error = |error| PlanError::MountSource { path: source.into(), source: error };
        let mut entries = std::fs::read_dir(source)
            .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
            .map_err(error)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        let files = &self.request.policy.files;
        let has_own = |name: &std::ffi::OsStr| {
            (name == "proc" && files.proc != ProcMode::Absent) || (name == "dev" && files.dev)
        };
        for entry in entries.iter().filter(|entry| !has_own(&entry.file_name())) {
            let (host, path) = (entry.path(), Path::new("/").join(entry.file_name()));
            let kind = entry.file_type().map_err(error)?;
            if kind.is_symlink() {
                let target = std::fs::read_link(&host).map_err(error)?;
                self.covers.add(text(&path)?, Cover::Link);
                self.steps.symlink(text(&path)?, text(&target)?)?;
            } else if kind.is_dir() || kind.is_file() {
                self.host_tree(HostTree::new(&host, attributes), text(&path)?, kind.is_dir(), false)?;
            }
        }
        Ok(())
    }

    fn proc(&mut self) -> Result<(), PlanError> {
        let explicit = self.request.policy.files.mounts.iter().find(|mount| mount.kind == MountKind::Proc);
        let mode = self.request.policy.files.proc;
        let path = match (explicit, mode) {
            (Some(mount), _) => mount.dst.clone(),
            (None, ProcMode::Absent) => return Ok(()),
            (None, _) => "/proc".to_owned(),
        };
        self.steps.directories(&path)?;
        self.steps.push(&Step::Proc {
            path: &c_string(path.as_str())?,
            subset: true,
            hidepid: c"invisible",
            read_only: false,
            optional: explicit.is_none() && mode == ProcMode::Optional,
        });
        self.root.readable.push(path);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), PlanError> {
        if self.denies() {
            refusing::directories(self.steps)?;
        }
        self.steps.push(&Step::Pivot);
        for path in &self.read_only_at_last {
            self.steps.push(&Step::Attributes { path, attributes: READ_ONLY });
        }
        // A read-only root would answer EROFS where EACCES is asked for; modes and Landlock refuse instead.
        if !self.denies() {
            self.steps.push(&Step::Attributes { path: c"/", attributes: READ_ONLY });
        }
        Ok(())
    }
}

pub(super) fn text(path: &Path) -> Result<&str, PlanError> {
    path.to_str().ok_or_else(|| PlanError::NotUtf8 { path: path.into() })
}
