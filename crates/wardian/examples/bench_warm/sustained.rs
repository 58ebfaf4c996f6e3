//! Runs a second in the long run, sandboxes refilled meanwhile, and what a run costs.

use crate::way::Way;
use crate::{Failure, HELLO, NUMPY, Options, is_possible, machine};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Enough to keep two cores busy.
const CALLERS: usize = 4;

pub fn measure(options: &Options) -> Result<(), Failure> {
    println!(
        "\n| workload | way | callers | seconds | runs/s | CPU ms a run, whole machine | of that the caller's process |"
    );
    println!("|---|---|---|---|---|---|---|");
    for workload in [HELLO, NUMPY].iter().filter(|workload| is_possible(workload)) {
        for name in Way::NAMES {
            let way = Way::start(name, &options.wardian, workload, CALLERS)?;
            way.settle();
            let count = AtomicU64::new(0);
            let (busy, own, started) = (machine::busy_seconds(), machine::own_seconds(), Instant::now());
            std::thread::scope(|scope| {
                let call = || {
                    let mut caller = way.caller()?;
                    while started.elapsed() < options.sustained {
                        caller.run(workload.code)?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<(), Failure>(())
                };
                let threads: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
                threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a caller panicked")?)
            })?;
            let (seconds, runs) = (started.elapsed().as_secs_f64(), count.into_inner() as f64);
            let each = |spent: f64| spent * 1e3 / runs;
            let (all, own) = (each(machine::busy_seconds() - busy), each(machine::own_seconds() - own));
            let rate = runs / seconds;
            println!(
                "| {} | {name} | {CALLERS} | {seconds:.0} | {rate:.0} | {all:.2} | {own:.2} |",
                workload.name
            );
        }
    }
    Ok(())
}
