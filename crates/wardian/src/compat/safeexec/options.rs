//! safeexec's command line.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--env_vars PY` stands for.
const PYTHON_VARIABLES: [(&str, &str); 3] =
    [("PYTHONIOENCODING", "utf-8"), ("PYTHONHOME", "/"), ("PYTHONPATH", "/static")];
/// The most variables `--env_vars` takes.
const MAX_VARIABLES: usize = 99;

/// Whom the program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uid {
    /// This number plus the supervisor's process id, so that no two runs share it.
    PlusPid(u32),
    /// This number, whatever else is said (of the fork that has `--uid`).
    Fixed(u32),
}

/// Where the report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportTo {
    /// Standard error.
    Stderr,
    /// A file, emptied first; relative to the caller's directory.
    File(PathBuf),
    /// An open descriptor.
    Fd(i32),
    /// Nowhere.
    Nowhere,
}

/// safeexec's options with its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// CPU time in seconds (1 and more).
    pub cpu_s: u64,
    /// Time on the clock in seconds (1 to 4,194,303).
    pub clock_s: u64,
    /// Memory in KiB (1 to 41,943,039).
    pub mem_kib: u64,
    /// Core dump in KiB; only 0 is accepted.
    pub core_kib: u64,
    /// Stack in KiB.
    pub stack_kib: u64,
    /// Bytes a file may grow to, in KiB.
    pub fsize_kib: u64,
    /// Processes beside the program itself.
    pub nproc: u32,
    /// Open files (to 1024).
    pub nfile: u64,
    /// Nice value (10 to 19).
    pub niceness: u8,
    /// Group id (1 to 65,535).
    pub gid: u32,
    /// User id.
    pub uid: Uid,
    /// The root directory.
    pub chroot_dir: Option<String>,
    /// The working directory, inside the root.
    pub exec_dir: Option<PathBuf>,
    /// The whole environment; none for the caller's.
    pub env_vars: Option<Vec<(String, String)>>,
    /// Where the report goes.
    pub report: ReportTo,
    /// The program's path, not searched for, and its arguments; at least one.
    pub command: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cpu_s: 10,
            clock_s: 60,
            mem_kib: 32_768,
            core_kib: 0,
            stack_kib: 8192,
            fsize_kib: 0,
            nproc: 0,
            nfile: 512,
            niceness: 16,
            gid: 1000,
            uid: Uid::PlusPid(10_000),
            chroot_dir: None,
            exec_dir: None,
            env_vars: None,
            report: ReportTo::Stderr,
            command: Vec::new(),
        }
    }
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// No such option.
    #[error("safeexec: `{}` is no option", option.display())]
    Unknown {
        /// What stands there.
        option: OsString,
    },
    /// An option without its value.
    #[error("safeexec: `{flag}` needs a value")]
    NoValue {
        /// The option.
        flag: &'static str,
    },
    /// A value that must be UTF-8 and is not.
    #[error("safeexec: `{flag}`: `{}` is not UTF-8", value.display())]
    NotUtf8 {
        /// The option.
        flag: &'static str,
        /// What it was given.
        value: OsString,
    },
    /// A value that is not a number in the option's range.
    #[error("safeexec: `{flag}`: `{}` is not a number from {min} to {max}", value.display())]
    Range {
        /// The option.
        flag: &'static str,
        /// What it was given.
        value: OsString,
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// `--env_vars` with something else than `A=B` lines.
    #[error("safeexec: `--env_vars`: {problem}")]
    Environment {
        /// What is wrong.
        problem: String,
    },
    /// An option that wardian does not honour.
    #[error("safeexec: `{flag}`: {reason}")]
    Unsupported {
        /// The option.
        flag: &'static str,
        /// Why, and what to use instead.
        reason: &'static str,
    },
    /// No program to run.
    #[error("safeexec: no program: end the options with `--exec <command> [arguments]`")]
    NoCommand,
}

/// Reads the arguments after the program's own name. `--exec` ends the options; the rest is the command.
/// Where `--uid` and `--uidplus` are both given, `--uid` counts.
///
/// # Errors
/// [`UsageError`], naming the option.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, UsageError> {
    let mut args = args.into_iter();
    let mut options = Options::default();
    let mut fixed_uid = None;
    let mut silent = false;
    while let Some(option) = args.next() {
        let value = &mut args;
        match option.to_str() {
            Some("--cpu") => options.cpu_s = number("--cpu", value, 1, u64::from(u32::MAX))?,
            Some("--clock") => options.clock_s = number("--clock", value, 1, 4_194_303)?,
            Some("--mem") => options.mem_kib = number("--mem", value, 1024, 41_943_039)?,
            Some("--core") => options.core_kib = no_core(value)?,
            Some("--stack") => options.stack_kib = number("--stack", value, 64, 41_943_039)?,
            Some("--fsize") => options.fsize_kib = number("--fsize", value, 0, u64::from(u32::MAX))?,
            Some("--nproc") => options.nproc = number("--nproc", value, 0, 65_535)?,
            Some("--nfile") => options.nfile = number("--nfile", value, 16, 1024)?,
            Some("--niceness") => options.niceness = number("--niceness", value, 10, 19)?,
            Some("--gid") => options.gid = number("--gid", value, 1, 65_535)?,
            Some("--uidplus") => options.uid = Uid::PlusPid(number("--uidplus", value, 1, 2_000_000_000)?),
            Some("--uid") => fixed_uid = Some(Uid::Fixed(number("--uid", value, 1, 2_000_000_000)?)),
            Some("--chroot_dir") => options.chroot_dir = Some(utf8("--chroot_dir", value)?),
            Some("--exec_dir") => options.exec_dir = Some(text("--exec_dir", value)?.into()),
            Some("--env_vars") => options.env_vars = Some(variables(&utf8("--env_vars", value)?)?),
            Some("--report_file") => options.report = ReportTo::File(text("--report_file", value)?.into()),
            Some("--report_fd") => options.report = ReportTo::Fd(number("--report_fd", value, 0, 1_048_575)?),
            Some("--silent") => silent = true,
            Some("--share_newnet") => {
                let reason = "a sandbox has no network beyond its own loopback";
                return Err(UsageError::Unsupported { flag: "--share_newnet", reason });
            }
            Some("--exec") => {
                options.command = args.by_ref().collect();
                break;
            }
            _ => return Err(UsageError::Unknown { option }),
        }
    }
    if options.command.is_empty() {
        return Err(UsageError::NoCommand);
    }
    options.uid = fixed_uid.unwrap_or(options.uid);
    if silent {
        options.report = ReportTo::Nowhere;
    }
    Ok(options)
}

fn text(flag: &'static str, args: &mut impl Iterator<Item = OsString>) -> Result<OsString, UsageError> {
    args.next().ok_or(UsageError::NoValue { flag })
}

fn utf8(flag: &'static str, args: &mut impl Iterator<Item = OsString>) -> Result<String, UsageError> {
    text(flag, args)?.into_string().map_err(|value| UsageError::NotUtf8 { flag, value })
}

fn number<T: TryFrom<u64>>(
    flag: &'static str,
    args: &mut impl Iterator<Item = OsString>,
    min: u64,
    max: u64,
) -> Result<T, UsageError> {
    let value = text(flag, args)?;
    let digits = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| (min..=max).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or(UsageError::Range { flag, value, min, max })
}

fn no_core(args: &mut impl Iterator<Item = OsString>) -> Result<u64, UsageError> {
    match number("--core", args, 0, u64::from(u32::MAX))? {
        0 => Ok(0),
        _ => Err(UsageError::Unsupported { flag: "--core", reason: "no core dumps are written; use 0" }),
    }
}

/// The `A=B` lines of `--env_vars`, or what `PY` stands for.
fn variables(text: &str) -> Result<Vec<(String, String)>, UsageError> {
    let problem = |problem: String| UsageError::Environment { problem };
    if text == "PY" {
        return Ok(PYTHON_VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    }
    let lines = text.split('\n').filter(|line| !line.is_empty());
    let variables: Vec<_> = lines
        .map(|line| match line.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(problem(format!("{line:?} is not `A=B`"))),
        })
        .collect::<Result<_, _>>()?;
    if variables.len() > MAX_VARIABLES {
        return Err(problem(format!("{} variables, more than {MAX_VARIABLES}", variables.len())));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &str) -> Result<Options, UsageError> {
        parse(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_seeds_command_line_reads() {
        let options =
            run("--cpu 6 --clock 4 --mem 250000 --uid 99 --exec ./simple_pysandbox.py --cpu x").unwrap();
        assert_eq!((options.cpu_s, options.clock_s, options.mem_kib), (6, 4, 250_000));
        assert_eq!(options.uid, Uid::Fixed(99));
        assert_eq!(options.command, ["./simple_pysandbox.py", "--cpu", "x"]);
        assert_eq!((options.gid, options.nfile, options.niceness, options.stack_kib), (1000, 512, 16, 8192));
        assert_eq!((options.report, options.env_vars), (ReportTo::Stderr, None));
    }

    #[test]
    fn every_option_is_read() {
        let options =
            run("--core 0 --stack 4096 --fsize 7 --nproc 3 --nfile 20 --niceness 19 --gid 5 --uidplus 100 \
             --chroot_dir /r --exec_dir /d --env_vars PY --report_file out --report_fd 9 --exec /bin/true")
            .unwrap();
        assert_eq!((options.stack_kib, options.fsize_kib, options.nproc, options.nfile), (4096, 7, 3, 20));
        assert_eq!((options.niceness, options.gid, options.uid), (19, 5, Uid::PlusPid(100)));
        assert_eq!((options.chroot_dir, options.exec_dir), (Some("/r".into()), Some("/d".into())));
        assert_eq!(options.report, ReportTo::Fd(9));
        assert_eq!(options.env_vars.unwrap()[1], ("PYTHONHOME".into(), "/".into()));
        let options = run("--report_file out --silent --uid 7 --uidplus 1 --exec x").unwrap();
        assert_eq!((options.report, options.uid), (ReportTo::Nowhere, Uid::Fixed(7)));
    }

    #[test]
    fn numbers_have_their_ranges() {
        for (flag, good, bad) in [
            ("--cpu", ["1", "4294967295"], ["0", "4294967296"]),
            ("--clock", ["1", "4194303"], ["0", "4194304"]),
            ("--mem", ["1024", "41943039"], ["1023", "41943040"]),
            ("--stack", ["64", "41943039"], ["63", "41943040"]),
            ("--fsize", ["0", "4294967295"], ["-1", "4294967296"]),
            ("--nproc", ["0", "65535"], ["+1", "65536"]),
            ("--nfile", ["16", "1024"], ["15", "1025"]),
            ("--niceness", ["10", "19"], ["9", "20"]),
            ("--gid", ["1", "65535"], ["0", "65536"]),
            ("--uid", ["1", "99"], ["0", "99999999999999999999"]),
            ("--uidplus", ["1", "99"], ["0", "1e3"]),
            ("--report_fd", ["0", "9"], ["-1", "x"]),
        ] {
            let with = |value: &str| parse([flag, value, "--exec", "x"].map(OsString::from));
            for value in good {
                assert!(with(value).is_ok(), "{flag} {value}");
            }
            for value in bad {
                assert!(matches!(with(value), Err(UsageError::Range { .. })), "{flag} {value}");
            }
        }
        let error = run("--niceness 9 --exec x").unwrap_err();
        assert_eq!(error.to_string(), "safeexec: `--niceness`: `9` is not a number from 10 to 19");
    }

    #[test]
    fn what_is_no_command_line_is_refused_by_name() {
        for (words, message) in [
            ("", "safeexec: no program: end the options with `--exec <command> [arguments]`"),
            ("--cpu 1", "safeexec: no program: end the options with `--exec <command> [arguments]`"),
            ("--exec", "safeexec: no program: end the options with `--exec <command> [arguments]`"),
            ("--cpu", "safeexec: `--cpu` needs a value"),
            ("--wall 3 --exec x", "safeexec: `--wall` is no option"),
            ("/bin/true", "safeexec: `/bin/true` is no option"),
            ("--core 1 --exec x", "safeexec: `--core`: no core dumps are written; use 0"),
            (
                "--share_newnet --exec x",
                "safeexec: `--share_newnet`: a sandbox has no network beyond its own loopback",
            ),
        ] {
            assert_eq!(run(words).unwrap_err().to_string(), message, "{words}");
        }
    }

    #[test]
    fn a_root_that_is_not_utf8_is_refused_instead_of_changed() {
        use std::os::unix::ffi::OsStringExt as _;
        let words =
            ["--chroot_dir".into(), OsString::from_vec(vec![b'/', 0xff]), "--exec".into(), "x".into()];
        assert!(matches!(parse(words), Err(UsageError::NotUtf8 { flag: "--chroot_dir", .. })));
    }

    #[test]
    fn the_environment_is_lines() {
        let with = |value: &str| parse(["--env_vars", value, "--exec", "x"].map(OsString::from));
        let variables = with("A=1\nB=x=y\n").unwrap().env_vars.unwrap();
        assert_eq!(variables, [("A".into(), "1".into()), ("B".into(), "x=y".into())]);
        assert_eq!(with("").unwrap().env_vars, Some(Vec::new()));
        assert!(with("A").unwrap_err().to_string().contains("\"A\" is not `A=B`"));
        assert!(with("=1").is_err());
        assert!(with(&"A=1\n".repeat(100)).unwrap_err().to_string().contains("100 variables"));
    }
}
