//! Where the microseconds of one warm run go, by the clock that the program and we share.

use crate::numbers::Times;
use crate::way::{pool, run};
use crate::{Failure, HELLO, NUMPY, Options, Workload, is_possible};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use wardian::report::Report;
use wardian::warm::Pool;

const PARTS: [&str; 5] = [
    "request to the program's first line",
    "the program's lines",
    "its last line to its end (finalising, giving memory back)",
    "end to everything gone and the report made",
    "report to its caller",
];

pub fn measure(options: &Options) -> Result<(), Failure> {
    println!("\n| part of a warm run, library, one caller, median µs | hello | numpy |\n|---|---|---|");
    let mut columns = Vec::new();
    for workload in [HELLO, NUMPY].iter().filter(|workload| is_possible(workload)) {
        columns.push(column(options, workload)?);
    }
    for (at, part) in PARTS.iter().enumerate() {
        let cells: String =
            columns.iter().filter_map(|column| column.get(at)).map(|median| format!(" {median} |")).collect();
        println!("| {part} |{cells}");
    }
    Ok(())
}

fn column(options: &Options, workload: &Workload) -> Result<Vec<u64>, Failure> {
    let pool = pool(workload.preload, 3, 1)?;
    let clock = "time.clock_gettime_ns(time.CLOCK_MONOTONIC)";
    let code = format!("import time\nfirst = {clock}\n{}\nlast = {clock}\nprint(first, last)", workload.code);
    let mut parts = [(); PARTS.len()].map(|()| Times::default());
    for _ in 0..options.runs {
        while pool.levels().ready == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        let taken = one(&pool, &code)?;
        parts.iter_mut().zip(taken).for_each(|(times, took)| times.push(took));
    }
    Ok(parts.iter_mut().map(|times| times.percentile(50)).collect())
}

fn one(pool: &Pool, code: &str) -> Result<[Duration; PARTS.len()], Failure> {
    let asked = now();
    let report = run(pool, code)?;
    let answered = now();
    let [first, last] = told(&report)?;
    let at = |micros: Option<u64>| micros.map(|micros| asked + Duration::from_micros(micros));
    let timeline = &report.timeline_us;
    let (Some(ended), Some(collected)) = (at(timeline.ended), at(timeline.collected)) else {
        return Err("a report without a timeline".into());
    };
    let times = [asked, first, last, ended, collected, answered];
    let mut parts = [Duration::ZERO; PARTS.len()];
    for (part, pair) in parts.iter_mut().zip(times.windows(2)) {
        if let [from, to] = pair {
            *part = to.saturating_sub(*from);
        }
    }
    Ok(parts)
}

/// What the program's clock said.
fn told(report: &Report) -> Result<[Duration; 2], Failure> {
    let line = report.stdout.text.lines().next_back().unwrap_or_default();
    let mut times = line.split(' ').map(|nanos| nanos.parse().map(Duration::from_nanos));
    match (times.next(), times.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok([first, last]),
        _ => Err(format!("no times, but {line:?}").into()),
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
