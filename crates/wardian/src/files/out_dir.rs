//! A directory of the host that collected files are written to.

use super::collect::{Found, Sink, SinkError};
use super::mime;
use crate::report::FileEntry;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What lies in the directory already may have been put there by an earlier guest, links included.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A host directory, open; files are written only beneath it, whatever it contains. A file of the same name is
/// replaced at once and whole, a link of that name replaced and not followed.
#[derive(Debug)]
pub struct OutDir {
    directory: OwnedFd,
    written: Vec<FileEntry>,
}

/// Why a directory, or a file in it, cannot be written.
#[derive(Debug, Error)]
pub enum OutDirError {
    /// Its parent is not there, or it cannot be created.
    #[error("cannot create directory {}: {source}", path.display())]
    Create {
        /// The host path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It is there and cannot be opened.
    #[error("cannot open directory {}: {source}", path.display())]
    Open {
        /// The host path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It is there and something else.
    #[error("{} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// It cannot be written to.
    #[error("cannot write to directory {}: {source}", path.display())]
    NotWritable {
        /// The host path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A step of writing a file failed.
    #[error("cannot {step} in the output directory: {source}")]
    Write {
        /// What failed.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl OutDirError {
    /// Whether the host takes no more, of whatever name.
    pub(super) fn is_hosts(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let OutDirError::Write { source, .. } = self else { return false };
        matches!(source.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
    }

    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            OutDirError::Create { path, source } if source.kind() == io::ErrorKind::NotFound => {
                path.parent().map(|parent| format!("create {} first", parent.display()))
            }
            _ => None,
        }
    }
}

impl OutDir {
    /// Opens `path`, which is created if only itself is missing. Links in `path` are the caller's and followed.
    ///
    /// # Errors
    /// If it cannot be created, is not a directory, or cannot be written to.
    pub fn open(path: &Path) -> Result<OutDir, OutDirError> {
        let owned = || path.to_owned();
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // A file system that is read-only, and one we may not write to, need not say that it exists.
            Err(_) if path.exists() => {}
            Err(error) => return Err(OutDirError::Create { path: owned(), source: error.into() }),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOTDIR) => return Err(OutDirError::NotDirectory(owned())),
            Err(error) => return Err(OutDirError::Open { path: owned(), source: error.into() }),
        };
        // Only creating a file tells: root passes every check of modes.
        Temporary::create(&directory, false)
            .map_err(|source| OutDirError::NotWritable { path: owned(), source })?;
        Ok(OutDir { directory, written: Vec::new() })
    }

    /// The files written, in their order, without their content.
    pub fn into_entries(self) -> Vec<FileEntry> {
        self.written
    }

    /// The directory in which a file of this path lies, created as far as it is missing.
    fn parent(&self, path: &[u8]) -> Result<OwnedFd, OutDirError> {
        let mut at = open_beneath(&self.directory, b".").map_err(failed("open a directory"))?;
        let mut components: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        components.pop();
        for name in components {
            let opened = match open_beneath(&at, name) {
                Err(Errno::NOENT) => {
                    // Another run may write to the same directory and be first.
                    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => open_beneath(&at, name),
                        Err(error) => return Err(failed("create a directory")(error)),
                    }
                }
                opened => opened,
            };
            at = opened.map_err(failed("open a directory"))?;
        }
        Ok(at)
    }
}

impl Sink for OutDir {
    fn take(&mut self, found: &Found<'_>) -> Result<(), SinkError> {
        within_file_size_limit(found.bytes).map_err(failed("write a file"))?;
        let parent = self.parent(found.path)?;
        let name = found.path.rsplit(|byte| *byte == b'/').next().unwrap_or(found.path);
        let mut temporary = Temporary::create(&parent, found.executable).map_err(failed("create a file"))?;
        copy(found.file, &mut temporary.file, found.bytes).map_err(failed("write a file"))?;
        let mut head = Vec::with_capacity(mime::HEAD);
        let length = found.bytes.min(mime::HEAD as u64);
        let mut file = found.file;
        file.rewind().and_then(|()| file.take(length).read_to_end(&mut head)).map_err(SinkError::Read)?;
        temporary.rename(name)?;
        self.written.push(FileEntry {
            path: found.shown.to_owned(),
            bytes: found.bytes,
            mime: mime::guess(found.path, &head).to_owned(),
            base64: None,
        });
        Ok(())
    }
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> OutDirError {
    move |error| OutDirError::Write { step, source: error.into() }
}

fn open_beneath(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(directory, OsStr::from_bytes(name), DIRECTORY, Mode::empty(), RESOLVE)
}

/// Beyond `RLIMIT_FSIZE`, a hole included, the kernel not only refuses but sends SIGXFSZ (`setrlimit(2)`), which
/// would kill us because of what a guest left.
fn within_file_size_limit(bytes: u64) -> Result<(), Errno> {
    match rustix::process::getrlimit(rustix::process::Resource::Fsize).current {
        Some(limit) if bytes > limit => Err(Errno::FBIG),
        _ => Ok(()),
    }
}

/// A file under a name nobody else uses, removed again unless it is renamed.
struct Temporary<'a> {
    directory: &'a OwnedFd,
    name: String,
    file: File,
    renamed: bool,
}

impl<'a> Temporary<'a> {
    /// The mode is the usual one, less the umask: nothing of the guest's mode but whether it is executable.
    fn create(directory: &'a OwnedFd, executable: bool) -> io::Result<Temporary<'a>> {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name = format!(".wardian-{:016x}", u64::from_ne_bytes(random));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
        let fd = rustix::fs::openat(directory, &name, flags, mode)?;
        Ok(Temporary { directory, name, file: fd.into(), renamed: false })
    }

    fn rename(mut self, name: &[u8]) -> Result<(), OutDirError> {
        rustix::fs::renameat(self.directory, &self.name, self.directory, OsStr::from_bytes(name))
            .map_err(failed("put a file in place"))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // It stays if the directory no longer lets us; the error that brought us here is the one to report.
            let _ = rustix::fs::unlinkat(self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Copies `bytes` bytes, leaving holes where the source has some (`lseek(2)`, `SEEK_DATA`).
fn copy(mut from: &File, to: &mut File, bytes: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let (start, end) = match next_data(from, at)? {
            Some((start, end)) if start < bytes => (start, end.min(bytes)),
            _ => break,
        };
        from.seek(io::SeekFrom::Start(start))?;
        to.seek(io::SeekFrom::Start(start))?;
        let copied = io::copy(&mut from.take(end - start), to)?;
        if copied < end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = end;
    }
    to.set_len(bytes)
}

/// The next range with data, from `at` on.
fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some((start, rustix::fs::seek(file, SeekFrom::Hole(start))?))),
        Err(Errno::NXIO) => Ok(None),
        // A file system without holes.
        Err(Errno::INVAL) => Ok(Some((at, u64::MAX))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_name_can_bring_about_is_not_the_hosts() {
        let write = |errno: Errno| OutDirError::Write { step: "write a file", source: errno.into() };
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS] {
            assert!(write(errno).is_hosts(), "{errno}");
        }
        for errno in [Errno::NAMETOOLONG, Errno::ISDIR, Errno::LOOP] {
            assert!(!write(errno).is_hosts(), "{errno}");
        }
    }
}
