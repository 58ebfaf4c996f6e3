//! What most runs need whatever their options say, begun before the options are read: reading them takes half as
//! long as making the namespaces.

use crate::cap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use wardian::host::Host;
use wardian::sandbox::HeadStart;

/// Options of runs that make no namespaces, or other ones, or later.
const OTHERWISE: [&[u8]; 6] =
    [b"--warm", b"--explain-plan", b"--level", b"--nsjail-config", b"--help", b"-h"];

/// The host, and namespaces that are being made. Dropping it ends that.
pub(crate) struct Early {
    pub(super) host: Host,
    pub(super) head_start: HeadStart,
}

impl Early {
    /// Begins, if these words of the command line are those of a run that most likely wants namespaces: a wrong guess
    /// costs time and nothing else.
    pub(crate) fn begin(words: &[OsString]) -> Option<Early> {
        if !wants_namespaces(words) {
            return None;
        }
        // Whoever detects the host in earnest says what is wrong.
        let host = Host::detect_with(cap::from_environment().ok()?);
        let head_start = HeadStart::begin(&host);
        Some(Early { host, head_start })
    }
}

fn wants_namespaces(words: &[OsString]) -> bool {
    let Some((_, [command, options @ ..])) = words.split_first() else { return false };
    let mut options = options.iter().map(|word| word.as_bytes()).take_while(|word| *word != b"--");
    command == "run" && !options.any(|word| OTHERWISE.iter().any(|option| word.starts_with(option)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_with_namespaces_begin_early() {
        let wants = |line: &str| wants_namespaces(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(wants("wardian run x.py"));
        assert!(wants("wardian run --exec -- /bin/ls --help"));
        for line in
            ["wardian", "wardian serve", "wardian run --level=landlock x.py", "wardian run --warm x.py"]
        {
            assert!(!wants(line), "{line}");
        }
    }
}
