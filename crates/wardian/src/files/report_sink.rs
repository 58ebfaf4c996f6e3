//! Collected files in the report itself.

use super::collect::{Found, Sink, SinkError};
use super::mime;
use crate::report::FileEntry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Read;

/// Keeps content in memory, as the report carries it, up to a number of bytes.
#[derive(Debug)]
pub struct ReportSink {
    entries: Vec<FileEntry>,
    left: u64,
}

impl ReportSink {
    /// Holds `max` bytes of content, counted before base64.
    pub fn new(max: u64) -> ReportSink {
        ReportSink { entries: Vec::new(), left: max }
    }

    /// The files taken, in their order.
    pub fn into_entries(self) -> Vec<FileEntry> {
        self.entries
    }
}

impl Sink for ReportSink {
    fn take(&mut self, found: &Found<'_>) -> Result<(), SinkError> {
        let Some(left) = self.left.checked_sub(found.bytes) else {
            return Err(SinkError::ReportFull);
        };
        let mut content = Vec::new();
        let mut file = found.file;
        file.by_ref().take(found.bytes).read_to_end(&mut content).map_err(SinkError::Read)?;
        let head = content.get(..mime::HEAD).unwrap_or(&content);
        self.entries.push(FileEntry {
            path: found.shown.to_owned(),
            bytes: content.len() as u64,
            mime: mime::guess(found.path, head).to_owned(),
            base64: Some(STANDARD.encode(&content)),
        });
        self.left = left;
        Ok(())
    }
}
