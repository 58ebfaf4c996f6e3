//! safeexec's options and report.
//!
//! [`parse`] reads its command line, [`to_policy`] expresses it as a policy, [`report_lines`]
//! writes its report. The report's lines are the
//! original's; what they say is measured here, where the original guessed.

mod options;
mod policy;
mod report;

pub use options::{Options, ReportTo, Uid, UsageError, parse};
pub use policy::to_policy;
pub use report::{Outcome, Verdict, report_lines};
