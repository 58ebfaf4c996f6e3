//! What an examination of the host found: the data behind `wardian doctor`, in words and as JSON.

use super::Privilege;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// The schema's name; readers refuse another number.
pub const EXAMINATION_SCHEMA: &str = "wardian.doctor/1";

/// What a host can enforce, shown by doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Examination {
    /// [`EXAMINATION_SCHEMA`].
    pub schema: String,
    /// Wardian's version.
    pub wardian: String,
    /// The kernel's release.
    pub kernel: String,
    /// Whether the policy `python` can be met: nothing failed.
    pub default_policy_can_be_met: bool,
    /// One or more for each layer, in the order in which they depend on each other.
    pub findings: Vec<Finding>,
    /// Interpreters that a run would find, the default one first.
    pub pythons: Vec<PythonFound>,
    /// What the weaker level that exists by name only would be here.
    pub landlock_level: LandlockLevel,
    /// The kernel settings (sysctl) that matter, where they exist.
    pub settings: BTreeMap<String, String>,
}

/// What was found of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The layer's name: `namespaces`, `memory`, …
    pub layer: String,
    /// Whether it holds.
    pub status: Status,
    /// What was seen.
    pub detail: String,
    /// What to do about it; always there unless `status` is `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Whether a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Ok,
    /// Weaker than it could be; reports of runs say so.
    Warn,
    /// The default policy cannot be met without it.
    Fail,
}

/// An interpreter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PythonFound {
    /// Where.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// Whether a run takes it when no other is named.
    pub default: bool,
}

/// The level `landlock`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandlockLevel {
    /// Whether a program ran so.
    pub available: bool,
    /// What was in the way, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it does not stop, and the level `namespaces` does.
    pub does_not_stop: Vec<String>,
}

impl LandlockLevel {
    /// As what a probe met, and as whom runs would be made.
    pub(super) fn of(privilege: Privilege, reason: Option<String>) -> LandlockLevel {
        let mut open = vec![
            "seeing that host paths exist, and their size, owner and times (stat, access, readlink)",
            "learning which process ids are in use, and their groups, sessions and priorities (pidfd_open, getpgid, getsid, \
             getpriority); the host's own name, load and mounted file systems",
            "filling the host's disk for a moment: files are counted every 50 ms, deleted open ones not at all",
            "memory, processes and CPU time beyond their limits for a moment, unless there is a cgroup",
            "outliving a wardian-init that somebody outside kills: only the program itself dies with it then",
        ];
        match privilege {
            Privilege::Root => open.push("kernel holes: nothing but the system call filter lies before them"),
            Privilege::User => open.push(
                "a hole in Landlock or the filter: the program has the user's own id, with all that it owns",
            ),
        }
        let does_not_stop = open.into_iter().map(String::from).collect();
        LandlockLevel { available: reason.is_none(), reason, does_not_stop }
    }
}

impl Finding {
    pub(super) fn ok(layer: &str, detail: impl Into<String>) -> Finding {
        Finding { layer: layer.into(), status: Status::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn warn(layer: &str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { status: Status::Warn, fix: Some(fix.into()), ..Finding::ok(layer, detail) }
    }

    pub(super) fn fail(layer: &str, detail: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { status: Status::Fail, fix: Some(fix.into()), ..Finding::ok(layer, detail) }
    }
}

impl Examination {
    /// A line for each layer, what to do about it below, and what it means in the end.
    pub fn to_text(&self) -> String {
        const LAYER: usize = 12;
        let mut text = String::new();
        for finding in &self.findings {
            let status = match finding.status {
                Status::Ok => "ok  ",
                Status::Warn => "WARN",
                Status::Fail => "FAIL",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{status} {:<LAYER$} {}", finding.layer, finding.detail);
            if let Some(fix) = &finding.fix {
                let _ = writeln!(text, "     FIX: {fix}");
            }
        }
        text += &self.landlock_level.to_text();
        text += &self.conclusion();
        text
    }

    fn count(&self, status: Status) -> usize {
        self.findings.iter().filter(|finding| finding.status == status).count()
    }

    fn conclusion(&self) -> String {
        let (weaker, failed) = (self.count(Status::Warn), self.count(Status::Fail));
        let weaker = match weaker {
            0 => String::new(),
            1 => "; one layer is weaker than it could be (WARN)".to_owned(),
            more => format!("; {more} layers are weaker than they could be (WARN)"),
        };
        match failed {
            0 => format!("\nThe default policy `python` can be met here{weaker}.\n"),
            _ if self.landlock_level.available => format!(
                "\nThe default policy `python` cannot be met here: see FAIL above{weaker}. With `--level landlock` it can be \
                 met in part.\n"
            ),
            _ => format!("\nThe default policy `python` cannot be met here: see FAIL above{weaker}.\n"),
        }
    }
}

impl LandlockLevel {
    fn to_text(&self) -> String {
        let mut text = match &self.reason {
            None => "\n`--level landlock` (weaker, without namespaces) works here.".to_owned(),
            Some(reason) => {
                format!("\n`--level landlock` (weaker, without namespaces) does not work here: {reason}.")
            }
        };
        text += " It does not stop:\n";
        for open in &self.does_not_stop {
            let _ = writeln!(text, "  - {open}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examination(findings: Vec<Finding>) -> Examination {
        Examination {
            schema: EXAMINATION_SCHEMA.into(),
            wardian: "0".into(),
            kernel: "6.1".into(),
            default_policy_can_be_met: true,
            findings,
            pythons: Vec::new(),
            landlock_level: LandlockLevel::of(Privilege::User, Some("no Landlock".into())),
            settings: BTreeMap::new(),
        }
    }

    #[test]
    fn what_is_not_well_is_followed_by_what_to_do() {
        let text = examination(vec![
            Finding::ok("memory", "cgroup v1, enforced"),
            Finding::warn("swap", "not limited", "boot with swapaccount=1"),
            Finding::fail("namespaces", "refused", "allow them"),
        ])
        .to_text();
        assert!(text.starts_with(
            "ok   memory       cgroup v1, enforced\nWARN swap         not limited\n     FIX: boot"
        ));
        assert!(text.contains("FAIL namespaces   refused\n     FIX: allow them\n"));
        assert!(
            text.ends_with(
                "cannot be met here: see FAIL above; one layer is weaker than it could be (WARN).\n"
            )
        );
    }

    #[test]
    fn a_host_without_failures_meets_the_default_policy() {
        let text = examination(vec![Finding::ok("memory", "")]).to_text();
        assert!(text.ends_with("\nThe default policy `python` can be met here.\n"));
    }

    #[test]
    fn the_weaker_level_says_what_it_leaves_open() {
        let works = LandlockLevel::of(Privilege::User, None);
        assert!(works.available && works.to_text().contains("works here"));
        assert!(works.to_text().contains("the user's own id"));
        let fails = LandlockLevel::of(Privilege::Root, Some("it needs ABI 6".into()));
        assert!(!fails.available && fails.to_text().contains("does not work here: it needs ABI 6."));
        assert!(!fails.to_text().contains("the user's own id"));
        let mut hopeful = examination(vec![Finding::fail("namespaces", "refused", "allow them")]);
        hopeful.landlock_level = works;
        assert!(hopeful.to_text().contains("With `--level landlock` it can be met in part"));
    }
}
