//! One table from report to exit code.

use wardian::report::{Reason, Report, Verdict};

/// The exit code for a report; the report is authoritative, since a program may exit with any of these itself.
pub(crate) fn of(report: &Report) -> u8 {
    const SIGNALED: i32 = 128;
    let by_signal = |number: i32| u8::try_from(SIGNALED + number).unwrap_or(u8::MAX);
    let signal = report.signal.as_ref().map(|signal| signal.number);
    match report.verdict {
        Verdict::Ok | Verdict::NonzeroExit => report.exit_code.unwrap_or(0),
        Verdict::Signaled => by_signal(signal.unwrap_or(0)),
        Verdict::TimeLimit => 124,
        Verdict::MemoryLimit => 137,
        Verdict::OutputLimit => 153,
        Verdict::DiskLimit | Verdict::ProcessLimit => 154,
        Verdict::PolicyViolation => 159,
        Verdict::NotExecutable if report.reason == Reason::NotFound => 127,
        Verdict::NotExecutable => 126,
        Verdict::Cancelled => signal.map_or(130, by_signal),
        Verdict::SandboxError => 125,
    }
}
