//! A bounded walk over a hostile tree, from held directory descriptors.

use super::collect::{CollectLimits, Reason};
use super::globs::{Globs, Progress};
use super::input::irregular;
use super::listing::Listing;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, openat2, statat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::{File, Permissions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

/// Nothing in the tree is followed out of it: see `openat2(2)`.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// As that, for a link that may be followed.
const RESOLVE_LINK: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);
/// Without NONBLOCK, a FIFO that takes a file's place would be waited for.
const READ: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);
const LIST_BUFFER: usize = 32 * 1024;
const ENTRIES_PER_LOOK_AT_THE_CLOCK: u64 = 1024;

/// Something that matched, or a directory that could not be searched.
pub(super) struct Visit {
    /// Relative to the root.
    pub(super) path: Vec<u8>,
    pub(super) what: Result<Regular, Reason>,
}

/// An open regular file.
pub(super) struct Regular {
    pub(super) file: File,
    pub(super) stat: Stat,
}

/// The walk: what matches, sorted by name in each directory, directories in their place.
pub(super) struct Walk<'a> {
    root: BorrowedFd<'a>,
    globs: &'a Globs,
    limits: &'a CollectLimits,
    started: Instant,
    stack: Vec<Frame>,
    /// The path of the directory on top of the stack, with `/` at the end unless it is the root.
    path: Vec<u8>,
    entries: u64,
    name_bytes: u64,
    /// The patterns that matched something, as bits.
    seen: u64,
    /// A limit is reached: no more directories are listed.
    full: bool,
    pending: Option<Visit>,
}

struct Frame {
    directory: OwnedFd,
    progress: Progress,
    names: Listing,
    path_len: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, globs: &'a Globs, limits: &'a CollectLimits) -> Walk<'a> {
        let mut walk = Walk {
            root,
            globs,
            limits,
            started: Instant::now(),
            stack: Vec::new(),
            path: Vec::new(),
            entries: 0,
            name_bytes: 0,
            seen: 0,
            full: false,
            pending: None,
        };
        // The guest may have taken away its own right to search the root.
        let opened = unlock(root, 0o500, Mode::RWXU).and_then(|()| open(root, c".", OFlags::DIRECTORY));
        let listed = opened.map_err(Reason::Open).and_then(|fd| walk.enter(fd, globs.start()));
        if let Err(reason) = listed {
            walk.pending = Some(Visit { path: b".".to_vec(), what: Err(reason) });
        }
        walk
    }

    /// The patterns nothing matched, if everything has been looked at.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = &'a str> {
        let globs = self.globs;
        globs.others(if self.full { u64::MAX } else { self.seen })
    }

    /// Lists a directory and puts it on the stack. When a limit is reached, what was listed so far is kept.
    fn enter(&mut self, directory: OwnedFd, progress: Progress) -> Result<(), Reason> {
        let mut names = Listing::default();
        let listed = self.list(&directory, &progress, &mut names);
        names.sort();
        let path_len = self.path.len();
        self.stack.push(Frame { directory, progress, names, path_len });
        listed
    }

    fn list(&mut self, directory: &OwnedFd, progress: &Progress, into: &mut Listing) -> Result<(), Reason> {
        let mut buffer: Vec<u8> = Vec::with_capacity(LIST_BUFFER);
        let mut list = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = list.next() {
            let entry = entry.map_err(Reason::List)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                self.full = true;
                return Err(Reason::TooManyEntries(self.limits.entries));
            }
            if self.entries.is_multiple_of(ENTRIES_PER_LOOK_AT_THE_CLOCK) && self.is_late() {
                self.full = true;
                return Err(Reason::TooLate(self.limits.time));
            }
            let next = self.globs.step(progress, name.to_bytes());
            let (matched, continues) = (self.globs.matched(&next), self.globs.continues(&next));
            if matched == 0 && !continues {
                continue;
            }
            let kind = kind(directory, name, entry.file_type());
            if kind != FileType::Directory {
                self.seen |= matched;
            }
            if !(if kind == FileType::Directory { continues } else { matched != 0 }) {
                continue;
            }
            self.name_bytes += name.to_bytes().len() as u64;
            if self.name_bytes > self.limits.name_bytes || !into.push(name, kind) {
                self.full = true;
                return Err(Reason::TooManyNameBytes(self.limits.name_bytes));
            }
        }
        Ok(())
    }

    fn descend(&mut self, name: &CStr) -> Result<(), Reason> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        if self.stack.len() > self.limits.depth {
            return Err(Reason::TooDeep(self.limits.depth));
        }
        let progress = self.globs.step(&frame.progress, name.to_bytes());
        let directory = open_directory(frame.directory.as_fd(), name).map_err(Reason::Open)?;
        self.path.extend_from_slice(name.to_bytes());
        self.path.push(b'/');
        self.enter(directory, progress)
    }

    fn is_late(&self) -> bool {
        self.started.elapsed() >= self.limits.time
    }

    fn late(&mut self) -> Visit {
        self.full = true;
        self.stack.clear();
        let mut path = std::mem::take(&mut self.path);
        path.pop();
        if path.is_empty() {
            path.push(b'.');
        }
        Visit { path, what: Err(Reason::TooLate(self.limits.time)) }
    }
}

impl Iterator for Walk<'_> {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        if let Some(visit) = self.pending.take() {
            return Some(visit);
        }
        loop {
            let late = self.is_late();
            let frame = self.stack.last_mut()?;
            self.path.truncate(frame.path_len);
            let Some((name, kind)) = frame.names.pop() else {
                self.stack.pop();
                continue;
            };
            if late {
                return Some(self.late());
            }
            let path = || [self.path.as_slice(), name.to_bytes()].concat();
            if kind != FileType::Directory {
                let path = path();
                let what = match kind {
                    FileType::Symlink if self.limits.links => open_linked(self.root, &path),
                    _ => open_regular(frame.directory.as_fd(), &name, kind),
                };
                return Some(Visit { path, what });
            }
            if self.full {
                continue;
            }
            let path = path();
            if let Err(reason) = self.descend(&name) {
                return Some(Visit { path, what: Err(reason) });
            }
        }
    }
}

/// The entry's type; not every file system says it in the listing.
fn kind(directory: &OwnedFd, name: &CStr, listed: FileType) -> FileType {
    if listed != FileType::Unknown {
        return listed;
    }
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat2(directory, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty(), RESOLVE)
}

/// A directory to list and search, whatever mode the guest gave it.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let path = open(parent, name, OFlags::PATH | OFlags::DIRECTORY)?;
    unlock(path.as_fd(), 0o500, Mode::RWXU)?;
    open(path.as_fd(), c".", OFlags::DIRECTORY)
}

/// Opens what was listed as a regular file. Others are never opened: opening alone can do something.
fn open_regular(directory: BorrowedFd<'_>, name: &CStr, listed: FileType) -> Result<Regular, Reason> {
    if let Some(kind) = irregular(listed) {
        return Err(Reason::Irregular(kind));
    }
    read_with(|flags| open(directory, name, flags))
}

/// Opens the regular file that a link leads to, below the root.
fn open_linked(root: BorrowedFd<'_>, path: &[u8]) -> Result<Regular, Reason> {
    read_with(|flags| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), RESOLVE_LINK)).map_err(
        |reason| match reason {
            Reason::Open(Errno::XDEV) => Reason::Irregular("a symbolic link that leads out of the directory"),
            Reason::Open(Errno::NOENT) => Reason::Irregular("a symbolic link that leads nowhere"),
            reason => reason,
        },
    )
}

/// Opens a file for reading if it is a regular one: looks at it first.
fn read_with(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<Regular, Reason> {
    let path = open(OFlags::PATH).map_err(Reason::Open)?;
    let stat = fstat(&path).map_err(Reason::Open)?;
    if let Some(kind) = irregular(FileType::from_raw_mode(stat.st_mode)) {
        return Err(Reason::Irregular(kind));
    }
    unlock(path.as_fd(), 0o400, Mode::RUSR | Mode::WUSR).map_err(Reason::Open)?;
    let fd = open(READ).map_err(Reason::Open)?;
    // The name is looked up twice; what counts is what is open now.
    let stat = fstat(&fd).map_err(Reason::Open)?;
    match irregular(FileType::from_raw_mode(stat.st_mode)) {
        Some(kind) => Err(Reason::Irregular(kind)),
        None => Ok(Regular { file: fd.into(), stat }),
    }
}

/// Adds `mode` to the file's if it is ours and `needed` is missing. `fchmod` takes no `O_PATH` descriptor; its name in
/// `/proc` leads to the very same file (`proc_pid_fd(5)`).
fn unlock(file: BorrowedFd<'_>, needed: u32, mode: Mode) -> Result<(), Errno> {
    let stat = fstat(file)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & needed == needed {
        return Ok(());
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(stat.st_mode & 0o777 | mode.as_raw_mode()))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
