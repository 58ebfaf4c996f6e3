//! What machine this is, and what its cores do.

use std::fs;
use std::time::Duration;

/// Clock ticks a second, as the kernel tells times to programs.
const TICKS: f64 = 100.0;

/// One line about the machine, and a warning if it has something else to do.
pub fn describe() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    println!("machine: {}, {cores} cores, Linux {}", model.unwrap_or("unknown"), kernel.trim());
    let before = busy_seconds();
    std::thread::sleep(Duration::from_secs(1));
    let busy = (busy_seconds() - before) / cores.max(1) as f64;
    if busy > 0.1 {
        println!(
            "WARNING: others take {:.0}% of the cores: these figures are not to be trusted",
            busy * 100.0
        );
    }
}

/// CPU time that all cores together have spent on anything, the kernel's own threads included.
pub fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> =
        first.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).sum::<f64>();
    busy / TICKS
}

/// CPU time of this process, its threads together.
pub fn own_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    // utime and stime, the 14th and 15th of proc_pid_stat(5)
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}
