//! Policy files: TOML laid over the policy they extend.

use super::error::PolicyError;
use super::model::{
    Layer, Level, Mount, MountKind, Network, OnOutput, Outside, Policy, ProcMode, RootKind, Scratch, Work,
};
use super::{place, presets};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::{Table, Value};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// The policy that a preset's name or a file's path means.
///
/// # Errors
/// No such preset, an unreadable file, or a wrong policy.
pub fn load(name_or_path: &str) -> Result<Policy, PolicyError> {
    if presets::find(name_or_path).is_some() {
        return presets::preset(name_or_path);
    }
    if !name_or_path.contains('/') && !name_or_path.ends_with(".toml") {
        return Err(PolicyError::UnknownPreset { name: name_or_path.into() });
    }
    let path = Path::new(name_or_path);
    let read = |source| PolicyError::Read { path: path.into(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(read)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(PolicyError::TooLong { path: path.into(), limit: MAX_FILE_BYTES });
    }
    parse_named(&text, name_or_path, path.file_stem().and_then(|stem| stem.to_str()))
}

/// The policy that a file's text means; `origin` names it in errors.
///
/// A file says only what differs from the policy it `extends` (`python` unless it says). With less memory goes less
/// scratch space, which counts as memory, unless the file says how much.
///
/// # Errors
/// [`PolicyError::Syntax`] with key, line and column; [`PolicyError::Invalid`] for what does not fit together.
pub fn parse(text: &str, origin: &str) -> Result<Policy, PolicyError> {
    parse_named(text, origin, None)
}

/// A policy that says no name of its own has the file's: with that of the policy it extends, it would pass for it.
fn parse_named(text: &str, origin: &str, file: Option<&str>) -> Result<Policy, PolicyError> {
    let policy = read(text, origin, file).map_err(|error| at_its_line(error, text, None))?;
    let checked = check(&policy, origin).and_then(|()| check_level(&policy, origin));
    checked.map_err(|error| at_its_line(error, text, wrong_mount(&policy, origin)))?;
    Ok(policy)
}

fn at_its_line(error: PolicyError, text: &str, mount: Option<usize>) -> PolicyError {
    match error {
        PolicyError::Invalid { origin, key, problem, .. } => {
            PolicyError::Invalid { line: place::line(text, key, mount), origin, key, problem }
        }
        other => other,
    }
}

fn wrong_mount(policy: &Policy, origin: &str) -> Option<usize> {
    let is_wrong = |mount| {
        check_mount(mount, policy, origin).is_err() || (is_without_namespaces(policy) && moves(mount))
    };
    policy.files.mounts.iter().position(is_wrong)
}

fn read(text: &str, origin: &str, file: Option<&str>) -> Result<Policy, PolicyError> {
    let syntax = |source| PolicyError::Syntax { origin: origin.into(), source: Box::new(source) };
    let mut table: Table = toml::from_str(text).map_err(syntax)?;
    let says_disk = table.get("limits").and_then(|limits| limits.get("disk")).is_some();
    if let Some(name) = file.filter(|_| !table.contains_key("name")) {
        table.insert("name".into(), name.into());
        table.entry("description").or_insert_with(|| Value::String(String::new()));
    }
    let base = match table.remove("extends") {
        None if is_root(&table) => None,
        None => Some("python".to_owned()),
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(invalid(origin, "extends", "is not the name of a preset".into())),
    };
    let merged = match base {
        None => table,
        Some(name) => {
            let base = presets::preset(&name).map_err(|_| invalid(origin, "extends", no_preset(&name)))?;
            let mut merged = Table::try_from(&base).map_err(|e| invalid(origin, "extends", e.to_string()))?;
            merge(&mut merged, table);
            merged
        }
    };
    // The merged text has no lines of the file; on an error the file alone is asked where it is.
    let mut policy = Policy::deserialize(merged).map_err(|error| syntax(locate(text, error)))?;
    if !says_disk {
        policy.limits.disk = policy.limits.disk.min(policy.limits.memory);
    }
    Ok(policy)
}

fn no_preset(name: &str) -> String {
    format!(
        "no preset is called `{name}`; there are {}",
        presets::PRESETS.map(|preset| preset.name).join(", ")
    )
}

/// Only the root preset says everything itself.
fn is_root(table: &Table) -> bool {
    table.get("name").and_then(Value::as_str) == Some("python")
        && ["limits", "files", "environment", "identity", "syscalls"]
            .iter()
            .all(|key| table.contains_key(*key))
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) if key != "set" => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The same mistake with its line and column, if the file's own text shows it.
fn locate(text: &str, error: toml::de::Error) -> toml::de::Error {
    match toml::from_str::<spans::Partial>(text) {
        Err(located) if located.span().is_some() => located,
        _ => error,
    }
}

/// The model with every key optional: reads a file alone, to find where a mistake is.
mod spans {
    use super::super::model;
    use serde::Deserialize;

    macro_rules! partial {
        ($name:ident { $($key:ident: $type:ty),* $(,)? }) => {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            #[allow(dead_code, reason = "only whether it reads, and where it does not, matters")]
            pub(super) struct $name { $($key: Option<$type>),* }
        };
    }

    partial!(Partial {
        extends: String, name: String, description: String, level: model::Level, require: Vec<model::Layer>,
        outside: model::Outside, network: model::Network, exec: model::ExecMode, stderr: model::Stderr, limits: Limits,
        rlimits: model::Rlimits, files: Files, environment: Environment, identity: Identity,
        syscalls: model::Syscalls, scheduling: model::Scheduling,
    });
    partial!(Limits {
        wall: super::super::Duration,
        cpu_time: super::super::Duration,
        cpus: f64,
        memory: super::super::Bytes,
        processes: u32,
        disk: super::super::Bytes,
        inodes: u64,
        output: super::super::Bytes,
        on_output: model::OnOutput,
        open_files: u64,
        file_size: super::super::Bytes,
        stack: super::super::Bytes,
        on_oom: model::OnOom,
    });
    partial!(Files {
        root: model::RootKind, scratch: model::Scratch, work: model::Work, tmp: bool, proc: model::ProcMode, tools: Vec<String>,
        dev: bool, mounts: Vec<model::Mount>,
    });
    partial!(Environment {
        defaults: bool, inherit: Vec<String>, set: std::collections::BTreeMap<String, String>,
        hash_seed: model::HashSeed, threads: u32,
    });
    partial!(Identity { hostname: String, uid: u32, gid: u32, uid_range: (u32, u32) });
}

fn invalid(origin: &str, key: &'static str, problem: String) -> PolicyError {
    PolicyError::Invalid { origin: origin.into(), line: None, key, problem }
}

/// The number that stands for no id in the kernel's calls.
const NO_ID: &str = "4294967295 is nobody's id; say a smaller number";

/// What types cannot say; also for policies that were changed after they were read.
///
/// # Errors
/// The first key whose value is out of bounds or contradicts another.
pub fn check(policy: &Policy, origin: &str) -> Result<(), PolicyError> {
    let limits = &policy.limits;
    let rules: [(bool, &'static str, String); 21] = [
        (policy.name.trim().is_empty(), "name", "must say something: reports show it".into()),
        (limits.wall.as_micros() == 0, "limits.wall", "must be above 0".into()),
        (limits.cpu_time.as_micros() == 0, "limits.cpu_time", "must be above 0".into()),
        (
            policy.rlimits.cpu_time.is_some_and(|limit| limit.as_micros() == 0),
            "rlimits.cpu_time",
            "0 would end every program as it begins".into(),
        ),
        (
            limits.cpus.is_some_and(|cpus| !(0.01..=4096.0).contains(&cpus)),
            "limits.cpus",
            "must be between 0.01 and 4096 cores".into(),
        ),
        (
            limits.memory.0 < 1 << 20,
            "limits.memory",
            format!("{} is less than 1M; a plain number is bytes: write `64M`", limits.memory),
        ),
        (limits.processes == 0, "limits.processes", "must be at least 1: the program itself".into()),
        (
            limits.processes > 1 << 20,
            "limits.processes",
            format!("{} is more than 1048576", limits.processes),
        ),
        (
            limits.disk > limits.memory,
            "limits.disk",
            format!(
                "{} is more than `limits.memory` ({}), which files in scratch space count against; say less, or more memory",
                limits.disk, limits.memory
            ),
        ),
        (
            policy.files.scratch != Scratch::None && (limits.disk.0 == 0 || limits.inodes < 16),
            "limits.disk",
            "scratch space needs some bytes, and 16 inodes; or say `files.scratch = \"none\"`".into(),
        ),
        (
            !policy.files.tmp && (policy.outside == Outside::Denied || policy.files.work == Work::ReadOnly),
            "files.tmp",
            "false makes the working directory the temporary one, which `outside = \"denied\"` and \
             `files.work = \"read-only\"` forbid"
                .into(),
        ),
        (
            !(16..=1 << 20).contains(&limits.open_files),
            "limits.open_files",
            format!("{} is not between 16 and 1048576", limits.open_files),
        ),
        (limits.stack.0 < 64 << 10, "limits.stack", format!("{} is less than 64K", limits.stack)),
        (
            limits.on_output == OnOutput::Kill && limits.output.0 == 0,
            "limits.output",
            "0 with `on_output = \"kill\"` would end every program at its first word".into(),
        ),
        (
            policy.identity.hostname.is_empty() || policy.identity.hostname.len() > 64,
            "identity.hostname",
            "must have 1 to 64 bytes".into(),
        ),
        (
            policy.identity.uid_range.1 < 2 || policy.identity.uid_range.0 == 0,
            "identity.uid_range",
            "must start above 0 and hold two ids at least".into(),
        ),
        (policy.identity.uid == u32::MAX, "identity.uid", NO_ID.into()),
        (policy.identity.gid == u32::MAX, "identity.gid", NO_ID.into()),
        (policy.scheduling.nice.is_some_and(|nice| nice > 19), "scheduling.nice", "must be 0 to 19".into()),
        (
            policy.files.tools.iter().any(|tool| !tool.starts_with('/')),
            "files.tools",
            "must be absolute paths of programs: \"/usr/bin/git\"".into(),
        ),
        (
            policy.environment.threads == Some(0),
            "environment.threads",
            "must be at least 1; without it there are as many as the cores granted".into(),
        ),
    ];
    if let Some((_, key, problem)) = rules.into_iter().find(|(broken, ..)| *broken) {
        return Err(invalid(origin, key, problem));
    }
    check_environment(policy, origin)?;
    policy.files.mounts.iter().try_for_each(|mount| check_mount(mount, policy, origin))?;
    match twice(policy) {
        Some(dst) => Err(invalid(origin, "files.mounts", format!("`{dst}`: is mounted twice"))),
        None => Ok(()),
    }
}

/// Where two mounts would show one; in a root of mounts alone they may cover each other, as nsjail's do.
fn twice(policy: &Policy) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    let mut places = policy.files.mounts.iter().map(|mount| mount.dst.as_str());
    if policy.files.root == RootKind::Empty { None } else { places.find(|dst| !seen.insert(*dst)) }
}

fn check_environment(policy: &Policy, origin: &str) -> Result<(), PolicyError> {
    for (name, value) in &policy.environment.set {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(invalid(
                origin,
                "environment.set",
                format!("{name:?} is not a variable's name and value"),
            ));
        }
    }
    let is_no_name = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
    match policy.environment.inherit.iter().find(is_no_name) {
        Some(name) => {
            Err(invalid(origin, "environment.inherit", format!("{name:?} is not a variable's name")))
        }
        None => Ok(()),
    }
}

/// What a file that chooses the level without namespaces cannot have there.
fn check_level(policy: &Policy, origin: &str) -> Result<(), PolicyError> {
    if !is_without_namespaces(policy) {
        return Ok(());
    }
    let needs_proc = policy.files.proc == ProcMode::Required || policy.require.contains(&Layer::Proc);
    let moved = policy.files.mounts.iter().find(|mount| moves(mount));
    let rules = [
        (policy.network == Network::Loopback, "network", "no loopback of its own: say \"none\"".to_owned()),
        (
            policy.files.root == RootKind::Empty,
            "files.root",
            "the host's root, never an empty one: say \"program\"".into(),
        ),
        (needs_proc, "files.proc", "no /proc of its own: say \"optional\", and do not require it".into()),
        (
            moved.is_some(),
            "files.mounts",
            format!(
                "`{}`: files stay where they are: bind a path to itself",
                moved.map_or("", |mount| &mount.dst)
            ),
        ),
    ];
    let broken = rules.into_iter().find(|(broken, ..)| *broken);
    broken.map_or(Ok(()), |(_, key, problem)| {
        Err(invalid(origin, key, format!("level \"landlock\" has {problem}; or choose level \"namespaces\"")))
    })
}

fn is_without_namespaces(policy: &Policy) -> bool {
    policy.level == Level::Landlock
}

/// Whether a mount needs a mount namespace: anything but a path that stays itself.
pub(crate) fn moves(mount: &Mount) -> bool {
    mount.kind != MountKind::Bind || mount.src.as_deref() != Some(mount.dst.as_str())
}

fn check_mount(mount: &Mount, policy: &Policy, origin: &str) -> Result<(), PolicyError> {
    const RESERVED: [&str; 1] = ["/"];
    let broken =
        |problem: String| Err(invalid(origin, "files.mounts", format!("`{}`: {problem}", mount.dst)));
    if let Err(error) = mount.dst.parse::<crate::files::GuestPath>() {
        return broken(error.to_string());
    }
    if RESERVED.contains(&mount.dst.as_str()) && policy.files.root == RootKind::Program {
        return broken("the root itself cannot be mounted over".into());
    }
    if RESERVED.contains(&mount.dst.as_str()) && mount.writable {
        return broken("the root itself is read-only; mount the directories to be written".into());
    }
    let over_proc = mount.dst == "/proc" || mount.dst.starts_with("/proc/");
    if over_proc && mount.kind != MountKind::Proc {
        return broken("nothing can be mounted over /proc".into());
    }
    let needs_src = matches!(mount.kind, MountKind::Bind | MountKind::Symlink);
    match (&mount.src, needs_src) {
        (None, true) => return broken("needs `src`".into()),
        (Some(_), false) => return broken("has no use for `src`".into()),
        (Some(src), true) if mount.kind == MountKind::Bind && !src.starts_with('/') => {
            return broken(format!("`src` must be an absolute path, not `{src}`"));
        }
        _ => {}
    }
    if mount.content.is_some() != (mount.kind == MountKind::File) {
        return broken("`content` belongs to `type = \"file\"`, and only there".into());
    }
    if mount.writable && !matches!(mount.kind, MountKind::Bind | MountKind::Tmpfs) {
        return broken("`writable` belongs to `type = \"bind\"` and `\"tmpfs\"`".into());
    }
    if mount.optional && mount.kind != MountKind::Bind {
        return broken("`optional` belongs to `type = \"bind\"`".into());
    }
    if mount.size.is_some() && mount.kind != MountKind::Tmpfs {
        return broken("`size` belongs to `type = \"tmpfs\"`".into());
    }
    Ok(())
}

/// The JSON schema of policy files: every key may be left out, and is then that of the policy extended.
pub fn file_schema() -> String {
    let mut schema = schemars::schema_for!(Policy).to_value();
    make_optional(&mut schema);
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        let extends = serde_json::json!({
            "description": "The preset that everything not said here is taken from; python if not said.",
            "type": "string"
        });
        properties.insert("extends".into(), extends);
    }
    format!("{schema:#}")
}

fn make_optional(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            // `required` is a list in a schema; a property of that name would be an object.
            if object.get("required").is_some_and(serde_json::Value::is_array) {
                object.remove("required");
            }
            object.values_mut().for_each(make_optional);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(make_optional),
        _ => {}
    }
}

/// A whole policy as the text of a policy file.
///
/// # Errors
/// None that a policy which was read or checked can cause.
pub fn to_toml(policy: &Policy) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(policy)
}
