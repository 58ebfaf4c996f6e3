//! `--report FILE`: checked before the run, complete or not there after it.

use super::Failure;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the report will be.
pub(super) struct ReportFile {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A regular file: written beside it, then renamed.
    Beside(Beside),
    /// A device or a FIFO, which a rename would replace: written into.
    Open(File),
}

impl ReportFile {
    pub(super) fn create(path: &Path) -> Result<ReportFile, Failure> {
        let fail = |error: &dyn std::fmt::Display| cannot_write(path, error);
        let place = match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(fail(&"it is a directory")),
            Ok(there) if !there.is_file() => {
                Place::Open(OpenOptions::new().write(true).open(path).map_err(|error| fail(&error))?)
            }
            // What a link leads to is replaced, not the link.
            Ok(_) => {
                let real = path.canonicalize().map_err(|error| fail(&error))?;
                Place::Beside(Beside::create(&real).map_err(|error| fail(&error))?)
            }
            Err(_) => Place::Beside(Beside::create(path).map_err(|error| fail(&error))?),
        };
        Ok(ReportFile { path: path.into(), place })
    }

    pub(super) fn write(
        &mut self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let written = match &mut self.place {
            Place::Open(file) => fill(file),
            Place::Beside(beside) => beside.write(fill),
        };
        written.map_err(|error| cannot_write(&self.path, &error))
    }
}

/// A file beside the one that it will replace. The directory may be one that the program may write to: its names prove
/// nothing, only our descriptors do.
struct Beside {
    target: PathBuf,
    directory: OwnedFd,
    name: OsString,
    temporary: OsString,
    file: File,
}

impl Beside {
    fn create(target: &Path) -> io::Result<Beside> {
        let name = target.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory.unwrap_or(Path::new(".")), flags, Mode::empty())?;
        Beside::create_in(target, directory, name)
    }

    fn create_in(target: &Path, directory: OwnedFd, name: &OsStr) -> io::Result<Beside> {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let temporary = format!(".{}.{:016x}", name.to_string_lossy(), u64::from_ne_bytes(random));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &temporary, flags, Mode::from_raw_mode(0o666))?;
        Ok(Beside {
            target: target.into(),
            directory,
            name: name.into(),
            temporary: temporary.into(),
            file: file.into(),
        })
    }

    /// Once: afterwards the file has its own name.
    fn write(&mut self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        if !self.is_ours(&self.temporary) {
            *self = Beside::create_in(&self.target, self.directory.try_clone()?, &self.name)?;
        }
        fill(&mut self.file)?;
        let (from, to) = (&self.temporary, &self.name);
        rustix::fs::renameat_with(&self.directory, from, &self.directory, to, RenameFlags::empty())?;
        match self.is_ours(&self.name) && self.is_where_it_was_asked_for() {
            true => Ok(()),
            false => {
                Err(io::Error::other("another program writes to its directory, and put something else there"))
            }
        }
    }

    /// Its directory may be elsewhere by now, and another in its place.
    fn is_where_it_was_asked_for(&self) -> bool {
        match (std::fs::metadata(&self.target), self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        }
    }

    fn is_ours(&self, name: &OsStr) -> bool {
        let there = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        match (there, rustix::fs::fstat(&self.file)) {
            (Ok(there), Ok(ours)) => (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino),
            _ => false,
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.is_ours(&self.temporary) {
            // Nothing more can be done about a leftover than to try.
            let _ = rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty());
        }
    }
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let hint = "name a file in a directory that exists and that you may write to";
    Failure::new(
        format!("`--report {}`: cannot write the report: {error}", path.display()),
        Some(hint.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        ReportFile::create(path).ok().unwrap().write(|out| out.write_all(b"report")).ok().unwrap();
    }

    #[test]
    fn a_file_is_replaced_and_what_a_link_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::os::unix::fs::symlink("file", &link).unwrap();
        std::fs::write(&file, "a longer text from before").unwrap();
        write(&link);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "report");
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_file_is_written_into_and_stays_what_it_is() {
        use std::os::unix::fs::FileTypeExt;
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let reader = {
            let fifo = fifo.clone();
            std::thread::spawn(move || std::fs::read_to_string(fifo))
        };
        write(&fifo);
        assert_eq!(reader.join().unwrap().unwrap(), "report");
        assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
    }

    #[test]
    fn what_was_put_in_its_place_meanwhile_is_not_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("report");
        let mut report = ReportFile::create(&target).ok().unwrap();
        let temporary = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
        let moved = directory.path().with_extension("moved");
        std::fs::remove_file(&temporary).unwrap();
        std::fs::write(&temporary, "forged").unwrap();
        // Nor is a directory that is put in the place of its own: the report is not where it was asked for.
        std::fs::rename(directory.path(), &moved).unwrap();
        std::fs::create_dir(directory.path()).unwrap();
        let failure = report.write(|out| out.write_all(b"report")).unwrap_err();
        assert!(failure.text.contains("put something else there"), "{}", failure.text);
        drop(report);
        assert_eq!(std::fs::read_to_string(moved.join("report")).unwrap(), "report");
        assert_eq!(std::fs::read_to_string(moved.join(temporary.file_name().unwrap())).unwrap(), "forged");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir_all(moved).unwrap();
    }

    #[test]
    fn a_report_that_is_never_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(ReportFile::create(&directory.path().join("file")));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }
}
