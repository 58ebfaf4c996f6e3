//! Private memory of a sandbox that is ready, and its page tables.

use crate::{Failure, HELLO, NUMPY, Options, Workload, is_possible, way};
use std::fs;
use std::time::{Duration, Instant};

const PLOTTING: Workload = Workload {
    name: "numpy, pandas, matplotlib",
    preload: &["numpy", "pandas", "matplotlib.pyplot"],
    code: "import numpy, pandas, matplotlib.pyplot",
};
const FILL_LIMIT: Duration = Duration::from_secs(120);

pub fn measure(options: &Options) -> Result<(), Failure> {
    println!("\n| preloaded | ready | KiB a ready sandbox: private pages | page tables |");
    println!("|---|---|---|---|");
    for workload in [HELLO, NUMPY, PLOTTING].iter().filter(|workload| is_possible(workload)) {
        for ready in options.ready {
            row(workload, *ready)?;
        }
    }
    Ok(())
}

fn row(workload: &Workload, ready: usize) -> Result<(), Failure> {
    let name = if workload.preload.is_empty() { "nothing" } else { workload.name };
    let pool = way::pool(workload.preload, ready, 1)?;
    let started = Instant::now();
    while pool.levels().ready < ready {
        if started.elapsed() > FILL_LIMIT {
            return Err(format!("{} of {ready} sandboxes were ready in time", pool.levels().ready).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    // The oldest is the zygote itself.
    let mut guests = guests();
    guests.sort_unstable();
    guests.remove(0);
    let count = (guests.len() as u64).max(1);
    let private: u64 = guests.iter().map(|pid| sum_kib(*pid, "smaps_rollup", "Private_")).sum();
    let tables: u64 = guests.iter().map(|pid| sum_kib(*pid, "status", "VmPTE")).sum();
    println!("| {name} | {ready} | {} | {} |", private / count, tables / count);
    Ok(())
}

fn guests() -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("-m\0wardian"))
    };
    pids.filter(ours).collect()
}

fn sum_kib(pid: u32, file: &str, prefix: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    text.lines().filter(|line| line.starts_with(prefix)).filter_map(kib).sum()
}
