//! What an examination of the host found: the data behind `wardian doctor`, in words and as JSON.

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
    /// Whether this kernel has what it needs.
    pub available: bool,
    /// What it does not stop, and the level `namespaces` does.
    pub does_not_stop: Vec<String>,
}

impl LandlockLevel {
    /// With this ABI; below 2 files could not be renamed across directories.
    pub(super) fn with_abi(abi: u32) -> LandlockLevel {
        let mut open = vec![
            "seeing that host paths exist (stat and the like), and other processes in /proc",
            "sharing the user's id with everything else that the user runs",
            "System V and POSIX message queues and semaphores of others",
            "a private host name, and a private list of mounts",
            "memory, processes and CPU time, which are watched and not enforced unless there is a cgroup",
        ];
        if abi < 4 {
            open.push("TCP by anything but the seccomp filter (Landlock does from ABI 4)");
        }
        if abi < 5 {
            open.push("ioctl on device files that may be opened (Landlock does from ABI 5)");
        }
        if abi < 6 {
            open.push(
                "signals to the user's processes and others' abstract sockets (Landlock does from ABI 6)",
            );
        }
        LandlockLevel { available: abi >= 2, does_not_stop: open.into_iter().map(String::from).collect() }
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
            _ => format!("\nThe default policy `python` cannot be met here: see FAIL above{weaker}.\n"),
        }
    }
}

impl LandlockLevel {
    fn to_text(&self) -> String {
        let mut text = match self.available {
            true => "\n`--level landlock` (weaker; not in this version yet) would be possible here. It does not stop:\n",
            false => "\n`--level landlock` (weaker; not in this version yet) needs Landlock ABI 2. It does not stop:\n",
        }
        .to_owned();
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
            landlock_level: LandlockLevel::with_abi(7),
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
    fn the_weaker_level_says_more_the_older_the_kernel() {
        let open = |abi| LandlockLevel::with_abi(abi).does_not_stop.len();
        assert!(open(6) < open(5) && open(5) < open(4) && open(4) < open(3));
        assert!(LandlockLevel::with_abi(2).available && !LandlockLevel::with_abi(1).available);
    }
}
