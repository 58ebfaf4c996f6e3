//! nsjail's log: where the config wants it, in nsjail's words.

use crate::caller_fd;
use crate::run::Failure;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::SystemTime;
use wardian::compat::nsjail::{self, Ending, Log, LogLevel};
use wardian::files::shown;
use wardian::report::{Reason, Report, Verdict};

/// An open log.
pub(super) struct LogSink {
    /// None for standard error.
    file: Option<File>,
    level: LogLevel,
}

impl LogSink {
    pub(super) fn open(log: &Log) -> Result<LogSink, Failure> {
        let file = match (&log.file, log.fd) {
            (Some(path), _) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
                Some(file.map_err(|error| Failure::new(format!("`log_file`: `{path}`: {error}"), None))?)
            }
            (None, Some(number)) => {
                let hint = "leave it open for wardian: `9>>log` in a shell";
                let file = caller_fd::open(number);
                Some(file.map_err(|error| {
                    Failure::new(format!("`log_fd`: {number}: {error}"), Some(hint.into()))
                })?)
            }
            (None, None) => None,
        };
        Ok(LogSink { file, level: log.level })
    }

    /// The lines that tell how a run ended.
    pub(super) fn ended(&mut self, report: &Report, pid: u32, ending: Ending) {
        const SECOND: u64 = 1_000_000;
        if self.level > LogLevel::Info {
            return;
        }
        let now = SystemTime::now();
        if report.reason == Reason::WallTime {
            let (ran, limit) = (report.usage.wall_us / SECOND, report.limits.wall_us / SECOND);
            self.line(&nsjail::log_line(now, &nsjail::time_limit_message(pid, ran.max(limit), limit)));
        }
        // nsjail does not tell this end from any other SIGKILL.
        if report.verdict == Verdict::MemoryLimit || report.reason == Reason::CpuTime {
            self.line(&nsjail::log_line(now, &format!("pid={pid} {}", report.message)));
        }
        if let Some(message) = nsjail::ended_message(pid, ending) {
            self.line(&nsjail::log_line(now, &message));
        } else if self.file.is_some() {
            self.failed(&report.message);
        }
    }

    /// A failure; standard error has been told already.
    pub(super) fn failed(&mut self, message: &str) {
        if self.file.is_some() && self.level <= LogLevel::Error {
            self.line(&nsjail::error_line(SystemTime::now(), std::process::id(), &shown(message)));
        }
    }

    /// One write a line: other runs may share the file. A log that cannot be written stops nothing, as in nsjail.
    fn line(&mut self, text: &str) {
        let line = format!("{text}\n");
        let _ = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stderr().lock().write_all(line.as_bytes()),
        };
    }
}
