//! `/etc/ld.so.cache`: which library the loader takes for which name. The format is glibc's own
//! (`sysdeps/generic/dl-cache.h`, struct cache_file_new).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const LARGEST: u64 = 16 << 20;
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The file as it is; what is not understood has no entries.
#[derive(Default)]
pub(super) struct LdCache(Vec<u8>);

impl LdCache {
    /// Reads it; without one the loader searches its default directories, and so do we.
    pub(super) fn open(path: &Path) -> LdCache {
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| {
            content.reserve(usize::try_from(file.metadata()?.len().min(LARGEST)).unwrap_or_default());
            file.take(LARGEST).read_to_end(&mut content)
        });
        LdCache(if read.is_ok() && content.starts_with(MAGIC) { content } else { Vec::new() })
    }

    /// Where a library of that name lies, in the order of the file; several for several architectures.
    pub(super) fn paths(&self, name: &[u8]) -> Vec<PathBuf> {
        let count = self.number(MAGIC.len()).unwrap_or(0);
        let entries = self.0.get(HEADER..).unwrap_or(&[]).chunks_exact(ENTRY);
        entries
            .take(count)
            .filter_map(|entry| {
                let at =
                    |offset: usize| Some(u32::from_le_bytes(entry.get(offset..offset + 4)?.try_into().ok()?));
                let rest = self.rest(at(4)?)?.strip_prefix(name)?;
                (rest.first() == Some(&0)).then(|| self.rest(at(8)?)?.split(|byte| *byte == 0).next())?
            })
            .map(|path| PathBuf::from(OsStr::from_bytes(path)))
            .filter(|path| path.is_absolute())
            .collect()
    }

    fn number(&self, at: usize) -> Option<usize> {
        let number = u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?);
        usize::try_from(number).ok()
    }

    /// From a text's beginning to the end of the file.
    fn rest(&self, at: u32) -> Option<&[u8]> {
        self.0.get(usize::try_from(at).ok()?..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_in_it() {
        let cache = Path::new("/etc/ld.so.cache");
        if !cache.exists() {
            eprintln!("SKIP: no /etc/ld.so.cache on this machine");
            return;
        }
        let paths = LdCache::open(cache).paths(b"libc.so.6");
        assert!(paths.iter().any(|path| path.is_file()), "{paths:?}");
        assert!(LdCache::open(cache).paths(b"libc.so").is_empty());
    }

    #[test]
    fn nonsense_has_no_entries() {
        let mut content = MAGIC.to_vec();
        content.extend([0xff; 60]);
        assert!(LdCache(content).paths(b"libc.so.6").is_empty());
        assert!(LdCache::default().paths(b"libc.so.6").is_empty());
    }
}
