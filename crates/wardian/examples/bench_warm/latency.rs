//! Time from request to report, and its ratio to bare Python's.

use crate::numbers::Times;
use crate::way::{Caller, Way};
use crate::{Failure, HELLO, NUMPY, Options, PYTHON, Workload, cold, is_possible};
use std::path::Path;
use std::time::{Duration, Instant};

/// The machine is disturbed now and then: every row takes turns with bare Python.
const TURNS: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);

pub fn measure(options: &Options) -> Result<(), Failure> {
    println!("\n| workload | way | callers | p50 µs | p99 µs | runs/s | bare p50 µs | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    for workload in [HELLO, NUMPY].iter().filter(|workload| is_possible(workload)) {
        starting_cold(options, workload)?;
        for way in Way::NAMES {
            for callers in [1, 2, 8, 32] {
                row(options, workload, way, callers, None)?;
            }
            row(options, workload, way, 1, Some(PAUSE))?;
        }
    }
    Ok(())
}

/// One way, with so many callers at once.
fn row(
    options: &Options,
    workload: &Workload,
    name: &str,
    callers: usize,
    pause: Option<Duration>,
) -> Result<(), Failure> {
    let way = Way::start(name, &options.wardian, workload, callers)?;
    let (mut bare, mut warm, mut busy) = (Times::default(), Times::default(), Duration::ZERO);
    // Pauses make a row long, not better.
    let runs = if pause.is_some() { options.runs / 4 } else { options.runs };
    for _ in 0..TURNS {
        for _ in 0..(runs / 40).max(1) {
            bare.push(cold::bare(Path::new(PYTHON), workload.code)?);
        }
        way.settle();
        let started = Instant::now();
        let each = (runs / TURNS / callers).max(1);
        let taken = std::thread::scope(|scope| {
            let calls = || some_runs(&way, workload.code, each, callers == 1, pause);
            let threads: Vec<_> = (0..callers).map(|_| scope.spawn(calls)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a caller panicked")?)
                .collect::<Result<Vec<_>, _>>()
        })?;
        busy += started.elapsed();
        taken.into_iter().for_each(|times| warm.append(times));
    }
    let callers = if pause.is_some() { "1, pauses of 50 ms".to_owned() } else { callers.to_string() };
    print(workload, name, &callers, &mut warm, busy, bare.percentile(50));
    Ok(())
}

/// Alone, a request comes when a sandbox is ready; together, whenever its caller is free.
fn some_runs(
    way: &Way,
    code: &str,
    runs: usize,
    alone: bool,
    pause: Option<Duration>,
) -> Result<Times, Failure> {
    let mut caller: Caller<'_> = way.caller()?;
    let mut times = Times::default();
    for _ in 0..runs {
        match pause {
            Some(pause) => std::thread::sleep(pause),
            None if alone => way.settle(),
            None => {}
        }
        let started = Instant::now();
        caller.run(code)?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// Cold starts of the same program, in turns with bare Python's.
fn starting_cold(options: &Options, workload: &Workload) -> Result<(), Failure> {
    let python = Path::new(PYTHON);
    let (mut bare, mut own, mut bubblewrap) = (Times::default(), Times::default(), Times::default());
    let started = Instant::now();
    for _ in 0..options.runs / 8 {
        bare.push(cold::bare(python, workload.code)?);
        own.push(cold::wardian(&options.wardian, python, workload.code)?);
        if let Ok(took) = cold::bubblewrap(python, workload.code) {
            bubblewrap.push(took);
        }
    }
    let (busy, base) = (started.elapsed(), bare.percentile(50));
    for (name, mut times) in [("bare", bare), ("wardian run, cold", own), ("bubblewrap, cold", bubblewrap)] {
        if times.len() > 0 {
            print(workload, name, "1", &mut times, busy, base);
        }
    }
    Ok(())
}

fn print(workload: &Workload, way: &str, callers: &str, times: &mut Times, busy: Duration, bare: u64) {
    let (p50, p99) = (times.percentile(50), times.percentile(99));
    let (per_second, ratio) = (times.len() as f64 / busy.as_secs_f64(), p50 as f64 / bare as f64);
    // What took turns with others, or waited, has no throughput.
    let per_second = if way.contains("cold") || way == "bare" || callers.len() > 2 {
        "".into()
    } else {
        format!("{per_second:.0}")
    };
    let name = workload.name;
    println!("| {name} | {way} | {callers} | {p50} | {p99} | {per_second} | {bare} | {ratio:.3} |");
}
