//! Which program runs: the command line's, or the config file's.

use std::ffi::{OsStr, OsString};

use wardian_nsjail::NsjailConfig;

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program's path, used as it is: nsjail searches no `PATH`.
    pub path: OsString,
    /// Its arguments, the first of which is its name.
    pub argv: Vec<OsString>,
    /// Whether the path is the host's, opened outside, so that it need not exist inside.
    pub outside: bool,
}

/// Why no program can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Neither names one.
    #[error("nsjail config: no program: neither `exec_bin` nor a command after `--` is given")]
    Missing,
}

/// The program after `--` if there is one, else `exec_bin`; they are not combined, except that `exec_fd`
/// applies to both.
///
/// # Errors
/// [`CommandError::Missing`] if neither names a program.
pub fn command(config: &NsjailConfig, after_dashes: &[OsString]) -> Result<Command, CommandError> {
    let exe = config.exec_bin.as_ref();
    let outside = exe.is_some_and(|exe| exe.exec_fd());
    if let [path, ..] = after_dashes {
        return Ok(Command { path: path.clone(), argv: after_dashes.to_vec(), outside });
    }
    let exe = exe.filter(|exe| !exe.path().is_empty()).ok_or(CommandError::Missing)?;
    let name = exe.arg0.as_deref().unwrap_or(exe.path());
    let argv = std::iter::once(name).chain(exe.arg.iter().map(String::as_str)).map(OsString::from).collect();
    Ok(Command { path: OsStr::new(exe.path()).to_owned(), argv, outside })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_nsjail::parse;

    fn os(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_wins_as_a_whole() {
        let config = parse("exec_bin { path: '/bin/bash' arg0: 'sh' arg: '-i' }").unwrap();
        let own = command(&config, &[]).unwrap();
        assert_eq!((own.path, own.argv, own.outside), ("/bin/bash".into(), os(&["sh", "-i"]), false));
        let other = command(&config, &os(&["python", "-Su", "hello.py"])).unwrap();
        assert_eq!((other.path, other.argv), ("python".into(), os(&["python", "-Su", "hello.py"])));
    }

    #[test]
    fn the_name_is_the_path_unless_said() {
        let config = parse("exec_bin { path: '/bin/id' exec_fd: true }").unwrap();
        let command = command(&config, &[]).unwrap();
        assert_eq!((command.argv, command.outside), (os(&["/bin/id"]), true));
    }

    #[test]
    fn some_program_must_be_named() {
        assert_eq!(command(&NsjailConfig::default(), &[]), Err(CommandError::Missing));
        let config = parse("exec_bin { path: '' arg0: 'x' }").unwrap();
        assert_eq!(command(&config, &[]), Err(CommandError::Missing));
    }
}
