//! Every command and option, once: help, man page and completions are made from this.

use clap::builder::styling::Styles;
use clap::{Args, FromArgMatches, Parser, Subcommand, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;
use wardian::policy::{Bytes, Duration, Layer, Level, Network, Outside};

/// Run untrusted Python contained, within exact limits, and see what it did.
#[derive(Parser)]
#[command(name = "wardian", version, styles = Styles::plain(), disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line. That of a run, whose start somebody waits for, is read without making up what all other
    /// commands take: that takes as long as reading it. What is wrong with one is told by the whole.
    pub(crate) fn read(words: Vec<OsString>) -> Result<Cli, clap::Error> {
        if let Some((run, _)) = words.get(1..).and_then(<[_]>::split_first)
            && run == "run"
            && let Some(options) = RunOptions::read(&words)
        {
            return Ok(Cli { command: Command::Run(Box::new(options)) });
        }
        Cli::try_parse_from(words)
    }
}

impl RunOptions {
    fn read(words: &[OsString]) -> Option<RunOptions> {
        let run = RunOptions::augment_args(clap::Command::new("run"));
        let matches = run.try_get_matches_from(words.get(1..)?).ok()?;
        RunOptions::from_arg_matches(&matches).ok()
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a program in a sandbox
    Run(Box<RunOptions>),
    /// Run a program as safeexec would: its options, its report
    #[command(
        disable_help_flag = true,
        override_usage = "wardian safeexec [OPTIONS] --exec <COMMAND> [ARGS]...",
        after_help = "safeexec's options: --cpu --clock (seconds), --mem --stack --fsize (KiB), --nproc --nfile --niceness,\n\
                      --uid --uidplus --gid, --chroot_dir --exec_dir, --env_vars, --report_file --report_fd --silent.\n\
                      docs/safeexec.md tells what each does.\n\n\
                      Example: wardian safeexec --cpu 6 --mem 250000 --exec /usr/bin/python3 hello.py"
    )]
    Safeexec {
        /// safeexec's options, then --exec, the command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        args: Vec<OsString>,
    },
    /// Serve runs over HTTP, until SIGTERM
    Serve(Box<ServeOptions>),
    /// Show what this machine can enforce, and how to fix what it cannot
    Doctor(DoctorOptions),
    /// List, show and check policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Remove what a killed wardian left behind (cgroup directories)
    Gc,
    /// Print a completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print a manual page: `wardian man run` for that of `wardian run`
    Man {
        /// The subcommand; none for the page of the whole
        subcommand: Vec<String>,
    },
}

/// Where and what is served. SIGHUP reads the configuration file again.
#[derive(Args)]
#[command(
    after_help = "Without options it serves this machine alone, at http://127.0.0.1:8060, whose first page describes\n\
                        the interface; another address needs a key. See docs/server.md for the configuration file."
)]
pub(crate) struct ServeOptions {
    /// Listen at this address and port [default: 127.0.0.1:8060]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Vec<String>,
    /// Listen at this unix socket; no key is asked for there
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) unix: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Import these modules ahead; what ends with `.py` is a file of the host, and becomes the module of its name
    #[arg(long, value_name = "MODULE,...", value_delimiter = ',')]
    pub(crate) preload: Vec<String>,
    /// Offer this interpreter: a version (3.12) or a path
    #[arg(long, value_name = "PATH|3.X")]
    pub(crate) python: Vec<String>,
    /// End when this pipe is closed, as on SIGTERM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) lifeline: Option<PathBuf>,
    /// Print a new key, and its entry for the configuration file
    #[arg(long, value_name = "NAME", exclusive = true)]
    pub(crate) new_key: Option<String>,
}

#[derive(Args)]
pub(crate) struct DoctorOptions {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// List the policies that come with wardian
    List,
    /// Print a policy with every key
    Show {
        /// A preset's name or a file
        #[arg(default_value = "python")]
        policy: String,
    },
    /// Check a policy file
    Check {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: String,
    },
    /// Print the JSON schema of policy files
    Schema,
    /// Turn a config file of nsjail into a policy file
    ImportNsjail {
        /// The config file, text or JSON form
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Drop what cannot be honoured, and list it, instead of refusing
        #[arg(long)]
        best_effort: bool,
    },
}

/// What a program is run with. Everything after the program belongs to the program.
#[derive(Args)]
#[command(
    override_usage = "wardian run [OPTIONS] <SCRIPT | -> [ARGS]...\n       \
                      wardian run [OPTIONS] -c <CODE> [ARGS]...\n       \
                      wardian run [OPTIONS] -m <MODULE> [ARGS]...\n       \
                      wardian run [OPTIONS] --exec <PROGRAM> [ARGS]...\n       \
                      wardian run [OPTIONS] --nsjail-config <FILE> [-- <PROGRAM> [ARGS]...]",
    after_help = "Sizes take K, M, G (powers of 1024); times take ms, s, m; plain numbers are bytes and seconds.\n\
                  Exit code: the program's own; 124 time limit, 125 wardian could not run it, 126/127 program not\n\
                  executable/not there, 128+N ended by signal N, 137 memory, 153 output, 154 disk or processes, 159 policy.\n\n\
                  Example: wardian run --memory 256M --wall 5 solution.py < input.txt"
)]
pub(crate) struct RunOptions {
    /// A Python file, or - for a program on standard input; then its arguments
    #[arg(value_name = "SCRIPT", trailing_var_arg = true, allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) program: Vec<OsString>,
    /// Run this code
    #[arg(short = 'c', value_name = "CODE", allow_hyphen_values = true, conflicts_with_all = ["module", "exec"])]
    pub(crate) code: Option<OsString>,
    /// Run a module
    #[arg(short = 'm', value_name = "MODULE", conflicts_with = "exec")]
    pub(crate) module: Option<OsString>,
    /// Run any program instead of Python: the first argument is its path, or a name in PATH
    #[arg(long)]
    pub(crate) exec: bool,
    /// Run this one of the files that --file brings in, by its name inside
    #[arg(long, value_name = "NAME", conflicts_with_all = ["code", "module", "exec"])]
    pub(crate) entry: Option<String>,

    /// Have Python write at once what it prints, as `python -u`; at a terminal it does
    #[arg(short = 'u', long)]
    pub(crate) unbuffered: bool,

    /// Have a service of this machine run it, if there is one at WARDIAN_SOCKET or /run/wardian.sock
    #[arg(long)]
    pub(crate) warm: bool,

    /// A preset (python, strict, judge, codejail) or a policy file
    #[arg(long, default_value = "python", value_name = "NAME|FILE", help_heading = "Policy")]
    pub(crate) policy: String,
    /// Contain as an nsjail config file says; the program follows after --
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["policy", "code", "module", "exec", "files", "result", "collect", "python", "venv", "outside", "level"],
        help_heading = "Policy"
    )]
    pub(crate) nsjail_config: Option<PathBuf>,
    /// With --nsjail-config: drop what cannot be honoured, and list it, instead of refusing
    #[arg(long, requires = "nsjail_config", help_heading = "Policy")]
    pub(crate) best_effort: bool,
    /// The network: none, or its own loopback
    #[arg(long, value_parser = network, value_name = "none|loopback", help_heading = "Policy")]
    pub(crate) network: Option<Network>,
    /// What is outside: not there (ENOENT), or there and refusing (EACCES)
    #[arg(long, value_parser = outside, value_name = "absent|denied", help_heading = "Policy")]
    pub(crate) outside: Option<Outside>,
    /// Refuse to run unless these are enforced by the kernel: memory, cpu, cpus, processes, landlock, denials, proc
    #[arg(long, value_parser = layer, value_delimiter = ',', value_name = "LAYER,...", help_heading = "Policy")]
    pub(crate) require: Vec<Layer>,
    /// How strongly to contain; landlock is weaker, for containers that forbid user namespaces: no namespaces, files stay
    /// at their own paths, limits are watched unless there is a cgroup. `wardian doctor` says what it does not stop
    #[arg(long, value_parser = level, value_name = "namespaces|landlock", help_heading = "Policy")]
    pub(crate) level: Option<Level>,

    /// Time on the clock
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) wall: Option<Duration>,
    /// CPU time, all processes together
    #[arg(
        long,
        visible_alias = "cpu",
        value_name = "TIME",
        allow_hyphen_values = true,
        help_heading = "Limits"
    )]
    pub(crate) cpu_time: Option<Duration>,
    /// Cores used at once
    #[arg(long, value_parser = cores, value_name = "N", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) cpus: Option<f64>,
    /// Memory, all processes together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) memory: Option<Bytes>,
    /// Processes and threads
    #[arg(long, value_parser = whole::<u32>, value_name = "N", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) processes: Option<u32>,
    /// Scratch space; counts as memory too
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) disk: Option<Bytes>,
    /// Bytes of standard output, and as many of standard error
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) output: Option<Bytes>,
    /// Open files of each process
    #[arg(long, value_parser = whole::<u64>, value_name = "N", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) open_files: Option<u64>,
    /// Bytes of each file
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) file_size: Option<Bytes>,
    /// Stack of the main thread
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) stack: Option<Bytes>,

    /// Standard input from a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Files and environment")]
    pub(crate) stdin: Option<PathBuf>,
    /// Copy a file in, beside the program: HOST[:NAME], or src=HOST,dst=NAME where a name has a colon
    #[arg(long = "file", value_name = "HOST[:NAME]", help_heading = "Files and environment")]
    pub(crate) files: Vec<OsString>,
    /// Collect files from the working directory that match, but for unchanged ones of --file; * stays within a directory, ** does not, DIR is all below
    #[arg(long, value_name = "GLOB", help_heading = "Files and environment")]
    pub(crate) collect: Vec<String>,
    /// Write collected files here; without it they are in the report (--json, --report)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "collect", help_heading = "Files and environment")]
    pub(crate) out: Option<PathBuf>,
    /// Show a host directory or file inside: src=HOST,dst=GUEST[,rw[,as_owner]] or HOST:GUEST[:ro|rw];
    /// with rw the program has its owner's rights there (as root: unless owner or group is root and `as_owner` is not said)
    #[arg(long = "mount", value_name = "MOUNT", help_heading = "Files and environment")]
    pub(crate) mounts: Vec<String>,
    /// Set a variable
    #[arg(long = "env", value_name = "K=V", help_heading = "Files and environment")]
    pub(crate) env: Vec<String>,
    /// Working directory inside [default: /box]
    #[arg(long, value_name = "DIR", help_heading = "Files and environment")]
    pub(crate) cwd: Option<String>,
    /// An interpreter: a version (3.12) or a path
    #[arg(long, value_name = "PATH|3.X", conflicts_with = "venv", help_heading = "Files and environment")]
    pub(crate) python: Option<String>,
    /// A virtual environment
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Files and environment")]
    pub(crate) venv: Option<PathBuf>,

    /// Print the report as JSON instead of passing output through
    #[arg(long, help_heading = "Report")]
    pub(crate) json: bool,
    /// Write the report to a file, whatever happens
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Report")]
    pub(crate) report: Option<PathBuf>,
    /// Let the program write one JSON value to descriptor 3: `result` in the report
    #[arg(long, help_heading = "Report")]
    pub(crate) result: bool,
    /// Most bytes of that value, 64M at most
    #[arg(long, value_name = "SIZE", default_value = "1M", requires = "result", help_heading = "Report")]
    pub(crate) result_size: Bytes,
    /// End the run when this pipe is closed: whoever holds its other end must outlive the run
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Report")]
    pub(crate) lifeline: Option<PathBuf>,
    /// Tell on standard error what the program did and used
    #[arg(long, conflicts_with_all = ["json", "explain_plan"], help_heading = "Report")]
    pub(crate) summary: bool,
    /// Explain on standard error what was refused, with hints
    #[arg(long, help_heading = "Report")]
    pub(crate) explain: bool,
    /// Print what would be done, in order, and do nothing
    #[arg(long, conflicts_with_all = ["json", "report"], help_heading = "Report")]
    pub(crate) explain_plan: bool,
}

/// A value of one of the policy's enumerations, by its name in policy files.
fn named<T: for<'de> serde::Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

/// A number of things.
fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not a whole number above 0 that a limit can have; write for example 64")
    })
}

fn cores(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number of cores; write for example 1 or 0.5"))
}

fn network(text: &str) -> Result<Network, String> {
    named(text).map_err(|error| {
        format!("{error}; programs never reach the host's network or the internet: fetch outside, and give them files")
    })
}

fn outside(text: &str) -> Result<Outside, String> {
    named(text)
}

fn layer(text: &str) -> Result<Layer, String> {
    named(text)
}

fn level(text: &str) -> Result<Level, String> {
    named(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_layer_is_in_the_help() {
        let error = layer("").unwrap_err();
        let (_, layers) = error.split_once("expected one of ").unwrap();
        let cli = Cli::command();
        let require =
            cli.find_subcommand("run").unwrap().get_arguments().find(|arg| arg.get_id() == "require");
        let help = require.unwrap().get_help().unwrap().to_string();
        let (_, named) = help.split_once(": ").unwrap();
        assert_eq!(layers.replace('`', ""), named);
    }

    #[test]
    fn safeexecs_options_are_left_to_it() {
        let cli =
            Cli::try_parse_from(["wardian", "safeexec", "--cpu", "1", "--exec", "x", "--help"]).unwrap();
        let Command::Safeexec { args } = cli.command else { panic!("not safeexec") };
        assert_eq!(args, ["--cpu", "1", "--exec", "x", "--help"]);
    }

    #[test]
    fn what_follows_the_program_is_the_programs() {
        let cli =
            Cli::try_parse_from(["wardian", "run", "--wall", "2", "x.py", "--wall", "3", "-c", "y"]).unwrap();
        let Command::Run(options) = cli.command else { panic!("not run") };
        assert_eq!(options.program, ["x.py", "--wall", "3", "-c", "y"]);
        assert_eq!(options.wall, Some(Duration::from_secs(2)));
        assert_eq!(options.code, None);
    }
}
