//! The configuration: a TOML file, every key of which may be left out.

use crate::limits::Limits;
use crate::v1::request::MOST_FILES;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use wardian::policy::{Bytes, Duration};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen at: `127.0.0.1:8060`.
    pub listen: Vec<String>,
    /// A unix socket to listen at, for those who may open it: no key is asked for there.
    pub unix: Option<PathBuf>,
    /// The socket's mode: `"0600"`.
    pub unix_mode: String,
    /// Names by which clients may call this service, beside `localhost` and the addresses it listens at.
    pub hosts: Vec<String>,
    /// Web origins whose pages may call this service: `https://example.org`.
    pub origins: Vec<String>,
    /// How the log is written.
    pub log: LogFormat,
    /// How many runs.
    pub runs: Runs,
    /// How large and how slow requests may be.
    pub requests: Requests,
    /// What of collected files fits into an answer.
    pub collect: CollectLimits,
    /// The most that a request may ask for; what is not said is the policy's own limit.
    pub ceilings: Limits,
    /// The interpreters that requests choose from; the first is the default.
    pub environments: Vec<EnvironmentConfig>,
    /// The policies that requests choose from: presets and files; the first is the default.
    pub policies: Vec<String>,
    /// Who may call.
    pub keys: Vec<KeyConfig>,
    /// The interface of snekbox.
    pub snekbox: Frontend,
    /// The interface of Piston.
    pub piston: Frontend,
    /// The interface of Open edX's codejail-service.
    pub edx: Frontend,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec!["127.0.0.1:8060".into()],
            unix: None,
            unix_mode: "0600".into(),
            hosts: Vec::new(),
            origins: Vec::new(),
            log: LogFormat::Human,
            runs: Runs::default(),
            requests: Requests::default(),
            collect: CollectLimits::default(),
            ceilings: Limits::default(),
            environments: vec![EnvironmentConfig::default()],
            policies: vec!["python".into(), "strict".into()],
            keys: Vec::new(),
            snekbox: Frontend::default(),
            piston: Frontend::default(),
            edx: Frontend::default(),
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// A JSON object a line.
    Json,
}

/// How many runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runs {
    /// At once; none for as many as there are cores.
    pub at_once: Option<usize>,
    /// Most requests that wait for their turn.
    pub queue: usize,
    /// How long one waits for its turn.
    pub queue_time: Duration,
    /// How long runs may go on when the service ends.
    pub drain_time: Duration,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs {
            at_once: None,
            queue: 256,
            queue_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(30),
        }
    }
}

/// How large and how slow requests may be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// Bytes of a body.
    pub body: Bytes,
    /// Bytes of a WebSocket message; memory for up to four is set aside for each of these connections, as much as comes.
    pub message: Bytes,
    /// Bytes of all bodies and answers that are held in memory at once.
    pub memory: Bytes,
    /// Files in a request.
    pub files: usize,
    /// Connections at once.
    pub connections: usize,
    /// How long a client may take for the head of a request, or be idle.
    pub head_time: Duration,
    /// How long a client may take for a body.
    pub body_time: Duration,
    /// How long a client may take nothing of an answer.
    pub write_time: Duration,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests {
            body: Bytes(16 << 20),
            message: Bytes(1 << 20),
            memory: Bytes(256 << 20),
            files: 200,
            connections: 4096,
            head_time: Duration::from_secs(15),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
        }
    }
}

/// What of collected files fits into an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectLimits {
    /// Files.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: Bytes,
}

impl Default for CollectLimits {
    fn default() -> CollectLimits {
        CollectLimits { files: 100, bytes: Bytes(32 << 20) }
    }
}

/// An interpreter that requests choose by name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentConfig {
    /// Its name.
    pub name: String,
    /// A version (`3.12`) or a path; none for the first `python3` in PATH.
    pub python: Option<String>,
    /// A virtual environment instead.
    pub venv: Option<PathBuf>,
    /// The policies of sandboxes that are made ready ahead: of the service's, or `snekbox`, `piston`, `edx`; none for
    /// the service's first.
    pub policies: Vec<String>,
    /// Modules that are imported ahead; what ends with `.py` is a file of the host, and becomes the module of its name.
    pub preload: Vec<String>,
    /// Sandboxes that are ready ahead of demand under each of them; 0 for none: every run starts cold.
    pub ready: usize,
}

impl Default for EnvironmentConfig {
    fn default() -> EnvironmentConfig {
        EnvironmentConfig {
            name: "python".into(),
            python: None,
            venv: None,
            policies: Vec::new(),
            preload: Vec::new(),
            ready: 2,
        }
    }
}

/// Who may call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Its name, shown in the log.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal: `wardian serve --new-key NAME` prints both.
    pub sha256: String,
    /// Requests a second, on average; none for no limit.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Requests at once before `rate` counts.
    #[serde(default)]
    pub burst: Option<u32>,
    /// Runs at once; none for as many as the service has.
    #[serde(default)]
    pub at_once: Option<usize>,
    /// The most that its requests may ask for; what is not said is the service's ceiling.
    #[serde(default)]
    pub ceilings: Limits,
}

/// An interface of another system.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Frontend {
    /// Whether it is there.
    pub enabled: bool,
    /// Limits that differ from that system's usual ones.
    pub limits: Limits,
}

impl Default for Frontend {
    fn default() -> Frontend {
        Frontend { enabled: true, limits: Limits::default() }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what a configuration is.
    #[error("the configuration {} is wrong: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("configuration: `{key}`: {problem}")]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// An interpreter, or sandboxes of it, that cannot be had.
    #[error("environment `{name}`: {problem}")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl ConfigError {
    pub(crate) fn invalid(key: impl Into<String>, problem: impl ToString) -> ConfigError {
        ConfigError::Invalid { key: key.into(), problem: problem.to_string(), hint: None }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ConfigError::Invalid { hint, .. } | ConfigError::Environment { hint, .. } => hint.clone(),
            ConfigError::Read { .. } | ConfigError::Syntax { .. } => None,
        }
    }
}

const MAX_FILE_BYTES: u64 = 1 << 20;

impl Config {
    /// The configuration that a file says.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a wrong value: with line and column where there is one.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let read = |source| ConfigError::Read { path: path.into(), source };
        if fs::metadata(path).map_err(read)?.len() > MAX_FILE_BYTES {
            return Err(read(io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read_to_string(path).map_err(read)?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Syntax { path: path.into(), source: Box::new(source) })
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// Names the first key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("runs.at_once", self.runs.at_once != Some(0)),
            ("requests.body", self.requests.body.0 > 0),
            ("requests.message", self.requests.message.0 > 0),
            ("requests.files", self.requests.files > 0),
            ("requests.connections", self.requests.connections > 0),
            ("requests.head_time", self.requests.head_time.as_micros() > 0),
            ("requests.body_time", self.requests.body_time.as_micros() > 0),
            ("requests.write_time", self.requests.write_time.as_micros() > 0),
            ("environments", !self.environments.is_empty()),
            ("policies", !self.policies.is_empty()),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, is_positive)| !is_positive) {
            return Err(ConfigError::invalid(key, "must be above 0"));
        }
        if self.requests.body > self.requests.memory {
            return Err(ConfigError::invalid("requests.body", "is more than `requests.memory`"));
        }
        if self.requests.files > MOST_FILES {
            return Err(ConfigError::invalid("requests.files", format!("is more than {MOST_FILES}")));
        }
        // A key gets half of the memory, and a body that grows takes up to twice its size.
        if !self.keys.is_empty() && self.requests.body.0.saturating_mul(4) > self.requests.memory.0 {
            let problem = "is more than a quarter of `requests.memory`, of which each key gets half";
            return Err(ConfigError::invalid("requests.body", problem));
        }
        let mut names = BTreeSet::new();
        for environment in &self.environments {
            if environment.python.is_some() && environment.venv.is_some() {
                let key = format!("environments.{}", environment.name);
                return Err(ConfigError::invalid(key, "has `python` and `venv`; one says it all"));
            }
            if environment.ready == 0 && !environment.preload.is_empty() {
                let key = format!("environments.{}.preload", environment.name);
                return Err(ConfigError::invalid(
                    key,
                    "is for sandboxes that are ready ahead, and `ready` is 0",
                ));
            }
            if environment.name.is_empty() || !names.insert(&environment.name) {
                return Err(ConfigError::invalid("environments.name", "must be there, and once only"));
            }
        }
        self.unix_mode_bits().map(drop)
    }

    /// Runs at once.
    pub(crate) fn running(&self, host: &wardian::host::Host) -> usize {
        self.runs.at_once.unwrap_or(host.cpus.len().max(1))
    }

    /// The unix socket's mode.
    pub(crate) fn unix_mode_bits(&self) -> Result<u32, ConfigError> {
        let bits = u32::from_str_radix(&self.unix_mode, 8).ok().filter(|mode| *mode <= 0o777);
        bits.ok_or_else(|| ConfigError::invalid("unix_mode", "is not an octal mode like \"0600\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_an_unknown_key_is_refused() {
        let empty: Config = toml::from_str("").unwrap();
        assert_eq!(empty, Config::default());
        assert!(empty.check().is_ok());
        let error = toml::from_str::<Config>("[runs]\nat_onze = 3").unwrap_err().to_string();
        assert!(error.contains("at_onze"), "{error}");
        let zero: Config = toml::from_str("runs.at_once = 0").unwrap();
        assert!(zero.check().unwrap_err().to_string().contains("runs.at_once"));
        let zero: Config = toml::from_str("requests.write_time = 0").unwrap();
        assert!(zero.check().unwrap_err().to_string().contains("requests.write_time"));
    }

    #[test]
    fn what_is_packaged_and_documented_is_a_configuration() {
        for text in [
            include_str!("../../../packaging/systemd/config.toml"),
            include_str!("../../../packaging/docker/config.toml"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            config.check().unwrap();
        }
        let document = include_str!("../../../docs/server.md");
        let (_, block) = document.split_once("```toml\n").unwrap();
        let (block, _) = block.split_once("```").unwrap();
        assert_eq!(toml::from_str::<Config>(block).unwrap(), Config::default());
    }
}
