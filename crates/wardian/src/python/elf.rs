//! The little of ELF (elf(5)) that tells how a program starts: its dynamic loader.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const READ: u64 = 64 << 10;
const PT_INTERP: u32 = 3;

/// The loader that a program names; none for a static one, or for what is no 64-bit little-endian ELF file.
pub(crate) fn interpreter(program: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(program).ok()?.take(READ).read_to_end(&mut start).ok()?;
    parse(&start)
}

fn parse(file: &[u8]) -> Option<PathBuf> {
    const ELF64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
    if !file.starts_with(ELF64_LITTLE) {
        return None;
    }
    let table = usize::try_from(u64_at(file, 32)?).ok()?;
    let (size, count) = (usize::from(u16_at(file, 54)?), usize::from(u16_at(file, 56)?));
    for index in 0..count {
        let header = file.get(table.checked_add(index.checked_mul(size)?)?..)?;
        if u32::from_le_bytes(header.get(..4)?.try_into().ok()?) == PT_INTERP {
            let (at, len) =
                (usize::try_from(u64_at(header, 8)?).ok()?, usize::try_from(u64_at(header, 32)?).ok()?);
            let text = file.get(at..at.checked_add(len)?)?;
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            return Some(PathBuf::from(OsStr::from_bytes(text))).filter(|path| path.is_absolute());
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_shell_names_its_loader() {
        let loader = interpreter(Path::new("/bin/sh")).expect("a dynamic /bin/sh");
        assert!(loader.to_string_lossy().contains("ld-linux"), "{}", loader.display());
    }

    #[test]
    fn broken_headers_are_no_program() {
        let mut header = b"\x7fELF\x02\x01".to_vec();
        header.resize(64, 0xff);
        for len in 0..header.len() {
            assert_eq!(parse(&header[..len]), None);
        }
        assert_eq!(parse(&header), None);
    }
}
