//! The words of `wardian run`, as far as they are wardian's: the options before the program.

use crate::cli::Cli;
use clap::CommandFactory;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What can be told of the options when they cannot be read as a whole.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Words {
    /// Where the report is wanted.
    pub(super) report: Option<PathBuf>,
    /// Whether it is wanted on standard output.
    pub(super) json: bool,
    /// Whether it is in place of nsjail.
    pub(super) nsjail: bool,
    /// Where `-c` or `-m` is, after which the words are the program's.
    short: Option<usize>,
}

/// The command line, with `--` where the program's own arguments begin: as for Python, that is after the value of
/// `-c` or `-m`, and a `--help` there is not for wardian.
pub(crate) fn command_line() -> Vec<OsString> {
    let words: Vec<OsString> = std::env::args_os().collect();
    // Most command lines have neither, and need no second look.
    let has_short = words.iter().any(|word| matches!(word.as_bytes(), [b'-', b'c' | b'm', ..]));
    if has_short && words.get(1).is_some_and(|command| command == "run") { separated(words) } else { words }
}

/// The same for all words, the program's own name and `run` among them.
fn separated(mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = Words::of(words.get(2..).unwrap_or_default()).short.map(|at| at + 2) else { return words };
    let joined = words.get(at).map_or(0, |word| word.len()) > 2;
    if let Some(word) = words.get(at).cloned().filter(|_| joined) {
        // As in `-mjson.tool`, which would be taken for a program's name.
        let (flag, value) = word.as_bytes().split_at(2);
        words.splice(at..=at, [flag, value].map(|part| OsStr::from_bytes(part).to_owned()));
    }
    if words.get(at + 2).is_some_and(|next| next != "--") {
        words.insert(at + 2, "--".into());
    }
    words
}

impl Words {
    /// Reads the words after `run`, knowing only which options take a value.
    pub(super) fn of(words: &[OsString]) -> Words {
        let command = Cli::command();
        let takes_value = |long: &[u8]| {
            command.find_subcommand("run").into_iter().flat_map(clap::Command::get_opts).any(|option| {
                option.get_action().takes_values()
                    && option
                        .get_long_and_visible_aliases()
                        .is_some_and(|names| names.iter().any(|name| name.as_bytes() == long))
            })
        };
        let mut read = Words::default();
        let mut rest = words.iter().enumerate();
        while let Some((at, word)) = rest.next() {
            let bytes = word.as_bytes();
            let Some(long) = bytes.strip_prefix(b"--").filter(|long| !long.is_empty()) else {
                match bytes {
                    [b'-', b'c' | b'm', ..] => read.short = Some(at),
                    [b'-', _, ..] if bytes != b"--" => continue,
                    _ => {}
                }
                return read;
            };
            let mut parts = long.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default();
            let value = match parts.next() {
                Some(value) => Some(OsStr::from_bytes(value).to_owned()),
                None if takes_value(name) => rest.next().map(|(_, value)| value.clone()),
                None => None,
            };
            match name {
                b"report" => read.report = value.map(PathBuf::from),
                b"json" => read.json = true,
                b"nsjail-config" => read.nsjail = true,
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    fn of(text: &[&str]) -> Words {
        Words::of(&words(text))
    }

    #[test]
    fn the_report_is_found_among_wrong_options() {
        let here = |json, short| Words { report: Some("r".into()), json, short, ..Words::default() };
        assert_eq!(of(&["--wall", "-1", "--report", "r", "x.py"]), here(false, None));
        assert_eq!(of(&["--report=r", "--json", "--nope", "x.py"]), here(true, None));
        assert_eq!(of(&["--report", "r", "-c", "--json", "--report"]), here(false, Some(2)));
        assert!(of(&["--nsjail-config", "x.cfg", "--wall", "1x", "--", "y"]).nsjail);
    }

    #[test]
    fn values_and_what_follows_the_program_are_not_options() {
        for words in [&["--env", "--json", "x.py"][..], &["x.py", "--report", "r"], &["--", "--report", "r"]]
        {
            assert_eq!(of(words), Words::default(), "{words:?}");
        }
    }

    #[test]
    fn after_code_or_a_module_everything_is_the_programs() {
        for (typed, read) in [
            (&["-c", "x", "--json"][..], &["-c", "x", "--", "--json"][..]),
            (&["--cpu", "1", "-c", "-cx", "y"], &["--cpu", "1", "-c", "-cx", "--", "y"]),
            (&["-mpip", "--help"], &["-m", "pip", "--", "--help"]),
            (&["-c", "x", "--", "y"], &["-c", "x", "--", "y"]),
            (&["-c", "x"], &["-c", "x"]),
            (&["x.py", "-c", "y"], &["x.py", "-c", "y"]),
        ] {
            let whole = |text: &[&str]| words(&[&["wardian", "run"], text].concat());
            assert_eq!(separated(whole(typed)), whole(read));
        }
    }
}
