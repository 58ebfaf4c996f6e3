//! Measures warm starts beside bare Python, in turns: `./bench warm`.
//!
//! One table: medians and 99th percentiles of the time from request to report, and their ratio to bare Python's.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wardian::host::Host;
use wardian::sandbox::{Connections, Output, Pipes, StdinSource};
use wardian::warm::{Job, JobProgram, Pool, PoolOptions, Rotation};
use wardian::{policy, python};

type Failure = Box<dyn std::error::Error>;

/// What is run: its name, what is preloaded for it, its program.
const WORKLOADS: [(&str, &[&str], &str); 2] = [
    ("hello", &[], "print('hello')"),
    ("numpy", &["numpy"], "import numpy\nprint(numpy.arange(1000).reshape(10, 100).sum(axis=0).max())"),
];

fn main() -> Result<(), Failure> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let runs = if quick { 60 } else { 400 };
    let python = Path::new("/usr/bin/python3");
    println!("| workload | concurrency | p50 µs | p99 µs | runs/s | bare p50 µs | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for (name, preload, code) in WORKLOADS {
        if !Command::new(python)
            .args(["-c", code])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?
            .success()
        {
            eprintln!("SKIP {name}: {} has not what it needs", python.display());
            continue;
        }
        for concurrency in [1, 2, 8] {
            let pool = pool(python, preload, concurrency)?;
            let bare = Mutex::new(Vec::new());
            let warm = Mutex::new(Vec::new());
            let busy = Mutex::new(Duration::ZERO);
            for _ in 0..5 {
                // In turns, so that what disturbs the machine disturbs both.
                (0..runs / 20).try_for_each(|_| time_bare(python, code).map(|took| push(&bare, took)))?;
                let started = Instant::now();
                std::thread::scope(|scope| {
                    for _ in 0..concurrency {
                        scope.spawn(|| {
                            for _ in 0..runs / 5 / concurrency {
                                push(&warm, time_warm(&pool, code, concurrency == 1));
                            }
                        });
                    }
                });
                *busy.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += started.elapsed();
            }
            let (bare, warm) = (sorted(bare), sorted(warm));
            let seconds = busy.into_inner().unwrap_or_default().as_secs_f64();
            let per_second = warm.len() as f64 / seconds;
            let (bare, p50, p99) = (at(&bare, 50), at(&warm, 50), at(&warm, 99));
            let ratio = p50 as f64 / bare as f64;
            println!("| {name} | {concurrency} | {p50} | {p99} | {per_second:.0} | {bare} | {ratio:.3} |");
        }
    }
    memory(python, if quick { 20 } else { 100 })
}

fn pool(python: &Path, preload: &[&str], ready: usize) -> Result<Pool, Failure> {
    let options = PoolOptions {
        policy: policy::preset("python")?,
        python: python::Request::Path(python.into()),
        preload: preload.iter().map(|name| (*name).into()).collect(),
        ready: ready + 2,
        running: ready,
        queue: 64,
        rotation: Rotation::default(),
    };
    Ok(Pool::start(options, &Host::detect())?)
}

fn time_bare(python: &Path, code: &str) -> Result<Duration, Failure> {
    let started = Instant::now();
    Command::new(python).args(["-c", code]).stdin(Stdio::null()).output()?;
    Ok(started.elapsed())
}

/// Alone, a request comes when a sandbox is ready; together, whenever its thread is free.
fn time_warm(pool: &Pool, code: &str, alone: bool) -> Duration {
    while alone && pool.levels().ready == 0 {
        std::thread::sleep(Duration::from_micros(200));
    }
    let kept = || Output { pass_to: None, keep: true };
    let connections = Connections {
        streams: Pipes { stdin: StdinSource::Empty, stdout: kept(), stderr: kept() },
        cancel: None,
        result: None,
        collect: None,
    };
    let job = Job::new(JobProgram::Code(code.into()));
    let started = Instant::now();
    match pool.run(&job, connections) {
        Ok(report) if report.exit_code == Some(0) => started.elapsed(),
        other => {
            eprintln!("{other:?}");
            std::process::exit(1)
        }
    }
}

fn push(list: &Mutex<Vec<u64>>, took: Duration) {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(micros);
}

fn sorted(list: Mutex<Vec<u64>>) -> Vec<u64> {
    let mut list = list.into_inner().unwrap_or_default();
    list.sort_unstable();
    list
}

fn at(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Private memory of the processes below us, per ready sandbox.
fn memory(python: &Path, many: usize) -> Result<(), Failure> {
    println!("\n| preloaded | ready | KiB a ready sandbox |\n|---|---|---|");
    for (name, preload, _) in WORKLOADS {
        let Ok(pool) = pool(python, preload, many) else { continue };
        while pool.levels().ready < many {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(100));
        let mut sizes: Vec<u64> = guests().iter().filter_map(|pid| private_kib(*pid)).collect();
        sizes.sort_unstable();
        // The largest is the zygote's.
        sizes.pop();
        let sum: u64 = sizes.iter().sum();
        println!("| {name} | {} | {} |", sizes.len(), sum / (sizes.len() as u64).max(1));
    }
    Ok(())
}

fn guests() -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("-m\0wardian"))
    };
    pids.filter(ours).collect()
}

fn private_kib(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    Some(text.lines().filter(|line| line.starts_with("Private_")).filter_map(kib).sum())
}
