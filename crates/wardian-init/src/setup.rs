//! Executing the plan's steps inside the new namespaces.

use crate::codec::List;
use crate::life::Failure;
use crate::message::Message;
use crate::plan::{Seat, Step};
use core::ffi::CStr;
use wardian_sys::mount::{self, MNT_DETACH};
use wardian_sys::{Errno, Fd, NewFd, Result, clone, file, process, socket};

/// Does every step in order; the first that fails ends the sandbox. `own` is a seat for what init keeps.
pub(crate) fn execute(
    steps: &List<'_, Step<'_>>,
    control: Fd,
    own: Seat,
) -> core::result::Result<(), Failure> {
    let mut setup = Setup { root: None, control, own };
    for (index, step) in (0u32..).zip(steps.iter()) {
        match setup.step(step) {
            Ok(()) => {}
            Err(errno) if is_optional(step) => {
                let message = Message::Degraded { step: index, errno: errno.0 };
                message.send(control, None).map_err(|errno| Failure { step: index, errno })?;
            }
            Err(errno) => return Err(Failure { step: index, errno }),
        }
    }
    Ok(())
}

fn is_optional(step: Step<'_>) -> bool {
    matches!(step, Step::Proc { optional: true, .. } | Step::Bind { optional: true, .. })
}

struct Setup {
    /// The mount that will be the root, while it is not yet.
    root: Option<NewFd>,
    control: Fd,
    own: Seat,
}

impl Setup {
    /// Where paths of the new root start.
    fn base(&self) -> Fd {
        self.root.as_ref().map_or(Fd::CWD, NewFd::fd)
    }

    fn step(&mut self, step: Step<'_>) -> Result<()> {
        let base = self.base();
        match step {
            Step::Identity { uid, gid, clear_groups } => process::become_user(uid, gid, clear_groups),
            Step::Hostname { name } => process::set_hostname(name.to_bytes()),
            Step::NewNetwork => process::unshare(clone::NEWNET),
            Step::LoopbackUp => socket::bring_loopback_up(),
            Step::NewCgroupRoot => process::unshare(clone::NEWCGROUP),
            Step::OomScore { text } => write_oom_score(text),
            Step::Root { size, inodes, mode } => self.new_root(size, inodes, mode),
            Step::Directory { path, mode } => file::mkdirat(base, relative(path), mode),
            // What something is attached to.
            Step::File { path, mode, content: [] } => file::mknodat(base, relative(path), mode),
            Step::File { path, mode, content } => {
                with_new_file(base, path, mode, |fd| file::write_all(fd, content))
            }
            Step::Copy { seat, path, mode } => {
                with_new_file(base, path, mode, |fd| file::copy_whole(seat.fd(), fd))
            }
            Step::Symlink { path, target } => file::symlinkat(target, base, relative(path)),
            Step::Owner { path, uid, gid } => file::chownat(base, relative(path), uid, gid),
            Step::Attach { seat, path } => {
                mount::attach(seat.fd(), base, relative(path))?;
                file::close(seat.fd())
            }
            Step::Bind { source, path, attributes, .. } => bind(Fd::CWD, source, base, path, attributes),
            Step::BindInside { source, path, attributes } => {
                bind(base, relative(source), base, path, attributes)
            }
            Step::Tmpfs { path, size, inodes, mode, attributes } => {
                let options = [(c"size", size), (c"nr_inodes", inodes), (c"mode", mode)];
                let tree = mount::new_filesystem(c"tmpfs", &options, attributes)?;
                attach_once(tree, base, path)
            }
            Step::Proc { path, subset, hidepid, read_only, .. } => {
                mount_proc(base, path, subset, hidepid, read_only)
            }
            Step::SlotsProc => self.make_proc_for_slots(),
            Step::PassDirectory { path } => self.pass_directory(path),
            Step::Pivot => self.pivot(),
            Step::Attributes { path, attributes } => mount::set_attributes_at(Fd::CWD, path, attributes),
        }
    }

    /// The new root is attached on top of the old one, where only its descriptor leads to it.
    fn new_root(&mut self, size: &CStr, inodes: &CStr, mode: &CStr) -> Result<()> {
        let options = [(c"size", size), (c"nr_inodes", inodes), (c"mode", mode)];
        let attributes = mount::ATTR_NOSUID | mount::ATTR_NODEV;
        let root = mount::new_filesystem(c"tmpfs", &options, attributes)?;
        mount::attach(root.fd(), Fd::CWD, c"/")?;
        // Every mode in the plan is meant as it stands.
        file::umask(0);
        self.root = Some(root);
        Ok(())
    }

    fn make_proc_for_slots(&self) -> Result<()> {
        let attributes = mount::ATTR_NOSUID | mount::ATTR_NODEV;
        let proc = mount::new_filesystem(c"proc", &[(c"subset", c"pid")], attributes)?;
        file::move_onto(proc.fd(), self.own.fd())
    }

    /// pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one and is detached.
    fn pivot(&mut self) -> Result<()> {
        let root = self.root.take().ok_or(Errno::PROTO)?;
        file::fchdir(root.fd())?;
        mount::pivot_root(c".", c".")?;
        mount::unmount(c".", MNT_DETACH)?;
        file::chdir(c"/")?;
        file::close(root.fd())
    }

    fn pass_directory(&self, path: &CStr) -> Result<()> {
        let flags = file::O_RDONLY | file::O_DIRECTORY | file::O_CLOEXEC | file::O_NOFOLLOW;
        let directory = file::openat(self.base(), relative(path), flags, 0)?;
        Message::Directory.send(self.control, Some(directory.fd()))?;
        file::close(directory.fd())
    }
}

/// A path of the new root as a path relative to its descriptor.
fn relative(path: &CStr) -> &CStr {
    match path.to_bytes_with_nul() {
        b"/\0" => c".",
        [b'/', rest @ ..] => CStr::from_bytes_with_nul(rest).unwrap_or(path),
        _ => path,
    }
}

fn bind(from: Fd, source: &CStr, base: Fd, path: &CStr, attributes: u64) -> Result<()> {
    let tree = mount::clone_tree(from, source)?;
    mount::set_attributes(tree.fd(), attributes)?;
    attach_once(tree, base, path)
}

fn attach_once(tree: NewFd, base: Fd, path: &CStr) -> Result<()> {
    mount::attach(tree.fd(), base, relative(path))?;
    file::close(tree.fd())
}

fn mount_proc(base: Fd, path: &CStr, subset: bool, hidepid: &CStr, read_only: bool) -> Result<()> {
    let options = [(c"hidepid", hidepid), (c"subset", c"pid")];
    let options = options.get(..if subset { 2 } else { 1 }).unwrap_or(&options);
    let attributes = mount::ATTR_NOSUID
        | mount::ATTR_NODEV
        | mount::ATTR_NOEXEC
        | if read_only { mount::ATTR_RDONLY } else { 0 };
    let tree = mount::new_filesystem(c"proc", options, attributes)?;
    attach_once(tree, base, path)
}

/// A new file; an existing one, a symbolic link included, is an error.
pub(crate) fn with_new_file(
    base: Fd,
    path: &CStr,
    mode: u32,
    fill: impl FnOnce(Fd) -> Result<()>,
) -> Result<()> {
    let flags = file::O_WRONLY | file::O_CREAT | file::O_EXCL | file::O_CLOEXEC | file::O_NOFOLLOW;
    let new = file::openat(base, relative(path), flags, mode)?;
    fill(new.fd())?;
    file::close(new.fd())
}

/// Through the host's /proc, while it is still there.
fn write_oom_score(text: &CStr) -> Result<()> {
    let score = file::openat(Fd::CWD, c"/proc/self/oom_score_adj", file::O_WRONLY | file::O_CLOEXEC, 0)?;
    file::write_all(score.fd(), text.to_bytes())?;
    file::close(score.fd())
}
