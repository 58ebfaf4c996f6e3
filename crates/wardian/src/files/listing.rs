//! The names in one directory, kept as small as they are: a hostile one has very many.

use rustix::fs::FileType;
use std::ffi::{CStr, CString};

/// Names with their types, first in any order, then sorted. One name takes its own bytes and nine more.
#[derive(Default)]
pub(super) struct Listing {
    /// Every name with its final NUL.
    names: Vec<u8>,
    /// Where each begins. To be given out from the end.
    entries: Vec<Entry>,
}

struct Entry {
    start: u32,
    kind: FileType,
}

impl Listing {
    /// Adds a name; false if there is no room for it.
    #[must_use]
    pub(super) fn push(&mut self, name: &CStr, kind: FileType) -> bool {
        let Ok(start) = u32::try_from(self.names.len()) else { return false };
        self.names.extend_from_slice(name.to_bytes_with_nul());
        self.entries.push(Entry { start, kind });
        true
    }

    /// Sorts by the names' bytes.
    pub(super) fn sort(&mut self) {
        let names = &self.names;
        self.entries
            .sort_unstable_by(|one, other| name_at(names, other.start).cmp(name_at(names, one.start)));
    }

    /// Takes the first name out.
    pub(super) fn pop(&mut self) -> Option<(CString, FileType)> {
        let entry = self.entries.pop()?;
        Some((name_at(&self.names, entry.start).to_owned(), entry.kind))
    }
}

fn name_at(names: &[u8], start: u32) -> &CStr {
    let rest = usize::try_from(start).ok().and_then(|start| names.get(start..)).unwrap_or_default();
    CStr::from_bytes_until_nul(rest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_names_out_in_the_order_of_their_bytes() {
        let mut listing = Listing::default();
        for (name, kind) in [
            (c"b", FileType::Fifo),
            (c"\xff", FileType::Socket),
            (c"ab", FileType::Directory),
            (c"a", FileType::RegularFile),
            (c"a\n", FileType::Symlink),
        ] {
            assert!(listing.push(name, kind));
        }
        listing.sort();
        let taken: Vec<_> = std::iter::from_fn(|| listing.pop()).collect();
        let expected = [
            (c"a", FileType::RegularFile),
            (c"a\n", FileType::Symlink),
            (c"ab", FileType::Directory),
            (c"b", FileType::Fifo),
            (c"\xff", FileType::Socket),
        ];
        assert_eq!(taken, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 8);
    }
}
