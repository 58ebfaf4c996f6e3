//! What Piston says of a run.

use serde_json::{Value, json};
use wardian::report::{Reason, Report, Verdict};

/// What a program wrote, and both streams as they came.
#[derive(Default)]
pub(super) struct Written {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) output: String,
}

/// How a run ended, in its words.
pub(super) struct Ending {
    pub(super) code: Option<u8>,
    pub(super) signal: Option<String>,
    status: Option<&'static str>,
    message: Option<String>,
}

impl Ending {
    pub(super) fn of(report: &Report) -> Ending {
        let signal = report.signal.as_ref();
        let killed = |status, message: &str| Ending {
            code: None,
            signal: Some("SIGKILL".into()),
            status: Some(status),
            message: Some(message.into()),
        };
        // One that ended before it could be stopped wrote too much all the same.
        if matches!(report.verdict, Verdict::OutputLimit | Verdict::Ok | Verdict::NonzeroExit) {
            if report.stdout.truncated {
                return killed("OL", "stdout length exceeded");
            }
            if report.stderr.truncated {
                return killed("EL", "stderr length exceeded");
            }
        }
        match report.verdict {
            Verdict::Ok => Ending { code: report.exit_code, signal: None, status: None, message: None },
            Verdict::NonzeroExit => {
                let code = report.exit_code;
                let message = format!("Exited with error status {}", code.unwrap_or_default());
                Ending { code, signal: None, status: Some("RE"), message: Some(message) }
            }
            Verdict::Signaled => Ending {
                code: None,
                signal: signal.map(|signal| signal.name.clone()),
                status: Some("SG"),
                message: signal.map(|signal| format!("Caught fatal signal {}", signal.number)),
            },
            Verdict::TimeLimit if report.reason == Reason::WallTime => {
                killed("TO", "Time limit exceeded (wall clock)")
            }
            Verdict::TimeLimit => killed("TO", "Time limit exceeded"),
            // A program that ended by itself, after a limit refused it something.
            Verdict::DiskLimit | Verdict::ProcessLimit if report.exit_code.is_some() => Ending {
                code: report.exit_code,
                signal: None,
                status: Some("RE"),
                message: Some(report.message.clone()),
            },
            Verdict::DiskLimit | Verdict::ProcessLimit if signal.is_some() => Ending {
                code: None,
                signal: signal.map(|signal| signal.name.clone()),
                status: Some("SG"),
                message: Some(report.message.clone()),
            },
            Verdict::MemoryLimit | Verdict::DiskLimit | Verdict::ProcessLimit | Verdict::PolicyViolation => {
                killed("SG", &report.message)
            }
            Verdict::OutputLimit | Verdict::NotExecutable | Verdict::Cancelled | Verdict::SandboxError => {
                Ending { code: None, signal: None, status: Some("XX"), message: Some(report.message.clone()) }
            }
        }
    }
}

/// The answer to `execute`.
pub(super) fn result(report: &Report, written: Written) -> Value {
    let usage = &report.usage;
    let cpu_us = usage.cpu_user_us.zip(usage.cpu_system_us).map(|(user, system)| user + system);
    let Ending { code, signal, status, message } = Ending::of(report);
    json!({
        "language": "python",
        "version": report.python,
        "run": {
            "stdout": written.stdout,
            "stderr": written.stderr,
            "output": written.output,
            "code": code,
            "signal": signal,
            "message": message,
            "status": status,
            "cpu_time": cpu_us.map(|us| us / 1000),
            "wall_time": usage.wall_us / 1000,
            "memory": usage.memory_peak_bytes,
        },
    })
}
