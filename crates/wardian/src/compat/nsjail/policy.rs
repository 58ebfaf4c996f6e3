//! nsjail's config as a policy.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use wardian_nsjail::{IdMap, LogLevel, NsjailConfig, RLimit};

use super::command::{Command, command};
use super::environment::{Origin, environment};
use super::mounts::{self, Translated};
use super::rlimits::{Resource, RlimitError, rlimit};
use crate::policy::{
    self, Bytes, Duration, Environment, ExecMode, Files, HashSeed, Identity, Layer, Level, Limits, MountKind,
    Network, OnOom, OnOutput, Outside, Policy, PolicyError, ProcMode, Rlimits, RootKind, Scheduling, Scratch,
};

/// The longest time a policy can say.
const YEAR: u64 = 366 * 24 * 3600;
/// Memory of a config that limits neither the sandbox nor a process: nsjail's default for one process.
const DEFAULT_MEMORY: u64 = 4 << 30;
/// Output is passed through; this is no limit in practice.
const OUTPUT: u64 = 1 << 40;
/// The most of something that a policy can say.
const MAX_COUNT: u64 = 1 << 20;

/// What nsjail takes from its caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its environment; variables that are not UTF-8 are left out.
    pub environment: BTreeMap<String, String>,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
    /// Its soft and hard resource limits; `u64::MAX` is no limit.
    pub limits: fn(Resource) -> (u64, u64),
    /// The text of its user database, passwd(5).
    pub users: String,
    /// The text of its group database, group(5).
    pub groups: String,
}

impl Caller {
    /// This process.
    pub fn current() -> Caller {
        let variables = std::env::vars_os();
        Caller {
            environment: variables
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            limits: current_limits,
            users: read_database("/etc/passwd"),
            groups: read_database("/etc/group"),
        }
    }
}

fn current_limits(resource: Resource) -> (u64, u64) {
    use rustix::process::Resource as Kernel;
    let limits = rustix::process::getrlimit(match resource {
        Resource::AddressSpace => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::FileSize => Kernel::Fsize,
        Resource::OpenFiles => Kernel::Nofile,
        Resource::Processes => Kernel::Nproc,
        Resource::Stack => Kernel::Stack,
        Resource::LockedMemory => Kernel::Memlock,
        Resource::RealtimePriority => Kernel::Rtprio,
        Resource::MessageQueues => Kernel::Msgqueue,
    });
    (limits.current.unwrap_or(u64::MAX), limits.maximum.unwrap_or(u64::MAX))
}

/// A missing database has no names, which is said when a name is looked up.
fn read_database(path: &str) -> String {
    const MAX_BYTES: u64 = 4 << 20;
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// Where the standard streams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// To the caller's.
    Inherited,
    /// To the caller's, standard error to `/dev/null`.
    StderrToNull,
    /// All to `/dev/null`.
    Null,
}

/// Where nsjail's log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A file, appended to; wins over `fd`.
    pub file: Option<String>,
    /// A descriptor; standard error if neither is said.
    pub fd: Option<i32>,
    /// The lowest level that is written.
    pub level: LogLevel,
}

/// A config in wardian's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// What the program may do.
    pub policy: Policy,
    /// The config's own program, which a command after `--` replaces.
    pub command: Option<Command>,
    /// Its working directory.
    pub cwd: String,
    /// Where its standard streams go.
    pub stdio: Stdio,
    /// Where the log goes.
    pub log: Log,
    /// What was left out because it is not there and need not be, a sentence each.
    pub left_out: Vec<String>,
}

/// Why a config cannot be expressed as a policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A mount that must be there cannot be.
    #[error("nsjail config: mount `{dst}`: {problem}")]
    Mount {
        /// Its target, as the config says it.
        dst: String,
        /// Why.
        problem: String,
    },
    /// An id is neither a number nor a name the caller's machine knows.
    #[error("nsjail config: `{field}`: `{id}` is neither an id nor a name in {database}")]
    UnknownId {
        /// The field.
        field: &'static str,
        /// What it says.
        id: String,
        /// Where the name was looked up.
        database: &'static str,
    },
    /// A resource limit that the kernel cannot count.
    #[error(transparent)]
    Rlimit(#[from] RlimitError),
    /// The policy is wrong in itself.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Expresses a config, as far as [`super::check`] accepts it: what that does not honour is not in the policy.
///
/// # Errors
/// A mandatory mount whose prefix is not in the caller's environment, an unknown user name, a limit that
/// cannot be counted, or a policy that is refused as a whole.
pub fn to_policy(config: &NsjailConfig, caller: &Caller) -> Result<Import, ImportError> {
    let mut left_out = Vec::new();
    let policy = Policy {
        name: Some(config.name()).filter(|name| !name.is_empty()).unwrap_or("nsjail").to_owned(),
        description: config.description.concat(),
        level: Level::Namespaces,
        require: require(config),
        outside: Outside::Absent,
        network: if config.iface_no_lo() { Network::None } else { Network::Loopback },
        exec: ExecMode::Any,
        limits: limits(config, caller)?,
        rlimits: rlimits(config, caller)?,
        files: files(config, caller, &mut left_out)?,
        environment: variables(config, caller, &mut left_out),
        identity: identity(config, caller)?,
        scheduling: Scheduling { nice: u8::try_from(config.nice_level()).ok().filter(|nice| *nice <= 19) },
        ..policy::preset("python")?
    };
    policy::check(&policy, "nsjail config")?;
    let stdio = match (config.silent(), config.stderr_to_null()) {
        (true, _) => Stdio::Null,
        (false, true) => Stdio::StderrToNull,
        (false, false) => Stdio::Inherited,
    };
    let level = config.log_level.unwrap_or(LogLevel::Info);
    let log = Log { file: config.log_file.clone(), fd: config.log_fd, level };
    let command = command(config, &[]).ok();
    Ok(Import { policy, command, cwd: config.cwd().to_owned(), stdio, log, left_out })
}

/// nsjail fails where it cannot enforce a limit that the config sets; so must we.
fn require(config: &NsjailConfig) -> Vec<Layer> {
    let set = [
        (config.cgroup_mem_max() > 0, Layer::Memory),
        (config.cgroup_cpu_ms_per_sec() > 0, Layer::Cpus),
        (config.cgroup_pids_max() > 0, Layer::Processes),
    ];
    set.into_iter().filter_map(|(set, layer)| set.then_some(layer)).collect()
}

fn limits(config: &NsjailConfig, caller: &Caller) -> Result<Limits, RlimitError> {
    let of = |resource| rlimit(config, resource, (caller.limits)(resource));
    let finite = |limit: u64| Some(limit).filter(|limit| *limit != u64::MAX);
    let memory = match config.cgroup_mem_max() {
        0 => finite(of(Resource::AddressSpace)?).map_or(DEFAULT_MEMORY, |limit| limit.max(1 << 20)),
        bytes => bytes.max(1 << 20),
    };
    let tasks = match config.cgroup_pids_max() {
        0 => of(Resource::Processes)?,
        tasks if config.rlimit_nproc_type() == RLimit::Value => tasks.min(of(Resource::Processes)?),
        tasks => tasks,
    };
    let wall = match u64::from(config.time_limit()) {
        0 => YEAR,
        seconds => seconds.min(YEAR),
    };
    Ok(Limits {
        wall: Duration::from_secs(wall),
        cpu_time: Duration::from_secs(YEAR),
        cpus: cpus(config),
        memory: Bytes(memory.min(1 << 60)),
        processes: u32::try_from(tasks.clamp(1, MAX_COUNT)).unwrap_or(u32::MAX),
        // A tmpfs without a size is bounded by the memory that its files count against.
        disk: Bytes(memory.min(1 << 60)),
        inodes: MAX_COUNT,
        output: Bytes(OUTPUT),
        on_output: OnOutput::Truncate,
        open_files: of(Resource::OpenFiles)?.clamp(16, MAX_COUNT),
        file_size: finite(of(Resource::FileSize)?).map(|bytes| Bytes(bytes.min(1 << 60))),
        stack: Bytes(of(Resource::Stack)?.min(1 << 40)),
        // nsjail's cgroup lets the kernel kill one task; the others go on.
        on_oom: OnOom::One,
    })
}

/// Both fields bound the cores in use; the smaller one counts.
fn cpus(config: &NsjailConfig) -> Option<f64> {
    let bound = (config.max_cpus() > 0).then(|| f64::from(config.max_cpus()).min(4096.0));
    let share =
        (config.cgroup_cpu_ms_per_sec() > 0).then(|| f64::from(config.cgroup_cpu_ms_per_sec()) / 1000.0);
    let share = share.map(|share| share.clamp(0.01, 4096.0));
    match (bound, share) {
        (Some(bound), Some(share)) => Some(bound.min(share)),
        (one, other) => one.or(other),
    }
}

fn rlimits(config: &NsjailConfig, caller: &Caller) -> Result<Rlimits, RlimitError> {
    let of = |resource| -> Result<Option<u64>, RlimitError> {
        let limit = rlimit(config, resource, (caller.limits)(resource))?;
        Ok(Some(limit).filter(|limit| *limit != u64::MAX))
    };
    let bytes = |limit: Option<u64>| limit.map(|limit| Bytes(limit.min(1 << 60)));
    Ok(Rlimits {
        address_space: bytes(of(Resource::AddressSpace)?),
        cpu_time: of(Resource::Cpu)?.map(|seconds| Duration::from_secs(seconds.min(YEAR))),
        locked_memory: bytes(of(Resource::LockedMemory)?),
        message_queues: bytes(of(Resource::MessageQueues)?),
    })
}

fn files(config: &NsjailConfig, caller: &Caller, left_out: &mut Vec<String>) -> Result<Files, ImportError> {
    let mut proc = if config.mount_proc() { ProcMode::Required } else { ProcMode::Absent };
    let mut wanted = Vec::new();
    let honoured = config.mount.iter().filter(|mount| mounts::problem(mount).is_none());
    for mount in honoured {
        match mounts::translate(mount, &|name| caller.environment.get(name).cloned()) {
            Translated::Mount(made) if made.kind == MountKind::Proc => {
                proc = if mount.mandatory() { ProcMode::Required } else { ProcMode::Optional };
            }
            Translated::Mount(made) => wanted.push(made),
            Translated::LeftOut(why) => left_out.push(format!("mount `{}`: {why}", mount.dst())),
            Translated::Failed(problem) => {
                return Err(ImportError::Mount { dst: mount.dst().to_owned(), problem });
            }
        }
    }
    Ok(Files {
        root: RootKind::Empty,
        work: policy::Work::Writable,
        scratch: Scratch::None,
        proc,
        tools: Vec::new(),
        tmp: true,
        dev: false,
        mounts: wanted,
    })
}

fn variables(config: &NsjailConfig, caller: &Caller, left_out: &mut Vec<String>) -> Environment {
    let mut inherit = Vec::new();
    let mut set = BTreeMap::new();
    for (name, origin) in environment(config, caller.environment.keys().map(String::as_str)) {
        match origin {
            Origin::Set(value) => drop(set.insert(name, value)),
            Origin::Caller if caller.environment.contains_key(&name) => inherit.push(name),
            Origin::Caller => left_out.push(format!("envar `{name}`: the caller has no such variable")),
        }
    }
    // What no variable can be was refused by `check`; best effort leaves it out.
    set.retain(|name, value| !name.is_empty() && !name.contains('\0') && !value.contains('\0'));
    Environment { defaults: false, inherit, set, hash_seed: HashSeed::Random, threads: None }
}

fn identity(config: &NsjailConfig, caller: &Caller) -> Result<Identity, ImportError> {
    let id = |field, maps: &[IdMap], current, names: &str, database| {
        let inside = maps.first().map_or("", |map| map.inside_id());
        resolve(inside, current, names).ok_or_else(|| ImportError::UnknownId {
            field,
            id: inside.to_owned(),
            database,
        })
    };
    let preset = policy::preset("python")?.identity;
    let hostname = Some(config.hostname()).filter(|name| (1..=64).contains(&name.len()));
    Ok(Identity {
        hostname: hostname.unwrap_or(&preset.hostname).to_owned(),
        uid: id("uidmap", &config.uidmap, caller.uid, &caller.users, "/etc/passwd")?,
        gid: id("gidmap", &config.gidmap, caller.gid, &caller.groups, "/etc/group")?,
        uid_range: preset.uid_range,
    })
}

/// An id by number, by name (third field of the name's line), or the current one for the empty string.
fn resolve(id: &str, current: u32, database: &str) -> Option<u32> {
    if id.is_empty() {
        return Some(current);
    }
    if let Ok(number) = id.parse::<u32>() {
        // The kernel's "no id" cannot be mapped.
        return Some(number).filter(|number| *number != u32::MAX);
    }
    let line = database.lines().find(|line| line.split(':').next() == Some(id))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::policy::Mount;
    use wardian_nsjail::parse;

    const SEED: &str = include_str!("../../../../wardian-nsjail/tests/fixtures/seed-nsjail.cfg");
    const SNEKBOX: &str = include_str!("../../../../wardian-nsjail/tests/fixtures/snekbox.cfg");

    pub(in super::super) fn caller() -> Caller {
        Caller {
            environment: BTreeMap::from(
                [("DISPLAY", ":0"), ("HOME", "/home/me")].map(|(k, v)| (k.into(), v.into())),
            ),
            uid: 1001,
            gid: 1002,
            limits: |resource| match resource {
                Resource::Stack => (8 << 20, u64::MAX),
                Resource::Processes => (7777, 8888),
                Resource::LockedMemory => (65536, 65536),
                Resource::MessageQueues => (819_200, 819_200),
                _ => (u64::MAX, u64::MAX),
            },
            users: "root:x:0:0::/:/bin/sh\nwww-data:x:33:34::/:/bin/sh\n".into(),
            groups: "root:x:0:\nwww-data:x:34:\n".into(),
        }
    }

    fn import(text: &str) -> Import {
        to_policy(&parse(text).unwrap(), &caller()).unwrap()
    }

    #[test]
    fn the_seed_config_becomes_its_policy() {
        let Import { policy, cwd, stdio, left_out, .. } = import(SEED);
        assert_eq!((policy.name.as_str(), policy.description.as_str()), ("sandbox", "Execute Python"));
        assert_eq!((cwd.as_str(), stdio, left_out.len()), ("/sandbox", Stdio::Inherited, 0));
        assert_eq!(policy.limits.wall, Duration::from_secs(6));
        assert_eq!((policy.limits.memory, policy.limits.processes), (Bytes(52_428_800), 1));
        assert_eq!((policy.limits.file_size, policy.limits.open_files), (Some(Bytes(1 << 20)), 32));
        assert_eq!(policy.limits.stack, Bytes(8 << 20));
        assert_eq!(policy.rlimits.address_space, Some(Bytes(700 << 20)));
        assert_eq!(policy.rlimits.cpu_time, Some(Duration::from_secs(600)));
        assert_eq!(policy.require, [Layer::Memory, Layer::Processes]);
        assert_eq!((policy.network, policy.files.proc), (Network::None, ProcMode::Absent));
        assert_eq!((policy.files.root, policy.files.mounts.len()), (RootKind::Empty, 11));
        assert_eq!((policy.identity.uid, policy.identity.gid), (65534, 65534));
        assert_eq!(policy.identity.hostname, "sandbox");
        assert_eq!(policy.environment.set["OMP_NUM_THREADS"], "1");
        assert_eq!((policy.environment.set.len(), policy.environment.defaults), (8, false));
        assert_eq!(policy.scheduling.nice, Some(19));
    }

    #[test]
    fn a_snekbox_config_becomes_its_policy() {
        let policy = import(SNEKBOX).policy;
        assert_eq!((policy.limits.memory, policy.limits.processes), (Bytes(73_400_320), 15));
        assert_eq!(policy.limits.file_size, None);
        let shm = policy.files.mounts.iter().find(|mount| mount.dst == "/dev/shm").unwrap();
        assert_eq!((shm.kind, shm.size, shm.writable), (MountKind::Tmpfs, Some(Bytes(40 << 20)), true));
        assert!(policy.files.mounts.iter().any(|Mount { dst, optional, .. }| dst == "/snekbin" && *optional));
    }

    #[test]
    fn an_empty_config_has_nsjails_defaults() {
        let Import { policy, cwd, log, .. } = import("");
        assert_eq!((policy.name.as_str(), cwd.as_str(), log.level), ("nsjail", "/", LogLevel::Info));
        assert_eq!(policy.limits.wall, Duration::from_secs(600));
        assert_eq!((policy.limits.memory, policy.limits.processes), (Bytes(4 << 30), 7777));
        assert_eq!((policy.network, policy.limits.cpus), (Network::Loopback, None));
        assert_eq!((policy.identity.uid, policy.identity.gid), (1001, 1002));
        assert!(policy.require.is_empty() && policy.environment.set.is_empty());
    }

    #[test]
    fn limits_combine() {
        let policy = import(
            "time_limit: 0 max_cpus: 2 cgroup_cpu_ms_per_sec: 500 cgroup_pids_max: 9 rlimit_nproc: 5 \
             rlimit_nproc_type: VALUE rlimit_as_type: INF",
        )
        .policy;
        assert_eq!((policy.limits.wall, policy.limits.cpus), (Duration::from_secs(YEAR), Some(0.5)));
        assert_eq!((policy.limits.processes, policy.limits.memory), (5, Bytes(DEFAULT_MEMORY)));
        assert_eq!(policy.rlimits.address_space, None);
        assert_eq!(policy.require, [Layer::Cpus, Layer::Processes]);
        let error = to_policy(&parse("rlimit_as: 17592186044416").unwrap(), &caller()).unwrap_err();
        assert!(matches!(error, ImportError::Rlimit(_)), "{error}");
    }

    #[test]
    fn the_environment_is_the_callers_only_where_asked() {
        let config = import("envar: 'DISPLAY' envar: 'GONE' envar: 'A=1'");
        assert_eq!(config.policy.environment.inherit, ["DISPLAY"]);
        assert_eq!(config.left_out, ["envar `GONE`: the caller has no such variable"]);
        let kept = import("keep_env: true envar: 'HOME=/'").policy.environment;
        assert_eq!((kept.inherit, kept.set.len()), (vec!["DISPLAY".to_owned()], 1));
    }

    #[test]
    fn ids_are_numbers_names_or_the_callers() {
        let policy = import("uidmap { inside_id: 'www-data' } gidmap { inside_id: 'www-data' }").policy;
        assert_eq!((policy.identity.uid, policy.identity.gid), (33, 34));
        for id in ["nobody-such", "4294967295", "-1"] {
            let config = parse(&format!("uidmap {{ inside_id: '{id}' }}")).unwrap();
            let error = to_policy(&config, &caller()).unwrap_err().to_string();
            assert!(error.contains(id) && error.contains("/etc/passwd"), "{error}");
        }
    }

    #[test]
    fn mounts_that_need_not_be_there_are_left_out_with_a_reason() {
        let text = "mount { src: '/x' dst: '/proc/no' is_symlink: true mandatory: false }
                    mount { prefix_src_env: 'HOME' src: '/Documents' dst: '/d' is_bind: true }
                    mount { dst: '/proc' fstype: 'proc' mandatory: false }";
        let Import { policy, left_out, .. } = import(text);
        assert_eq!(left_out, ["mount `/proc/no`: nothing is mounted over /proc"]);
        assert_eq!(policy.files.mounts[0].src.as_deref(), Some("/home/me/Documents"));
        assert_eq!((policy.files.mounts.len(), policy.files.proc), (1, ProcMode::Optional));
        let bad = parse("mount { prefix_src_env: 'NO' src: '/d' dst: '/d' is_bind: true }").unwrap();
        let error = to_policy(&bad, &caller()).unwrap_err().to_string();
        assert_eq!(error, "nsjail config: mount `/d`: the caller has no environment variable `NO`");
    }

    #[test]
    fn best_effort_drops_what_is_not_honoured_and_widens_nothing() {
        let text = "clone_newnet: false keep_caps: true nice_level: -5 envar: '=x' hostname: '' rlimit_nofile: 3 uidmap { inside_id: '5' count: 9 }
                    mount { dst: '/s' fstype: 'sysfs' } mount { dst: '/k' src: '/dev/kvm' is_bind: true }";
        let policy = import(text).policy;
        assert_eq!(
            (policy.network, policy.scheduling.nice, policy.identity.uid),
            (Network::Loopback, None, 5)
        );
        assert!(policy.files.mounts.is_empty() && policy.environment.set.is_empty());
        assert_eq!((policy.limits.open_files, policy.identity.hostname.is_empty()), (16, false));
    }

    #[test]
    fn streams_and_log_are_taken_over() {
        assert_eq!(import("silent: true stderr_to_null: true").stdio, Stdio::Null);
        assert_eq!(import("stderr_to_null: true").stdio, Stdio::StderrToNull);
        let log = import("log_fd: 5 log_file: '/l' log_level: ERROR").log;
        assert_eq!(log, Log { file: Some("/l".into()), fd: Some(5), level: LogLevel::Error });
    }

    #[test]
    fn the_callers_state_can_be_read() {
        let caller = Caller::current();
        let (soft, hard) = (caller.limits)(Resource::OpenFiles);
        assert!(0 < soft && soft <= hard);
        assert_eq!(resolve("root", 1, &caller.users), Some(0));
    }
}
