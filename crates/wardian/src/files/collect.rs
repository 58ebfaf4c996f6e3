//! Collecting what matches from the working directory of a run that is over.

use super::escape::escape;
use super::globs::Globs;
use super::input::Input;
use super::out_dir::OutDirError;
use super::walk::{Regular, Walk};
use crate::report::OmittedFile;
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use thiserror::Error;

/// Longest path of an omitted file, in bytes as reports show it; any single name fits, at three bytes a byte.
const LONGEST_OMITTED: usize = 1024;

/// How much is collected, and how long it may take. What is beyond is reported as omitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectLimits {
    /// Files.
    pub files: usize,
    /// Bytes of one file, holes included.
    pub file_bytes: u64,
    /// Bytes of all files, holes included.
    pub total_bytes: u64,
    /// Bytes of all files, before base64, where the report carries them.
    pub report_bytes: u64,
    /// Directories inside one another below the root.
    pub depth: usize,
    /// Directory entries looked at.
    pub entries: u64,
    /// Bytes of names that match or may lead to some that do.
    pub name_bytes: u64,
    /// Bytes of the paths of all files, as reports show them.
    pub path_bytes: u64,
    /// Omitted files that are named; further ones are counted.
    pub omitted: usize,
    /// Time in which files are looked for; one being copied is finished.
    pub time: Duration,
    /// Whether a symbolic link to a regular file below the root counts as that file, under its own name.
    pub links: bool,
}

impl Default for CollectLimits {
    fn default() -> CollectLimits {
        CollectLimits {
            files: 1000,
            file_bytes: 1 << 30,
            total_bytes: 4 << 30,
            report_bytes: 8 << 20,
            depth: 64,
            entries: 200_000,
            // As many as the default inodes of the longest names.
            name_bytes: 4 << 20,
            path_bytes: 1 << 20,
            omitted: 100,
            time: Duration::from_secs(10),
            links: false,
        }
    }
}

/// What came of collecting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files the sink took.
    pub files: usize,
    /// What matched, or might have, and was not taken: the first [`CollectLimits::omitted`]. A path longer than
    /// 1024 bytes is cut and ends with `…`.
    pub omitted: Vec<OmittedFile>,
    /// How many more were not taken.
    pub omitted_more: u64,
    /// Patterns that nothing matched; none if not everything could be looked at.
    pub unmatched: Vec<String>,
}

/// A regular file that matched.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its path below the root: any bytes but NUL, without `.`, `..` and empty components.
    pub path: &'a [u8],
    /// The path as reports show it.
    pub shown: &'a str,
    /// The file, open for reading at its beginning.
    pub file: &'a File,
    /// Its size, holes included; never read more.
    pub bytes: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// Where files go.
pub trait Sink {
    /// Takes a file.
    ///
    /// # Errors
    /// If it cannot; the file is then reported as omitted, and the next is offered.
    fn take(&mut self, found: &Found<'_>) -> Result<(), SinkError>;
}

/// Why a sink did not take a file.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The report is full.
    #[error("larger than what a report holds; use --out")]
    ReportFull,
    /// It could not be read.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] OutDirError),
}

/// Why a file was not collected.
#[derive(Debug, Error)]
pub(super) enum Reason {
    #[error("{0}, not a regular file")]
    Irregular(&'static str),
    #[error("{}", cannot_open(*.0))]
    Open(Errno),
    #[error("cannot list it: {0}")]
    List(Errno),
    #[error("{}", too_deep(*.0))]
    TooDeep(usize),
    #[error("not searched further: more than {0} directory entries")]
    TooManyEntries(u64),
    #[error("not searched further: names of more than {0} bytes")]
    TooManyNameBytes(u64),
    #[error("not searched further: collecting took longer than {0:?}")]
    TooLate(Duration),
    #[error("more than {0} files")]
    TooManyFiles(usize),
    #[error("{bytes} bytes, more than the {max} a file may have")]
    TooLarge { bytes: u64, max: u64 },
    #[error("its path is longer than what is left of the {0} bytes for all paths")]
    PathsTooLong(u64),
    #[error("{bytes} bytes, more than is left of the {max} for all files")]
    TotalTooLarge { bytes: u64, max: u64 },
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// What is said of a directory that lies deeper than [`CollectLimits::depth`].
#[must_use]
pub fn too_deep(depth: usize) -> String {
    format!("deeper than {depth} directories")
}

fn cannot_open(error: Errno) -> String {
    match error {
        Errno::XDEV => "on another file system".into(),
        Errno::LOOP => "a symbolic link, not a regular file".into(),
        error => format!("cannot open it: {error}"),
    }
}

/// Offers the sink every regular file below `root` that matches, in a fixed order: by the bytes of the names, a
/// directory's files in its place. Call it when nobody writes below `root` any more.
///
/// Directories and files that are ours and refuse us are given the mode they need. Nothing is followed out of the
/// root: devices, FIFOs, sockets, other file systems, and links unless [`CollectLimits::links`] says otherwise, are
/// reported as omitted if they match. A directory
/// that cannot be read does not end it. What the caller has `given` and is as it was is not offered: every byte is
/// compared, since a file written through a mapping need not show it in its times (`mmap(2)`).
pub fn collect(
    root: BorrowedFd<'_>,
    globs: &Globs,
    limits: &CollectLimits,
    given: &[Input],
    sink: &mut dyn Sink,
) -> Collected {
    let mut collected = Collected::default();
    if globs.is_empty() {
        return collected;
    }
    let mut left = Left { bytes: limits.total_bytes, path_bytes: limits.path_bytes };
    let given: HashMap<&[u8], &Input> = given.iter().map(|input| (input.name().as_bytes(), input)).collect();
    let mut walk = Walk::new(root, globs, limits);
    for visit in &mut walk {
        let same = |regular: &Regular| given.get(&*visit.path).is_some_and(|input| is_same(input, regular));
        if visit.what.as_ref().is_ok_and(same) {
            continue;
        }
        let full = collected.files >= limits.files;
        if (full || visit.what.is_err()) && collected.omitted.len() >= limits.omitted {
            collected.omitted_more += 1;
            continue;
        }
        let shown = escape(&visit.path);
        let taken = visit.what.and_then(|regular| match full {
            true => Err(Reason::TooManyFiles(limits.files)),
            false => take(&regular, &visit.path, &shown, limits, &mut left, sink),
        });
        match taken {
            Ok(()) => collected.files += 1,
            Err(_) if collected.omitted.len() >= limits.omitted => collected.omitted_more += 1,
            Err(reason) => {
                let write_error =
                    matches!(&reason, Reason::Sink(SinkError::Write(error)) if error.is_hosts());
                let (path, reason) = (cut(shown), reason.to_string());
                collected.omitted.push(OmittedFile { path, reason, write_error });
            }
        }
    }
    collected.unmatched = walk.unmatched().map(str::to_owned).collect();
    collected
}

/// Whether a file's content is still what was given; if it cannot be read, it is not.
fn is_same(input: &Input, regular: &Regular) -> bool {
    const CHUNK: usize = 64 * 1024;
    if u64::try_from(regular.stat.st_size) != Ok(input.bytes()) {
        return false;
    }
    let Ok(given) = input.fd().try_clone().map(File::from) else { return false };
    let (mut before, mut after) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    loop {
        let Ok(count) = regular.file.read_at(&mut after, offset) else { return false };
        if count == 0 {
            return true;
        }
        let (Some(before), Some(after)) = (before.get_mut(..count), after.get(..count)) else { return false };
        if given.read_exact_at(before, offset).is_err() || before != after {
            return false;
        }
        offset += count as u64;
    }
}

/// What is left of the limits on all files together.
struct Left {
    bytes: u64,
    path_bytes: u64,
}

/// A path is up to [`CollectLimits::depth`] names long: nobody needs all of one that was not even collected.
fn cut(mut shown: String) -> String {
    if shown.len() > LONGEST_OMITTED {
        shown.truncate(shown.floor_char_boundary(LONGEST_OMITTED));
        shown.push('…');
        shown.shrink_to_fit();
    }
    shown
}

fn take(
    regular: &Regular,
    path: &[u8],
    shown: &str,
    limits: &CollectLimits,
    left: &mut Left,
    sink: &mut dyn Sink,
) -> Result<(), Reason> {
    let bytes = u64::try_from(regular.stat.st_size).unwrap_or(u64::MAX);
    if bytes > limits.file_bytes {
        return Err(Reason::TooLarge { bytes, max: limits.file_bytes });
    }
    let Some(rest) = left.bytes.checked_sub(bytes) else {
        return Err(Reason::TotalTooLarge { bytes, max: limits.total_bytes });
    };
    let Some(path_rest) = left.path_bytes.checked_sub(shown.len() as u64) else {
        return Err(Reason::PathsTooLong(limits.path_bytes));
    };
    let executable = regular.stat.st_mode & 0o100 != 0;
    sink.take(&Found { path, shown, file: &regular.file, bytes, executable })?;
    *left = Left { bytes: rest, path_bytes: path_rest };
    Ok(())
}
