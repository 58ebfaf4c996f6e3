//! `--summary`: what the program did and used, in a few lines for people.

use crate::say;
use wardian::policy::Bytes;
use wardian::report::{Report, Source};

/// On standard error, behind the program's own output.
pub(super) fn tell(report: &Report) {
    say::note(&report.message);
    for line in [time(report), memory(report), traffic(report)] {
        say::note(&format!("  {line}"));
    }
    for file in &report.files {
        say::note(&format!("  collected {} ({})", file.path, size(file.bytes)));
    }
}

fn time(report: &Report) -> String {
    let usage = &report.usage;
    let user = about(report, "cpu_user_us", usage.cpu_user_us.map(seconds));
    let system = about(report, "cpu_system_us", usage.cpu_system_us.map(seconds));
    format!("time: {} on the clock; CPU {user} user, {system} system", seconds(usage.wall_us))
}

fn memory(report: &Report) -> String {
    let (usage, limits) = (&report.usage, &report.limits);
    let peak = about(report, "memory_peak_bytes", usage.memory_peak_bytes.map(size));
    let most = about(report, "processes_peak", usage.processes_peak.map(|count| count.to_string()));
    let (memory, processes) = (Bytes(limits.memory_bytes), limits.processes);
    format!("most at once: {peak} of {memory} memory; {most} of {processes} processes and threads")
}

fn traffic(report: &Report) -> String {
    let usage = &report.usage;
    let scratch = usage.disk_bytes.map_or_else(|| "unknown".into(), size);
    let refused: u64 = report.denials.iter().map(|denial| denial.count).sum();
    format!(
        "left: {} on standard output, {} on standard error, {scratch} in scratch space; {refused} calls refused",
        size(report.stdout.bytes),
        size(report.stderr.bytes),
    )
}

/// What was only looked at now and then may have been more.
fn about(report: &Report, figure: &str, value: Option<String>) -> String {
    match (value, report.usage_source.get(figure)) {
        (None, _) => "unknown".into(),
        (Some(value), Some(Source::Sampled)) => format!("about {value}"),
        (Some(value), _) => value,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a few figures are shown")]
fn seconds(micros: u64) -> String {
    format!("{:.3} s", micros as f64 / 1e6)
}

#[allow(clippy::cast_precision_loss, reason = "a few figures are shown")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1}K", bytes as f64 / 1024.0),
        _ => format!("{:.1}M", bytes as f64 / 1_048_576.0),
    }
}
