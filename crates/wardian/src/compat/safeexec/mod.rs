//! safeexec's options and report.
//!
//! [`parse`] reads its command line, [`report_lines`] writes its report. The report's lines are the
//! original's; what they say is measured here, where the original guessed.

mod options;
mod report;

pub use options::{Options, ReportTo, Uid, UsageError, parse};
pub use report::{Outcome, Verdict, report_lines};
