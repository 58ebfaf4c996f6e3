//! Answers of interpreters, kept where no other user can write, until something of theirs changes.

use super::layout::{self, Interpreter};
use super::probe;
use super::start::{self, Hook, Start};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, openat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const LONGEST_ENTRY: u64 = 1 << 20;

/// Of the scripts whose answers an entry holds and of the code that reads them (FNV-1a); known to the compiler.
const SCRIPTS: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let scripts = [
        probe::PROBE,
        start::BUILD,
        start::HOOK,
        start::CHECK,
        include_str!("layout.rs"),
        include_str!("needs.rs"),
        include_str!("data.rs"),
    ];
    let mut script = 0;
    while script < scripts.len() {
        let text = scripts[script].as_bytes();
        let mut at = 0;
        while at < text.len() {
            hash = (hash ^ text[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        script += 1;
    }
    hash
};

/// What is kept: one line of JSON, and after it the hook if there is one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Of this program: an entry of another version of it may mean something else.
    wardian: String,
    scripts: u64,
    stamps: Vec<Stamp>,
    interpreter: Interpreter,
}

/// What a place looked like.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    device: u64,
    bytes: u64,
    modified_ns: i128,
}

/// From the cache if nothing has changed, else asked anew; a cache that cannot be used is not an error.
pub(super) fn interpreter(executable: &Path) -> Result<Interpreter, String> {
    let directory = directory();
    let name = name_of(executable);
    if let Some(directory) = &directory {
        if let Some(kept) = kept(directory, &name, executable) {
            return Ok(kept);
        }
        // Of many runs that begin at once one asks, and the others wait for its answer. Until the directory is closed.
        if flock(directory, FlockOperation::LockExclusive).is_ok()
            && let Some(kept) = kept(directory, &name, executable)
        {
            return Ok(kept);
        }
    }
    let answer = probe::ask(executable)?;
    if answer.implementation != "cpython" {
        return Err(format!("is {}, not CPython", answer.implementation));
    }
    let is_known = super::find::is_supported(&answer.version);
    let mut interpreter = layout::lay_out(executable, answer);
    if is_known {
        let (start, sources) = start::make(&interpreter);
        interpreter.start = start;
        interpreter.watched.extend(sources);
    }
    if let Some(directory) = directory {
        let stamps = stamps(&interpreter.watched);
        let entry = Entry {
            wardian: env!("CARGO_PKG_VERSION").into(),
            scripts: SCRIPTS,
            stamps,
            interpreter: interpreter.clone(),
        };
        store(&directory, &name, &entry);
    }
    Ok(interpreter)
}

fn kept(directory: &OwnedFd, name: &str, executable: &Path) -> Option<Interpreter> {
    let Entry { interpreter, stamps: then, .. } = load(directory, name)?;
    (interpreter.executable == executable && then == stamps(&interpreter.watched)).then_some(interpreter)
}

/// Of the path and of what wrote the entry: several versions of this program may share a directory.
fn name_of(executable: &Path) -> String {
    let digest = Sha256::new()
        .chain_update(SCRIPTS.to_le_bytes())
        .chain_update(env!("CARGO_PKG_VERSION"))
        .chain_update([0])
        .chain_update(executable.as_os_str().as_bytes())
        .finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).chain([".entry".to_owned()]).collect()
}

fn stamps(watched: &[PathBuf]) -> Vec<Stamp> {
    watched.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(metadata) => Stamp {
            inode: metadata.ino(),
            device: metadata.dev(),
            bytes: metadata.len(),
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        },
        Err(_) => Stamp { inode: 0, device: 0, bytes: 0, modified_ns: 0 },
    }
}

/// Our cache directory; none if it is not ours alone.
fn directory() -> Option<OwnedFd> {
    let path = if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/cache/wardian")
    } else {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?.join("wardian")
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::open(&path, flags, Mode::empty());
    let directory = match open() {
        Err(rustix::io::Errno::NOENT) => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).ok()?;
            open().ok()?
        }
        answer => answer.ok()?,
    };
    is_ours(&directory).then_some(directory)
}

/// Owned by us, and writable by nobody else.
fn is_ours(fd: &OwnedFd) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    fstat(fd).is_ok_and(|stat| {
        stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & OTHERS_WRITE == 0
    })
}

fn load(directory: &OwnedFd, name: &str) -> Option<Entry> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(directory, name, flags, Mode::empty()).ok().filter(is_ours)?;
    let file = fs::File::from(file);
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata().ok()?.len()).ok()?);
    file.take(LONGEST_ENTRY).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let mut entry: Entry = serde_json::from_slice(bytes.get(..end)?).ok()?;
    if let Start::Trimmed(hook) = &mut entry.interpreter.start {
        bytes.drain(..=end);
        *hook = Hook(bytes);
        // With an empty one nothing would start.
        (!hook.0.is_empty()).then_some(())?;
    }
    (entry.wardian == env!("CARGO_PKG_VERSION") && entry.scripts == SCRIPTS).then_some(entry)
}

/// Written beside and renamed, so that nobody reads half an entry; failure only costs the next run its time.
fn store(directory: &OwnedFd, name: &str, entry: &Entry) {
    let Ok(mut bytes) = serde_json::to_vec(entry) else { return };
    bytes.push(b'\n');
    if let Start::Trimmed(hook) = &entry.interpreter.start {
        bytes.extend_from_slice(&hook.0);
    }
    let temporary = format!("{name}.{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, &temporary, flags, Mode::RUSR | Mode::WUSR) else { return };
    let written = fs::File::from(file).write_all(&bytes);
    let placed = written.is_ok() && rustix::fs::renameat(directory, &temporary, directory, name).is_ok();
    if !placed {
        let _ = rustix::fs::unlinkat(directory, &temporary, rustix::fs::AtFlags::empty());
    }
    prune(directory);
}

/// Environments come and go: the oldest entries go too.
fn prune(directory: &OwnedFd) {
    const MOST_ENTRIES: usize = 64;
    let Ok(entries) = rustix::fs::Dir::read_from(directory) else { return };
    let mut aged: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let stat =
                rustix::fs::statat(directory, entry.file_name(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                    .ok()?;
            let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
            is_file.then(|| ((stat.st_mtime, stat.st_mtime_nsec), entry.file_name().to_owned()))
        })
        .collect();
    aged.sort();
    let surplus = aged.len().saturating_sub(MOST_ENTRIES);
    for (_, name) in aged.into_iter().take(surplus) {
        let _ = rustix::fs::unlinkat(directory, name, rustix::fs::AtFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PYTHON: &str = "/usr/bin/python3";

    /// Asks from so many threads at once about an interpreter that is new, and counts how often it was started.
    fn starts(threads: usize) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let (script, count) = (dir.path().join("python3"), dir.path().join("count"));
        let text = format!("#!/bin/sh\necho >>{}\nexec {PYTHON} \"$@\"\n", count.display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| interpreter(&script).unwrap());
            }
        });
        fs::read_to_string(count).unwrap().lines().count()
    }

    #[test]
    fn many_at_once_ask_once() {
        if !Path::new(PYTHON).exists() || directory().is_none() {
            eprintln!("SKIP many_at_once_ask_once: no {PYTHON}, or no cache directory");
            return;
        }
        assert_eq!(starts(4), starts(1));
    }
}
