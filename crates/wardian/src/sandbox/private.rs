//! Level `landlock`: the private directory of a run, on the host's own file system.
//!
//! What a guest leaves there is hostile: removal goes by descriptors alone, follows nothing, and needs no more than a
//! few of them however deep directories are nested.

use super::SandboxError;
use crate::files::Input;
use crate::plan::InPlace;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Gid, Mode, OFlags, Uid, flock, fstat, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How the names of these directories begin.
pub(crate) const PREFIX: &str = "wardian-scratch-";
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A sweep may take a directory that is made but not locked yet for abandoned.
const ATTEMPTS: usize = 3;

/// A private directory: gone when this value is, or with the next sweep.
#[derive(Debug)]
pub(super) struct Private {
    path: PathBuf,
    /// Open, and locked: that is what keeps sweeps away.
    top: OwnedFd,
    /// Where programs start.
    work: OwnedFd,
}

impl Private {
    /// Makes it with the inputs in it, all the guest's own.
    ///
    /// # Errors
    /// The temporary directory is full, or not ours to write to.
    pub(super) fn make(
        plan: &InPlace,
        inputs: &[Input],
        owner: Option<u32>,
    ) -> Result<Private, SandboxError> {
        let failed = |error: io::Error| {
            SandboxError::at(format!("make the private directory {}", plan.top.display()))(error)
        };
        let top = make_locked(&plan.top, owner.is_some()).map_err(failed)?;
        let filled = fill(&top, plan, inputs, owner);
        match filled {
            Ok(work) => Ok(Private { path: plan.top.clone(), top, work }),
            Err(error) => {
                // The first error is the one to tell.
                let _ = remove(&plan.top, &top);
                Err(failed(error))
            }
        }
    }

    /// Where programs start, for what collects files.
    pub(super) fn work(&self) -> io::Result<OwnedFd> {
        self.work.try_clone()
    }

    /// The whole of it, for what measures it.
    pub(super) fn top(&self) -> io::Result<OwnedFd> {
        self.top.try_clone()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Nobody is left to tell: the next sweep finds what stays.
        let _ = remove(&self.path, &self.top);
    }
}

/// As root it stays root's own, and others may pass through, as the guest has to.
fn make_locked(path: &Path, is_root: bool) -> io::Result<OwnedFd> {
    let mode = if is_root { Mode::from_raw_mode(0o711) } else { Mode::RWXU };
    for _ in 0..ATTEMPTS {
        mkdirat(CWD, path, Mode::RWXU)?;
        let top = match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            top => top?,
        };
        // A sweep that has the lock lets go of it when the directory is gone: only then can there be a new one.
        retry_on_intr(|| flock(&top, FlockOperation::LockExclusive))?;
        if fstat(&top)?.st_nlink > 0 {
            rustix::fs::fchmod(&top, mode)?;
            return Ok(top);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn fill(top: &OwnedFd, plan: &InPlace, inputs: &[Input], owner: Option<u32>) -> io::Result<OwnedFd> {
    let work = directory(top, c"box", 0o700)?;
    for input in inputs {
        copy(&work, input, owner)?;
    }
    own(&work, owner)?;
    if plan.writable {
        for name in [c"home", c"tmp"] {
            own(&directory(top, name, 0o700)?, owner)?;
        }
    }
    Ok(work)
}

fn directory(above: &OwnedFd, name: &CStr, mode: u32) -> io::Result<OwnedFd> {
    match mkdirat(above, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(openat(above, name, DIRECTORY, Mode::empty())?)
}

fn own(file: &impl AsFd, owner: Option<u32>) -> io::Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    Ok(rustix::fs::fchown(file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?)
}

fn copy(work: &OwnedFd, input: &Input, owner: Option<u32>) -> io::Result<()> {
    let name = input.name();
    let mut above = work.try_clone()?;
    let (parents, file) = name.rsplit_once('/').unwrap_or(("", name));
    for parent in parents.split('/').filter(|part| !part.is_empty()) {
        above = directory(&above, &CString::new(parent)?, 0o755)?;
        own(&above, owner)?;
    }
    let mode = Mode::from_raw_mode(if input.executable() { 0o755 } else { 0o644 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = openat(&above, file, flags, mode)?;
    // The caller's umask has no say.
    rustix::fs::fchmod(&to, mode)?;
    own(&to, owner)?;
    let from = input.reopen().map_err(io::Error::other)?;
    io::copy(&mut File::from(from), &mut File::from(to)).map(drop)
}

/// Removes a private directory and all that is in it. Nothing may run there any more.
fn remove(path: &Path, top: &OwnedFd) -> io::Result<()> {
    // Every pass takes one level off; a directory inside another is first moved up, so that depth costs nothing.
    let mut next = 0u64;
    loop {
        let mut names = entries(top)?.peekable();
        if names.peek().is_none() {
            break;
        }
        names.try_for_each(|name| remove_entry(top, &name, &mut next))?;
    }
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

fn entries(directory: &impl AsFd) -> io::Result<impl Iterator<Item = CString>> {
    let names: Vec<CString> = Dir::read_from(directory)?
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect::<Result<_, _>>()?;
    Ok(names.into_iter().filter(|name| ![c".", c".."].contains(&name.as_c_str())))
}

fn remove_entry(top: &OwnedFd, name: &CStr, next: &mut u64) -> io::Result<()> {
    if !is_directory(top, name)? {
        return Ok(unlinkat(top, name, AtFlags::empty())?);
    }
    let inside = open_whatever_its_mode(top, name)?;
    for child in entries(&inside)? {
        if is_directory(&inside, &child)? {
            // A directory that moves must be writable itself.
            drop(open_whatever_its_mode(&inside, &child)?);
            move_up(&inside, &child, top, next)?;
        } else {
            unlinkat(&inside, &child, AtFlags::empty())?;
        }
    }
    Ok(unlinkat(top, name, AtFlags::REMOVEDIR)?)
}

/// Under a name that is free.
fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, next: &mut u64) -> io::Result<()> {
    loop {
        let free = format!(".removed-{next}");
        *next += 1;
        match statat(top, &*free, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(renameat(from, name, top, &*free)?),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_directory(above: &OwnedFd, name: &CStr) -> io::Result<bool> {
    let stat = statat(above, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn open_whatever_its_mode(above: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let path = openat(
        above,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // A descriptor of a path takes no fchmod; its link in /proc leads to this very directory.
    let link = format!("/proc/self/fd/{}", path.as_raw_fd());
    rustix::fs::chmod(&*link, Mode::RWXU)?;
    Ok(openat(above, name, DIRECTORY, Mode::empty())?)
}

/// Bytes and files of a tree that its owner may be changing; none if it cannot be seen to the end.
pub(super) fn measure(top: BorrowedFd<'_>, most_entries: u64) -> Option<(u64, u64)> {
    /// Deeper than that nothing honest nests.
    const DEEPEST: usize = 100;
    const BLOCK: u64 = 512;
    let open = |fd: BorrowedFd<'_>, name: &CStr| {
        openat(fd, name, DIRECTORY, Mode::empty()).ok().and_then(|fd| Dir::new(fd).ok())
    };
    let (mut bytes, mut count) = (0u64, 0u64);
    let mut stack = vec![open(top, c".")?];
    while let Some(directory) = stack.last_mut() {
        let Some(entry) = directory.read() else {
            stack.pop();
            continue;
        };
        // One that vanishes meanwhile needs no counting.
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let fd = directory.fd().ok()?;
        let Ok(stat) = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        count += 1;
        bytes = bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK));
        if count > most_entries || stack.len() > DEEPEST {
            return None;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let fd = stack.last()?.fd().ok()?;
            match openat(fd, name, DIRECTORY, Mode::empty()) {
                Ok(inner) => stack.push(Dir::new(inner).ok()?),
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {}
                // Its owner closed it to itself, and so to us: what is in there is not seen.
                Err(_) => return None,
            }
        }
    }
    Some((bytes, count))
}

/// Removes what killed supervisors left in the temporary directory; says what is gone.
///
/// A directory belongs to whoever holds its lock, and a killed process holds none.
pub fn sweep_scratch() -> Vec<PathBuf> {
    let temporary = std::env::temp_dir();
    let names = std::fs::read_dir(&temporary).into_iter().flatten().flatten();
    let ours = rustix::process::geteuid().as_raw();
    let mut gone = Vec::new();
    for entry in names.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let path = entry.path();
        let Ok(top) = openat(CWD, &path, DIRECTORY, Mode::empty()) else { continue };
        let is_ours = fstat(&top).is_ok_and(|stat| stat.st_uid == ours);
        if is_ours
            && flock(&top, FlockOperation::NonBlockingLockExclusive).is_ok()
            && remove(&path, &top).is_ok()
        {
            gone.push(path);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(directory: &Path) -> Private {
        let plan = InPlace { top: directory.join(format!("{PREFIX}test")), writable: true };
        Private::make(&plan, &[], None).unwrap()
    }

    #[test]
    fn whatever_is_in_it_goes() {
        let temporary = tempfile::tempdir().unwrap();
        let outside = temporary.path().join("outside");
        std::fs::write(&outside, "stays").unwrap();
        let private = private(temporary.path());
        let work = private.work().unwrap();
        std::os::unix::fs::symlink(&outside, private.path.join("box/link")).unwrap();
        std::os::unix::fs::symlink(temporary.path(), private.path.join("box/directory")).unwrap();
        mkdirat(&private.top, ".removed-0", Mode::RWXU).unwrap();
        let mut deep = work;
        for level in 0..2000 {
            let name = format!("{level}");
            mkdirat(&deep, &*name, Mode::RWXU).unwrap();
            std::fs::write(format!("/proc/self/fd/{}/file", deep.as_raw_fd()), "x").unwrap();
            let next = openat(&deep, &*name, DIRECTORY, Mode::empty()).unwrap();
            if level % 7 == 0 {
                rustix::fs::fchmod(&deep, Mode::empty()).unwrap();
            }
            deep = next;
        }
        let path = private.path.clone();
        assert_eq!(measure(private.top.as_fd(), 1 << 20), None, "deeper than what is followed");
        drop(private);
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "stays");
    }

    #[test]
    fn bytes_and_files_are_counted() {
        let temporary = tempfile::tempdir().unwrap();
        let private = private(temporary.path());
        let (_, before) = measure(private.top.as_fd(), 100).unwrap();
        std::fs::create_dir(private.path.join("box/a")).unwrap();
        std::fs::write(private.path.join("box/a/b"), vec![1u8; 1 << 20]).unwrap();
        File::open(private.path.join("box/a/b")).unwrap().sync_all().unwrap();
        let (bytes, count) = measure(private.top.as_fd(), 100).unwrap();
        assert_eq!(count, before + 2);
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
        assert_eq!(measure(private.top.as_fd(), 2), None);
    }

    #[test]
    fn a_sweep_that_comes_in_between_is_waited_for() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join(format!("{PREFIX}test"));
        let sweep_once = || {
            while !path.exists() {}
            let Ok(top) = openat(CWD, &path, DIRECTORY, Mode::empty()) else { return };
            if flock(&top, FlockOperation::NonBlockingLockExclusive).is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(1));
                let _ = remove(&path, &top);
            }
        };
        for _ in 0..200 {
            std::thread::scope(|scope| {
                scope.spawn(sweep_once);
                let top = make_locked(&path, false).unwrap();
                remove(&path, &top).unwrap();
                // Whoever has not seen it yet sees this one.
                let _ = mkdirat(CWD, &path, Mode::RWXU);
            });
            let _ = std::fs::remove_dir(&path);
        }
    }

    #[test]
    fn a_name_that_is_taken_is_an_error() {
        let temporary = tempfile::tempdir().unwrap();
        let first = private(temporary.path());
        let plan = InPlace { top: first.path.clone(), writable: false };
        let error = Private::make(&plan, &[], None).unwrap_err().to_string();
        assert!(error.contains("private directory"), "{error}");
        assert!(first.path.exists());
    }
}
