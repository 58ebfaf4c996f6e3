//! safeexec's report.

use crate::signals;

const SIGXFSZ: i32 = 25;

/// How a run ended, in safeexec's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The program exited with 0.
    Ok,
    /// The program exited with this code.
    NonZeroExit(u8),
    /// The program died by this signal, which no limit of ours sent.
    Signal(i32),
    /// A wall or CPU limit ended it. The original says so of every SIGKILL.
    TimeLimit,
    /// It ran out of memory. The original says so only if it happens to look at the right moment.
    MemoryLimit,
    /// A limit on what it may write ended it.
    OutputLimit,
    /// The sandbox failed; the program is not to blame.
    InternalError,
}

/// What the report says of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// Seconds on the clock, whole ones.
    pub elapsed_s: u64,
    /// Peak memory in KiB; none if it could not be measured.
    pub memory_kib: Option<u64>,
    /// CPU time of all its processes, user and system, in microseconds.
    pub cpu_us: u64,
}

impl Outcome {
    /// safeexec's own exit status: 0 if the first line says `OK`, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(self.verdict != Verdict::Ok)
    }
}

/// The report's lines, each with its newline.
///
/// Of the original's first lines two are never written: `Invalid Function` (any SIGHUP) and `Internal Error`
/// for any SIGPIPE; such a program died by that signal, and the line says so.
pub fn report_lines(outcome: &Outcome) -> String {
    let first = match outcome.verdict {
        Verdict::Ok => "OK".to_owned(),
        Verdict::NonZeroExit(code) => format!("Command exited with non-zero status ({code})"),
        // The kernel's signal for a file beyond its size limit.
        Verdict::OutputLimit | Verdict::Signal(SIGXFSZ) => "Output Limit Exceeded".to_owned(),
        Verdict::Signal(signal) => {
            let name = signals::name(signal).map_or_else(|| format!("SIG{signal}"), str::to_owned);
            format!("Command terminated by signal ({signal}: {name})")
        }
        Verdict::TimeLimit => "Time Limit Exceeded".to_owned(),
        Verdict::MemoryLimit => "Memory Limit Exceeded".to_owned(),
        Verdict::InternalError => "Internal Error".to_owned(),
    };
    let memory = outcome.memory_kib.map(|kib| format!("memory usage: {kib} kbytes\n")).unwrap_or_default();
    // Rounded to the nearest millisecond, as printf does.
    let cpu_ms = outcome.cpu_us.saturating_add(500) / 1000;
    format!(
        "{first}\nelapsed time: {} seconds\n{memory}cpu usage: {}.{:03} seconds\n",
        outcome.elapsed_s,
        cpu_ms / 1000,
        cpu_ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome {
        Outcome { verdict, elapsed_s: 3, memory_kib: Some(9216), cpu_us: 1_234_567 }
    }

    #[test]
    fn the_whole_report() {
        assert_eq!(
            report_lines(&outcome(Verdict::Ok)),
            "OK\nelapsed time: 3 seconds\nmemory usage: 9216 kbytes\ncpu usage: 1.235 seconds\n"
        );
        assert_eq!(
            report_lines(&Outcome { memory_kib: None, cpu_us: 499, ..outcome(Verdict::TimeLimit) }),
            "Time Limit Exceeded\nelapsed time: 3 seconds\ncpu usage: 0.000 seconds\n"
        );
    }

    #[test]
    fn every_verdict_has_its_first_line_and_exit_status() {
        for (verdict, line, status) in [
            (Verdict::Ok, "OK", 0),
            (Verdict::NonZeroExit(127), "Command exited with non-zero status (127)", 1),
            (Verdict::Signal(9), "Command terminated by signal (9: SIGKILL)", 1),
            (Verdict::Signal(11), "Command terminated by signal (11: SIGSEGV)", 1),
            (Verdict::Signal(1), "Command terminated by signal (1: SIGHUP)", 1),
            (Verdict::Signal(13), "Command terminated by signal (13: SIGPIPE)", 1),
            (Verdict::Signal(40), "Command terminated by signal (40: SIG40)", 1),
            (Verdict::Signal(25), "Output Limit Exceeded", 1),
            (Verdict::OutputLimit, "Output Limit Exceeded", 1),
            (Verdict::TimeLimit, "Time Limit Exceeded", 1),
            (Verdict::MemoryLimit, "Memory Limit Exceeded", 1),
            (Verdict::InternalError, "Internal Error", 1),
        ] {
            let outcome = outcome(verdict);
            assert_eq!(report_lines(&outcome).lines().next(), Some(line));
            assert_eq!(outcome.exit_status(), status, "{verdict:?}");
        }
    }
}
