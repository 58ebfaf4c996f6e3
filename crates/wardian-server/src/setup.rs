//! A configuration that has been put into effect: keys, policies, environments.

use crate::auth::Keys;
use crate::config::{Config, ConfigError, EnvironmentConfig};
use crate::engine::Environment;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::{edx, piston, snekbox};
use std::collections::BTreeSet;
use std::sync::Arc;
use wardian::host::Host;
use wardian::policy::{self, Policy};

/// What requests are served by.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) policies: Vec<Arc<Policy>>,
    pub(crate) environments: Vec<Arc<Environment>>,
}

impl Setup {
    /// Puts a configuration into effect; environments that stay the same are taken over from `before`, and what
    /// keys have used of their rates.
    pub(crate) fn new(config: Config, before: Option<&Setup>, host: &Host) -> Result<Setup, ConfigError> {
        config.check()?;
        let keys = Keys::new(&config.keys, before.map(|setup| &setup.keys))?;
        let policies = config.policies.iter().map(|name| load(name)).collect::<Result<Vec<_>, _>>()?;
        check_names(&policies)?;
        check_ceilings(&config, &policies)?;
        check_interfaces(&config)?;
        let running = config.running(host);
        let start = |environment: &EnvironmentConfig| {
            let policies = ready_policies(&config, environment, &policies)?;
            let before = before.into_iter().flat_map(|setup| &setup.environments);
            let kept = before.into_iter().find(|other| other.is(environment, &policies, running)).cloned();
            match kept {
                Some(environment) => Ok(environment),
                None => Environment::start(environment, &policies, running, host).map(Arc::new),
            }
        };
        let environments = config.environments.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        Ok(Setup { config, keys, policies, environments })
    }

    /// The policy of that name, or the first.
    pub(crate) fn policy(&self, name: Option<&str>) -> Result<&Arc<Policy>, Problem> {
        let found = match name {
            None => self.policies.first(),
            Some(name) => self.policies.iter().find(|policy| policy.name == name),
        };
        found.ok_or_else(|| unknown("policy", name, self.policies.iter().map(|policy| policy.name.as_str())))
    }

    /// The environment of that name, or the first.
    pub(crate) fn environment(&self, name: Option<&str>) -> Result<&Arc<Environment>, Problem> {
        let found = match name {
            None => self.environments.first(),
            Some(name) => self
                .environments
                .iter()
                .find(|environment| environment.config.name == name || environment.interpreter.id() == name),
        };
        found.ok_or_else(|| {
            let names = self.environments.iter().map(|environment| environment.config.name.as_str());
            unknown("environment", name, names)
        })
    }

    /// The most that a caller with these ceilings may ask of a policy for.
    pub(crate) fn ceilings(&self, policy: &Policy, own: Limits) -> Limits {
        own.or(self.config.ceilings).or(Limits::of(policy))
    }
}

fn unknown<'a>(what: &str, name: Option<&str>, names: impl Iterator<Item = &'a str>) -> Problem {
    let names: Vec<_> = names.collect();
    let name = name.unwrap_or_default();
    Problem::field(what, format!("no {what} `{}` here; there is {}", name.escape_debug(), names.join(", ")))
}

/// Requests choose policies by name.
fn check_names(policies: &[Arc<Policy>]) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    let Some(policy) = policies.iter().find(|policy| !names.insert(&policy.name)) else { return Ok(()) };
    Err(ConfigError::Invalid {
        key: "policies".into(),
        problem: format!("two are called `{}`", policy.name),
        hint: Some("give one of them another name: `name = \"...\"` in its file".into()),
    })
}

/// No program could run below ceilings that no policy can have.
fn check_ceilings(config: &Config, policies: &[Arc<Policy>]) -> Result<(), ConfigError> {
    for policy in policies {
        let ceilings = config.ceilings.or(Limits::of(policy));
        Limits::default().lay_over(policy, ceilings).map_err(|problem| {
            let field = problem.field.unwrap_or_default().replace("limits", "ceilings");
            ConfigError::invalid(field, problem.detail)
        })?;
    }
    Ok(())
}

/// What cannot be given to programs is found out now, not at their first request.
fn check_interfaces(config: &Config) -> Result<(), ConfigError> {
    for (key, policy) in [
        ("snekbox.limits", snekbox::policy_of(config, Limits::default())),
        ("piston.limits", piston::policy_of(config, Limits::default())),
        ("edx.limits", edx::policy_of(config, Limits::default())),
    ] {
        policy.map_err(|problem| ConfigError::invalid(key, problem.detail))?;
    }
    Ok(())
}

/// The policies under which an environment has sandboxes ready, with the limits that requests without any get.
fn ready_policies(
    config: &Config,
    environment: &EnvironmentConfig,
    policies: &[Arc<Policy>],
) -> Result<Vec<Policy>, ConfigError> {
    let of = |name: &str| -> Result<Policy, ConfigError> {
        let key = || format!("environments.{}.policies", environment.name);
        let laid = match name {
            "snekbox" => snekbox::policy_of(config, Limits::default()),
            "piston" => piston::policy_of(config, Limits::default()),
            "edx" => edx::policy_of(config, Limits::default()),
            name => {
                let found = policies.iter().find(|policy| policy.name == name);
                let policy =
                    found.ok_or_else(|| ConfigError::invalid(key(), format!("no policy `{name}`")))?;
                Limits::default().lay_over(policy, config.ceilings.or(Limits::of(policy)))
            }
        };
        laid.map_err(|problem| ConfigError::invalid(key(), problem.detail))
    };
    if environment.policies.is_empty() {
        let first = policies.first().map(|policy| of(&policy.name));
        return first.into_iter().collect();
    }
    environment.policies.iter().map(|name| of(name)).collect()
}

fn load(name: &str) -> Result<Arc<Policy>, ConfigError> {
    policy::load(name).map(Arc::new).map_err(|error| ConfigError::invalid("policies", error))
}
