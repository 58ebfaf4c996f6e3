//! `--report FILE`: checked before the run, complete or not there after it.

use super::Failure;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the report will be.
pub(super) struct ReportFile {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A regular file: written beside it, then renamed.
    Beside { temporary: PathBuf, target: PathBuf, file: File, done: bool },
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
                beside(path.canonicalize().map_err(|error| fail(&error))?).map_err(|error| fail(&error))?
            }
            Err(_) => beside(path.into()).map_err(|error| fail(&error))?,
        };
        Ok(ReportFile { path: path.into(), place })
    }

    pub(super) fn write(
        &mut self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let written = match &mut self.place {
            Place::Open(file) => fill(file),
            Place::Beside { temporary, target, file, done } => {
                let written = fill(file);
                let placed = written.and_then(|()| std::fs::rename(temporary, target));
                *done = placed.is_ok();
                placed
            }
        };
        written.map_err(|error| cannot_write(&self.path, &error))
    }
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let hint = "name a file in a directory that exists and that you may write to";
    Failure::new(
        format!("`--report {}`: cannot write the report: {error}", path.display()),
        Some(hint.into()),
    )
}

fn beside(target: PathBuf) -> io::Result<Place> {
    let name = target.file_name().ok_or_else(|| io::Error::other("it names no file"))?.to_string_lossy();
    let temporary = target.with_file_name(format!(".{name}.{}", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&temporary)?;
    Ok(Place::Beside { temporary, target, file, done: false })
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if let Place::Beside { temporary, done: false, .. } = &self.place {
            // Nothing more can be done about a leftover than to try.
            let _ = std::fs::remove_file(temporary);
        }
    }
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
    fn a_report_that_is_never_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(ReportFile::create(&directory.path().join("file")));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }
}
