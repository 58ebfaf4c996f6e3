//! A file that the caller gives a run.

use super::path::{GuestName, PathError};
use rustix::fs::{FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// A regular file, open for reading, and its name in the guest's working directory.
///
/// Clones share one open file and so one offset: runs may go on at the same time. Whoever reads at the offset takes a
/// [`reopen`](Input::reopen)ed descriptor.
#[derive(Clone, Debug)]
pub struct Input {
    name: GuestName,
    bytes: u64,
    executable: bool,
    fd: Arc<OwnedFd>,
}

/// Why a file cannot be given to a run.
#[derive(Debug, Error)]
pub enum InputError {
    /// Nothing is at that path.
    #[error("there is no file `{}`", path.display())]
    Missing {
        /// The host path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It is there and we may not read it.
    #[error("cannot open `{}`: {source}", path.display())]
    Open {
        /// The host path.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A directory, FIFO, device or socket.
    #[error("`{}` is {kind}, not a regular file", path.display())]
    NotRegular {
        /// The host path.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Larger than allowed.
    #[error("`{}` has {bytes} bytes, more than the {max} allowed", path.display())]
    TooLarge {
        /// The host path.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most allowed.
        max: u64,
    },
    /// Its name cannot be one inside.
    #[error("cannot name `{}` inside: {source}", path.display())]
    Name {
        /// The host path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: PathError,
    },
    /// Content in memory could not be made a file, or an open file not be read again.
    #[error("cannot {step} input `{name}`: {source}")]
    Content {
        /// What failed.
        step: &'static str,
        /// The guest name.
        name: GuestName,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl InputError {
    /// Whether it is the request that is wrong, whatever lies on the host.
    pub fn is_usage(&self) -> bool {
        matches!(self, InputError::Name { .. } | InputError::TooLarge { .. })
    }

    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            InputError::NotRegular { kind: "a directory", .. } => {
                Some("name its files one by one, or mount the directory".into())
            }
            InputError::NotRegular { kind: "a FIFO", .. } => Some("write the content to a file first".into()),
            InputError::Name { source: PathError::NotUtf8(_), .. } => Some("give it a name inside".into()),
            _ => None,
        }
    }
}

impl Input {
    /// Opens `host`, which must be a regular file of at most `max` bytes. Inside it is called `name`, or as on the
    /// host. A FIFO or device is never waited for.
    ///
    /// # Errors
    /// If it is missing, unreadable, not a regular file or too large, or the name is none.
    pub fn open(host: &Path, name: Option<&str>, max: u64) -> Result<Input, InputError> {
        let named = |source| InputError::Name { path: host.to_owned(), source };
        let name = match name {
            Some(name) => name.parse(),
            None => GuestName::try_from(host.file_name().unwrap_or_else(|| OsStr::new(""))),
        };
        let fd = open_file(host)?;
        let stat = rustix::fs::fstat(&fd)
            .map_err(|error| InputError::Open { path: host.to_owned(), source: error.into() })?;
        if let Some(kind) = irregular(FileType::from_raw_mode(stat.st_mode)) {
            return Err(InputError::NotRegular { path: host.to_owned(), kind });
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if bytes > max {
            return Err(InputError::TooLarge { path: host.to_owned(), bytes, max });
        }
        let executable = stat.st_mode & 0o111 != 0;
        Ok(Input { name: name.map_err(named)?, bytes, executable, fd: Arc::new(fd) })
    }

    /// A file of these bytes, kept in memory (`memfd_create(2)`) and sealed, so that nobody who gets the descriptor
    /// can change it.
    ///
    /// # Errors
    /// If the kernel gives no memory for it.
    pub fn from_bytes(name: GuestName, content: &[u8]) -> Result<Input, InputError> {
        let fd = memory_file(content).map_err(|source| InputError::Content {
            step: "make",
            name: name.clone(),
            source,
        })?;
        let bytes = content.len() as u64;
        Ok(Input { name, bytes, executable: false, fd: Arc::new(fd) })
    }

    /// Its path in the guest's working directory.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its size when it was opened.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether anybody may execute it.
    pub fn executable(&self) -> bool {
        self.executable
    }

    /// The file, open for reading; the offset is that of all clones.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The same file opened once more, with an offset of its own at the beginning.
    ///
    /// # Errors
    /// If `/proc` is not there, or we may no longer read the file.
    pub fn reopen(&self) -> Result<OwnedFd, InputError> {
        File::open(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
            .map(OwnedFd::from)
            .map_err(|source| self.failed("reopen", source))
    }

    fn failed(&self, step: &'static str, source: io::Error) -> InputError {
        InputError::Content { step, name: self.name.clone(), source }
    }
}

fn open_file(host: &Path) -> Result<OwnedFd, InputError> {
    // Without NONBLOCK, opening a FIFO waits for a writer, and some devices for a carrier.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let path = host.to_owned();
    match rustix::fs::open(host, flags, Mode::empty()) {
        Ok(fd) => Ok(fd),
        Err(error @ (Errno::NOENT | Errno::NOTDIR)) => {
            Err(InputError::Missing { path, source: error.into() })
        }
        Err(error) => {
            // A socket or a device without a driver cannot be opened at all, but named.
            let kind =
                rustix::fs::stat(host).ok().and_then(|stat| irregular(FileType::from_raw_mode(stat.st_mode)));
            Err(match kind {
                Some(kind) => InputError::NotRegular { path, kind },
                None => InputError::Open { path, source: error.into() },
            })
        }
    }
}

/// What a file is that is not a regular one.
pub(super) fn irregular(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice => Some("a character device"),
        FileType::BlockDevice => Some("a block device"),
        _ => Some("a file of unknown type"),
    }
}

fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create("wardian-input", flags)?);
    file.write_all(content)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    const MAX: u64 = 1000;

    fn content(fd: &OwnedFd) -> String {
        let mut text = String::new();
        File::from(fd.try_clone().unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn opens_a_regular_file_under_its_own_or_a_given_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.py");
        fs::write(&path, "print()").unwrap();
        let input = Input::open(&path, None, 7).unwrap();
        assert_eq!((input.name(), input.bytes(), input.executable()), ("a.py", 7, false));
        assert_eq!(content(input.fd()), "print()");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let input = Input::open(&path, Some("lib/b.py"), MAX).unwrap();
        assert_eq!((input.name(), input.executable()), ("lib/b.py", true));
    }

    #[test]
    fn says_why_it_opens_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::write(at("large"), "12345678").unwrap();
        let error = |path: &Path| Input::open(path, Some("x"), 7).unwrap_err().to_string();
        let shown = |name: &str| format!("`{}`", at(name).display());
        assert_eq!(error(&at("none")), format!("there is no file {}", shown("none")));
        assert_eq!(error(&at("large")), format!("{} has 8 bytes, more than the 7 allowed", shown("large")));
        assert_eq!(error(&at("fifo")), format!("{} is a FIFO, not a regular file", shown("fifo")));
        assert_eq!(error(&at("socket")), format!("{} is a socket, not a regular file", shown("socket")));
        assert_eq!(error(&at("")), format!("{} is a directory, not a regular file", shown("")));
        assert_eq!(error(Path::new("/dev/null")), "`/dev/null` is a character device, not a regular file");
    }

    #[test]
    fn refuses_names_that_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "").unwrap();
        for name in ["../a", "/a", "", "a//b"] {
            assert!(matches!(Input::open(&path, Some(name), MAX), Err(InputError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn content_in_memory_is_sealed_and_read_by_everybody() {
        let input = Input::from_bytes("a/b".parse().unwrap(), b"hello").unwrap();
        assert_eq!((input.name(), input.bytes()), ("a/b", 5));
        assert_eq!(rustix::io::write(input.fd(), b"x"), Err(Errno::PERM));
        let (one, other) = (input.reopen().unwrap(), input.reopen().unwrap());
        assert_eq!((content(&one), content(&other)), ("hello".into(), "hello".into()));
    }
}
