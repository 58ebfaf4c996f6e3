//! Memory that the children of a zygote would share: what one run writes there, all later ones could read.
//!
//! It is looked for from outside, in the kernel's own list (`proc_pid_smaps(5)`): a preloaded module cannot lie about it,
//! and a sandbox may have no `/proc`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;

use super::SandboxError;
use super::live::pid_of;

/// A mapping of the process that a child could write to, if need be after `mprotect`: as the kernel lists it.
pub(super) fn mapping_of(process: &OwnedFd) -> Result<Option<String>, SandboxError> {
    let pid = pid_of(process)?;
    let found = match File::open(format!("/proc/{pid}/smaps")) {
        Ok(smaps) => find(BufReader::new(smaps)),
        // A kernel without it does not say which could be written to: none is taken.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            File::open(format!("/proc/{pid}/maps")).and_then(|maps| find_any(BufReader::new(maps)))
        }
        Err(error) => Err(error),
    };
    found.map_err(SandboxError::at("look for shared memory of the zygote (/proc/PID/smaps)"))
}

/// In smaps each mapping's line is followed by facts, of which the last are flags: `sh`, it is shared, and `mw`, it may
/// be made writable.
fn find(smaps: impl BufRead) -> io::Result<Option<String>> {
    let mut mapping = String::new();
    for line in lines(smaps) {
        let line = line?;
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("VmFlags:") => {
                let flags: Vec<&str> = words.collect();
                if flags.contains(&"sh") && flags.contains(&"mw") {
                    return Ok(Some(mapping));
                }
            }
            Some(fact) if fact.ends_with(':') => {}
            _ => mapping = line,
        }
    }
    Ok(None)
}

/// In maps the second word says what may be done now, and at its end whether the mapping is shared.
fn find_any(maps: impl BufRead) -> io::Result<Option<String>> {
    let is_shared =
        |line: &String| line.split_ascii_whitespace().nth(1).is_some_and(|rights| rights.ends_with('s'));
    lines(maps).find(|line| line.as_ref().map_or(true, is_shared)).transpose()
}

/// A path may be no UTF-8; the kernel escapes a line's end in it.
fn lines(text: impl BufRead) -> impl Iterator<Item = io::Result<String>> {
    text.split(b'\n').map(|line| line.map(|line| String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &[u8] = b"\
7f00-7f10 r--s 00000000 fd:00 77 /usr/lib/gconv-modules.cache
Size:                 64 kB
VmFlags: rd mr me sh sd
7f20-7f30 rw-p 00000000 00:00 0 [heap]
VmFlags: rd wr mr mw me ac sd
7f40-7f50 r--s 00000000 00:01 9 /tmp/\xffmine: (deleted)
Size:                 64 kB
VmFlags: rd mr mw me sh sd
";

    #[test]
    fn what_can_be_made_writable_is_found() {
        let found = find(SMAPS).unwrap().unwrap();
        assert_eq!(found, "7f40-7f50 r--s 00000000 00:01 9 /tmp/\u{fffd}mine: (deleted)");
        let others = SMAPS.split(|byte| *byte == b'\n').take(5).collect::<Vec<_>>().join(&b'\n');
        assert_eq!(find(&*others).unwrap(), None);
    }

    #[test]
    fn without_flags_every_shared_one_is_found() {
        let maps = b"7f20-7f30 rw-p 00000000 00:00 0 [heap]\n7f00-7f10 r--s 00000000 fd:00 77 /usr/s\n";
        assert!(find_any(&maps[..]).unwrap().unwrap().starts_with("7f00"));
        assert_eq!(find_any(&maps[..39]).unwrap(), None);
    }
}
