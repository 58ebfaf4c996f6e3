//! Measures warm starts beside bare Python, in turns: `./bench warm`.
//!
//! The load comes from this program's own threads: what they and the supervisor take is shown apart.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod breakdown;
mod cold;
mod latency;
mod machine;
mod memory;
mod numbers;
mod plot;
mod service;
mod sustained;
mod way;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Failure = Box<dyn Error + Send + Sync>;

/// The interpreter of every run.
const PYTHON: &str = "/usr/bin/python3";

/// What is run.
struct Workload {
    name: &'static str,
    /// What is loaded ahead.
    preload: &'static [&'static str],
    code: &'static str,
}

const HELLO: Workload = Workload { name: "hello", preload: &[], code: "print('hello')" };
const NUMPY: Workload = Workload {
    name: "numpy",
    preload: &["numpy"],
    code: "import numpy\nprint(numpy.arange(1000).reshape(10, 100).sum(axis=0).max())",
};

/// How long to measure.
struct Options {
    /// The program, for the service's rows and the cold ones.
    wardian: PathBuf,
    /// Runs of each row.
    runs: usize,
    /// Length of the sustained run.
    sustained: Duration,
    /// Sandboxes ready at once, when their memory is measured.
    ready: &'static [usize],
    /// Only the part of this name.
    only: Option<String>,
}

impl Options {
    fn from_arguments() -> Result<Options, Failure> {
        let mut options = Options {
            wardian: PathBuf::new(),
            runs: 400,
            sustained: Duration::from_secs(60),
            ready: &[1, 100, 500],
            only: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    (options.runs, options.sustained, options.ready) = (80, Duration::from_secs(8), &[1, 20]);
                }
                "--wardian" => options.wardian = arguments.next().unwrap_or_default().into(),
                "--only" => options.only = arguments.next(),
                _ => return Err(format!("{argument}: not --quick, --only PART or --wardian PATH").into()),
            }
        }
        if !options.wardian.is_file() {
            return Err(
                "--wardian PATH names no program: `./bench warm` builds it and says where it is".into()
            );
        }
        Ok(options)
    }
}

type Part = fn(&Options) -> Result<(), Failure>;
const PARTS: [(&str, Part); 5] = [
    ("latency", latency::measure),
    ("breakdown", breakdown::measure),
    ("sustained", sustained::measure),
    ("plot", plot::measure),
    ("memory", memory::measure),
];

fn main() -> Result<(), Failure> {
    let options = Options::from_arguments()?;
    machine::describe();
    for (name, measure) in PARTS {
        if options.only.as_deref().is_none_or(|only| only == name) {
            measure(&options)?;
        }
    }
    Ok(())
}

/// Whether bare Python can run it: what it needs may not be installed.
fn is_possible(workload: &Workload) -> bool {
    let possible = cold::bare(Path::new(PYTHON), workload.code).is_ok();
    if !possible {
        eprintln!("SKIP {}: {PYTHON} has not what it needs", workload.name);
    }
    possible
}
