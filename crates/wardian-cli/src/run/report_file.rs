//! `--report FILE`: checked before the run, complete or not there after it.

use super::Failure;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the report will be: written beside, then renamed.
pub(super) struct ReportFile {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    done: bool,
}

impl ReportFile {
    pub(super) fn create(path: &Path) -> Result<ReportFile, Failure> {
        let fail = |error: &dyn std::fmt::Display| {
            Failure::new(format!("cannot write the report to `{}`: {error}", path.display()), None)
        };
        if path.is_dir() {
            return Err(fail(&"it is a directory"));
        }
        let name = path.file_name().ok_or_else(|| fail(&"it names no file"))?.to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&temporary)
            .map_err(|error| fail(&error))?;
        Ok(ReportFile { path: path.into(), temporary, file, done: false })
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.file.write_all(text.as_bytes());
        let placed = written.and_then(|()| std::fs::rename(&self.temporary, &self.path));
        self.done = placed.is_ok();
        placed.map_err(|error| {
            Failure::new(format!("cannot write the report to `{}`: {error}", self.path.display()), None)
        })
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if !self.done {
            // Nothing more can be done about a leftover than to try.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}
