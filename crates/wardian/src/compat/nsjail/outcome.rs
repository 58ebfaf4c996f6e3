//! How nsjail says that a run is over: exit codes and log lines.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::signals;

/// How a run ended, in the terms of nsjail's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The program exited with this code.
    Exited(u8),
    /// The program died by this signal; a wall limit and running out of memory are SIGKILL.
    Signaled(i32),
    /// The program was never started.
    SetupFailed,
}

impl Ending {
    /// The exit code of nsjail in mode ONCE: the program's own, 128+N for signal N, 255 for its own failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => {
                u8::try_from(signal).ok().and_then(|signal| signal.checked_add(128)).unwrap_or(255)
            }
            Self::SetupFailed => 255,
        }
    }
}

/// The message nsjail logs at level I when a run is over; none where nothing ran.
pub fn ended_message(pid: u32, ending: Ending) -> Option<String> {
    let how = match ending {
        Ending::Exited(code) => format!("exited with status: {code}"),
        Ending::Signaled(signal) => {
            let name = signals::name(signal).map_or_else(|| format!("SIG{signal}"), str::to_owned);
            format!("terminated with signal: {name} ({signal})")
        }
        Ending::SetupFailed => return None,
    };
    Some(format!("pid={pid} ([STANDALONE MODE]) {how}, (PIDs left: 0)"))
}

/// The message nsjail logs at level I when the wall limit ends a run. Both times are whole seconds.
pub fn time_limit_message(pid: u32, ran_s: u64, limit_s: u64) -> String {
    format!("pid={pid} run time >= time limit ({ran_s} >= {limit_s}) ([STANDALONE MODE]). Killing it")
}

/// A line of nsjail's log at level I, without the newline. The time is in UTC, which its zone says.
pub fn log_line(time: SystemTime, message: &str) -> String {
    format!("[I][{}] {message}", stamp(time))
}

fn stamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+0000")
}

/// A line of nsjail's log at level E, which also says who writes it and where: we have no line to tell.
pub fn error_line(time: SystemTime, pid: u32, message: &str) -> String {
    format!("[E][{}][{pid}] wardian():0 {message}", stamp(time))
}

/// The Gregorian date so many days after 1970-01-01, counted in years that start in March, so that the leap
/// day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era_day = days % 146_097;
    let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let march_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (days / 146_097 * 400 + era_year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn exit_codes_are_nsjails() {
        for (ending, code) in [
            (Ending::Exited(0), 0),
            (Ending::Exited(255), 255),
            (Ending::Signaled(9), 137),
            (Ending::Signaled(11), 139),
            (Ending::Signaled(64), 192),
            (Ending::SetupFailed, 255),
        ] {
            assert_eq!(ending.exit_code(), code, "{ending:?}");
        }
    }

    #[test]
    fn log_lines_are_nsjails() {
        let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(
            log_line(time(1_709_210_096), &ended_message(7, Ending::Exited(3)).unwrap()),
            "[I][2024-02-29T12:34:56+0000] pid=7 ([STANDALONE MODE]) exited with status: 3, (PIDs left: 0)"
        );
        assert_eq!(
            ended_message(7, Ending::Signaled(9)).unwrap(),
            "pid=7 ([STANDALONE MODE]) terminated with signal: SIGKILL (9), (PIDs left: 0)"
        );
        assert_eq!(ended_message(7, Ending::SetupFailed), None);
        assert_eq!(
            time_limit_message(7, 6, 6),
            "pid=7 run time >= time limit (6 >= 6) ([STANDALONE MODE]). Killing it"
        );
        assert_eq!(error_line(time(60), 7, "no"), "[E][1970-01-01T00:01:00+0000][7] wardian():0 no");
        assert!(log_line(time(0), "").starts_with("[I][1970-01-01T00:00:00+0000]"));
        assert!(log_line(time(951_868_799), "").starts_with("[I][2000-02-29T23:59:59+0000]"));
        assert!(log_line(time(4_102_444_800), "").starts_with("[I][2100-01-01T00:00:00+0000]"));
    }
}
