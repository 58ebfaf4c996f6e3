//! Limits that a request asks for, and the ceilings that it stays under.

use crate::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardian::policy::{self, Bytes, Duration, Policy, PolicyError};

/// Limits by the names of the command line: numbers (seconds, bytes) or text (`"500ms"`, `"256M"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Time on the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall: Option<Duration>,
    /// CPU time, all processes together; `cpu_time` too, as policies call it.
    #[serde(skip_serializing_if = "Option::is_none", alias = "cpu_time")]
    pub cpu: Option<Duration>,
    /// Memory, all processes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Scratch space; counts as memory too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Bytes of standard output, and as many of standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Bytes>,
}

impl Limits {
    /// These, where they are said; else those of `other`.
    pub(crate) fn or(self, other: Limits) -> Limits {
        Limits {
            wall: self.wall.or(other.wall),
            cpu: self.cpu.or(other.cpu),
            memory: self.memory.or(other.memory),
            processes: self.processes.or(other.processes),
            disk: self.disk.or(other.disk),
            output: self.output.or(other.output),
        }
    }

    /// The lower of both; what only one says is that.
    pub(crate) fn min(self, other: Limits) -> Limits {
        fn lower<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(if other < one { other } else { one }),
                (one, other) => one.or(other),
            }
        }
        Limits {
            wall: lower(self.wall, other.wall),
            cpu: lower(self.cpu, other.cpu),
            memory: lower(self.memory, other.memory),
            processes: lower(self.processes, other.processes),
            disk: lower(self.disk, other.disk),
            output: lower(self.output, other.output),
        }
    }

    /// All limits of a policy.
    pub(crate) fn of(policy: &Policy) -> Limits {
        let limits = &policy.limits;
        Limits {
            wall: Some(limits.wall),
            cpu: Some(limits.cpu_time),
            memory: Some(limits.memory),
            processes: Some(limits.processes),
            disk: Some(limits.disk),
            output: Some(limits.output),
        }
    }

    /// The policy with these limits, none above `ceilings`; what is not asked for is the policy's, and is lowered.
    pub(crate) fn lay_over(self, policy: &Policy, ceilings: Limits) -> Result<Policy, Problem> {
        let mut policy = policy.clone();
        let limits = &mut policy.limits;
        limits.wall = within("wall", self.wall, limits.wall, ceilings.wall)?;
        limits.cpu_time = within("cpu", self.cpu, limits.cpu_time, ceilings.cpu)?;
        limits.memory = within("memory", self.memory, limits.memory, ceilings.memory)?;
        limits.processes = within("processes", self.processes, limits.processes, ceilings.processes)?;
        // Scratch space counts as memory: less memory means less of it, unless both were said.
        let disk = limits.disk.min(limits.memory);
        limits.disk = within("disk", self.disk, disk, ceilings.disk)?;
        limits.output = within("output", self.output, limits.output, ceilings.output)?;
        policy::check(&policy, "limits").map_err(|error| contradiction(&error))?;
        Ok(policy)
    }
}

/// What is wrong with limits that may be, each by itself.
fn contradiction(error: &PolicyError) -> Problem {
    match error {
        PolicyError::Invalid { key, problem, .. } => {
            let field = if *key == "limits.cpu_time" { "limits.cpu" } else { key };
            Problem::field(field, problem)
        }
        other => Problem::field("limits", other),
    }
}

fn within<T: PartialOrd + Copy + std::fmt::Display>(
    name: &str,
    wanted: Option<T>,
    usual: T,
    ceiling: Option<T>,
) -> Result<T, Problem> {
    match (wanted, ceiling) {
        (Some(wanted), Some(ceiling)) if wanted > ceiling => {
            let detail = format!("{wanted} is above the ceiling of {ceiling}");
            let hint =
                "the operator can raise it: `[ceilings]` in the service's configuration, or the key's own";
            Err(Problem::field(format!("limits.{name}"), detail).with_hint(Some(hint.into())))
        }
        (Some(wanted), _) => Ok(wanted),
        (None, Some(ceiling)) if usual > ceiling => Ok(ceiling),
        (None, _) => Ok(usual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_lower_what_is_usual_and_refuse_what_is_asked() {
        let policy = policy::preset("python").unwrap();
        let ceilings = Limits { wall: Some(Duration::from_secs(5)), ..Limits::of(&policy) };
        let laid = Limits::default().lay_over(&policy, ceilings).unwrap();
        assert_eq!(laid.limits.wall, Duration::from_secs(5));
        let asked = Limits { wall: Some(Duration::from_secs(6)), ..Limits::default() };
        let problem = asked.lay_over(&policy, ceilings).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("limits.wall"));
        assert_eq!(problem.detail, "6s is above the ceiling of 5s");
        let less = Limits { memory: Some(Bytes(64 << 20)), ..Limits::default() };
        let laid = less.lay_over(&policy, ceilings).unwrap();
        assert_eq!(laid.limits.disk, Bytes(64 << 20));
        let none = Limits { memory: Some(Bytes(10)), ..Limits::default() };
        assert_eq!(none.lay_over(&policy, ceilings).unwrap_err().field.as_deref(), Some("limits.memory"));
    }

    #[test]
    fn the_field_that_is_wrong_is_named_and_no_other() {
        let policy = policy::preset("python").unwrap();
        let ceilings = Limits::of(&policy);
        let limits = |json: &str| serde_json::from_str::<Limits>(json).unwrap();
        for (asked, field, start) in [
            (
                r#"{"memory": "100M", "disk": "200M"}"#,
                "limits.disk",
                "200M is more than `limits.memory` (100M)",
            ),
            (r#"{"memory": 10}"#, "limits.memory", "10 is less than 1M"),
            (r#"{"cpu_time": 0}"#, "limits.cpu", "must be above 0"),
        ] {
            let problem = limits(asked).lay_over(&policy, ceilings).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{asked}");
            assert!(problem.detail.starts_with(start), "{asked}: {}", problem.detail);
        }
    }
}
