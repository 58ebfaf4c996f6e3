//! Limits that a request asks for, and the ceilings that it stays under.

use crate::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardian::policy::{self, Bytes, Duration, Policy};

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
        policy::check(&policy, "limits").map_err(|error| {
            let text = error.to_string();
            let named = ["wall", "memory", "processes", "disk", "output"];
            let field = named.into_iter().find(|name| text.contains(&format!("limits.{name}")));
            let field = field.or_else(|| text.contains("limits.cpu_time").then_some("cpu"));
            Problem::field(field.map_or("limits".into(), |field| format!("limits.{field}")), text)
        })?;
        Ok(policy)
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
            Err(Problem::field(format!("limits.{name}"), detail))
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
}
