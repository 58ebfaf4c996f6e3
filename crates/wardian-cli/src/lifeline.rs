//! A pipe whose other end somebody holds for as long as we are wanted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Calls `at_end`, on a thread of its own, when the pipe at `path` is closed.
///
/// # Errors
/// It cannot be opened, or watched; the error names it.
pub(crate) fn watch(path: &Path, at_end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("`--lifeline {}`: {error}", path.display()));
    let mut lifeline = File::open(path).map_err(named)?;
    let kind = lifeline.metadata().map_err(named)?.file_type();
    if !(kind.is_fifo() || kind.is_socket() || kind.is_char_device()) {
        return Err(named(io::Error::other("is no pipe, and would end at once")));
    }
    let watch = move || {
        // Whatever is written into it says that somebody is there.
        let _ = io::copy(&mut lifeline, &mut io::sink());
        at_end();
    };
    std::thread::Builder::new().name("lifeline".into()).spawn(watch).map(drop).map_err(named)
}
