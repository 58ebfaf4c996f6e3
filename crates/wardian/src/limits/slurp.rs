//! Reads a file of the kernel's, which has no size and is written anew for every read.

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Up to `most` bytes of `file`, in as few reads as `expected` bytes allow: the standard library starts with 32
/// bytes, and the kernel formats a long list again for each read.
pub(crate) fn slurp(dir: impl AsFd, file: &str, expected: usize, most: usize) -> Result<Vec<u8>, Errno> {
    let fd = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = vec![0; expected.min(most)];
    let mut len = 0;
    loop {
        match rustix::io::read(&fd, &mut content[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if len == content.len() {
            if len >= most {
                break;
            }
            content.resize((len * 2).min(most), 0);
        }
    }
    content.truncate(len);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;

    #[test]
    fn the_whole_up_to_a_bound() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("f");
        std::fs::write(&file, [b'x'; 1000]).unwrap();
        let file = file.to_str().unwrap();
        for expected in [1, 10, 999, 1000, 1001, 5000] {
            assert_eq!(slurp(CWD, file, expected, 4096).unwrap().len(), 1000);
            assert_eq!(slurp(CWD, file, expected, 300).unwrap().len(), 300);
        }
        assert_eq!(slurp(CWD, "/proc/self/none", 10, 10), Err(Errno::NOENT));
    }
}
