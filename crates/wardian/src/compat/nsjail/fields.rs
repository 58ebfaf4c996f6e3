//! What wardian does about each field of nsjail's config: one row each, nothing silently ignored.

use wardian_nsjail::{IdMap, Mode, NsjailConfig, RLimit};

use super::{kafel, mounts};

/// What wardian does about a field.
#[derive(Debug, Clone, Copy)]
pub enum Treatment {
    /// It does what the field says; the text tells by what.
    Honoured(&'static str),
    /// It does so for some values, which the text names.
    HonouredIf {
        /// For which values.
        values: &'static str,
        /// What is wrong with the config's value, if it is none of them.
        problem: fn(&NsjailConfig) -> Option<String>,
    },
    /// It never does; only nsjail's default is accepted. The text says why, and what to use instead.
    Refused(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// What wardian does about it.
    pub treatment: Treatment,
}

/// A field whose value wardian does not honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The field's name.
    pub field: &'static str,
    /// Why, and what to use instead.
    pub reason: String,
}

/// The fields for which a config is refused; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nsjail config: {}", list(.0))]
pub struct Refused(pub Vec<Unsupported>);

impl Refused {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(
            "--best-effort runs without these settings, as far as wardian's own rules go, and lists them"
                .into(),
        )
    }
}

fn list(fields: &[Unsupported]) -> String {
    let lines: Vec<_> = fields.iter().map(|each| format!("`{}`: {}", each.field, each.reason)).collect();
    lines.join("; ")
}

/// Whether wardian can run a config: the settings it drops, which there are only with `best_effort`.
///
/// A dropped setting never widens what wardian's own rules allow.
///
/// # Errors
/// [`Refused`] with every setting that is not honoured, unless `best_effort`.
pub fn check(config: &NsjailConfig, best_effort: bool) -> Result<Vec<Unsupported>, Refused> {
    let changed = config.changed_fields();
    let unsupported: Vec<_> = FIELDS
        .iter()
        .filter_map(|Field { name, treatment }| {
            let reason = match treatment {
                Treatment::Honoured(_) => None,
                Treatment::HonouredIf { problem, .. } => problem(config),
                Treatment::Refused(reason) => changed.contains(name).then(|| (*reason).to_owned()),
            }?;
            Some(Unsupported { field: name, reason })
        })
        .collect();
    if unsupported.is_empty() || best_effort { Ok(unsupported) } else { Err(Refused(unsupported)) }
}

const fn honoured(name: &'static str, how: &'static str) -> Field {
    Field { name, treatment: Treatment::Honoured(how) }
}

const fn honoured_if(
    name: &'static str,
    values: &'static str,
    problem: fn(&NsjailConfig) -> Option<String>,
) -> Field {
    Field { name, treatment: Treatment::HonouredIf { values, problem } }
}

const fn refused(name: &'static str, reason: &'static str) -> Field {
    Field { name, treatment: Treatment::Refused(reason) }
}

fn when(wrong: bool, reason: &str) -> Option<String> {
    wrong.then(|| reason.to_owned())
}

const LISTEN_ONLY: &str = "without effect outside mode LISTEN, as in nsjail";
const OWN_CGROUP: &str =
    "wardian makes its own cgroup, of the version and where the host has them; the limit is the same";
const MACVLAN_ONLY: &str = "without effect unless `macvlan_iface` is set, as in nsjail";
const NET_CLS_ONLY: &str = "without effect unless `cgroup_net_cls_classid` is set, as in nsjail";
const NETWORK: &str = "a sandbox has no network beyond its own loopback";
const PERSONALITY: &str = "the personality is the kernel's default, which keeps its protections";
const NAMESPACE: &str = "every sandbox has its own";
const LIMIT: &str = "setrlimit; soft and hard limit are the same, as in nsjail";
const KAFEL: &str =
    "Kafel is not read from files; wardian's own filter applies, and refused calls are in the report";

/// Every field of the config, in nsjail's order.
pub const FIELDS: &[Field] = &[
    honoured("name", "the policy's name"),
    honoured("description", "the policy's description"),
    honoured_if("mode", "ONCE", |config| match config.mode() {
        Mode::Once => None,
        Mode::Listen => Some(
            "LISTEN is not offered; use `wardian serve`, or a socket-activated unit that runs wardian".into(),
        ),
        Mode::Rerun => Some("RERUN is not offered; run wardian in a loop".into()),
        Mode::Execve => Some("EXECVE has no supervisor to enforce and report; use ONCE".into()),
    }),
    honoured_if("hostname", "1 to 64 bytes", |config| {
        when(!(1..=64).contains(&config.hostname().len()), "a host name has 1 to 64 bytes")
    }),
    honoured("cwd", "the working directory"),
    refused("no_pivotroot", "a root that is only chrooted can be left; wardian always pivots"),
    honoured("port", LISTEN_ONLY),
    honoured("bindhost", LISTEN_ONLY),
    honoured("max_conns", LISTEN_ONLY),
    honoured("max_conns_per_ip", LISTEN_ONLY),
    honoured("time_limit", "limits.wall, exact to the millisecond; 0 is a year"),
    refused("daemon", "wardian stays in the foreground; start it as a service"),
    honoured("max_cpus", "limits.cpus"),
    honoured_if("nice_level", "0 to 19", |config| {
        when(!(0..=19).contains(&config.nice_level()), "an untrusted program is never preferred; use 0 to 19")
    }),
    honoured("log_fd", "the log of this mode goes there"),
    honoured("log_file", "the log of this mode goes there"),
    honoured("log_level", "the log of this mode is filtered by it"),
    honoured("keep_env", "environment.inherit, with the names that the caller has"),
    honoured_if("envar", "NAME or NAME=VALUE", |config| {
        let wrong = config
            .envar
            .iter()
            .find(|envar| envar.is_empty() || envar.starts_with('=') || envar.contains('\0'));
        wrong.map(|envar| format!("{envar:?} is not NAME or NAME=VALUE"))
    }),
    refused("keep_caps", "a sandboxed program has no capabilities"),
    refused("cap", "a sandboxed program has no capabilities"),
    honoured("silent", "the standard streams are /dev/null"),
    refused("skip_setsid", "in the caller's session it could type into the caller's terminal"),
    honoured("stderr_to_null", "standard error is /dev/null"),
    refused("pass_fd", "only descriptors 0, 1 and 2 are passed"),
    refused("disable_no_new_privs", "no_new_privs is always set"),
    refused("forward_signals", "a signal to wardian ends the run with SIGKILL"),
    refused("disable_tsc", "the time stamp counter stays readable"),
    refused(
        "oom_score_adj",
        "wardian sets 500, so that under pressure the kernel ends a sandbox before the host's own",
    ),
    honoured("rlimit_as", LIMIT),
    honoured("rlimit_as_type", LIMIT),
    honoured_if("rlimit_core", "0, or any where `rlimit_core_type` decides", |config| {
        when(config.rlimit_core() != 0, "no core dumps are written")
    }),
    honoured_if("rlimit_core_type", "VALUE", |config| {
        when(
            config.rlimit_core_type() != RLimit::Value,
            "no core dumps are written; use VALUE with `rlimit_core: 0`",
        )
    }),
    honoured("rlimit_cpu", LIMIT),
    honoured("rlimit_cpu_type", LIMIT),
    honoured("rlimit_fsize", LIMIT),
    honoured("rlimit_fsize_type", LIMIT),
    honoured_if("rlimit_nofile", "16 and more", |config| {
        let used = config.rlimit_nofile_type() == RLimit::Value && !config.disable_rl();
        when(
            used && config.rlimit_nofile() < 16,
            "fewer than 16 open files are not enough to start a program",
        )
    }),
    honoured("rlimit_nofile_type", LIMIT),
    honoured(
        "rlimit_nproc",
        "limits.processes, counted in the sandbox alone, where `cgroup_pids_max` is not less",
    ),
    honoured("rlimit_nproc_type", "decides whether `rlimit_nproc` is used"),
    honoured("rlimit_stack", LIMIT),
    honoured("rlimit_stack_type", LIMIT),
    honoured("rlimit_memlock", LIMIT),
    honoured("rlimit_memlock_type", LIMIT),
    honoured_if("rlimit_rtprio", "0", |config| {
        when(config.rlimit_rtprio() != 0, "an untrusted program has no real-time priority")
    }),
    honoured_if("rlimit_rtprio_type", "VALUE, or SOFT (nsjail's default)", |config| {
        let granted = matches!(config.rlimit_rtprio_type(), RLimit::Hard | RLimit::Inf);
        when(granted, "an untrusted program has no real-time priority; use VALUE with `rlimit_rtprio: 0`")
    }),
    honoured("rlimit_msgqueue", LIMIT),
    honoured("rlimit_msgqueue_type", LIMIT),
    honoured("disable_rl", "every limit is the caller's soft limit"),
    refused("persona_addr_compat_layout", PERSONALITY),
    refused("persona_mmap_page_zero", PERSONALITY),
    refused("persona_read_implies_exec", PERSONALITY),
    refused("persona_addr_limit_3gb", PERSONALITY),
    refused("persona_addr_no_randomize", PERSONALITY),
    refused("clone_newnet", NAMESPACE),
    refused("clone_newuser", NAMESPACE),
    refused("clone_newns", NAMESPACE),
    refused("clone_newpid", NAMESPACE),
    refused("clone_newipc", NAMESPACE),
    refused("clone_newuts", NAMESPACE),
    refused("clone_newcgroup", NAMESPACE),
    refused(
        "clone_newtime",
        "nsjail makes a time namespace in mode EXECVE only, which wardian does not offer",
    ),
    honoured_if(
        "uidmap",
        "one map of one id; outside, wardian takes an id that no other process has, or the caller's own: as root, `rw` mounts are written with everybody's rights",
        |config| id_map_problem(&config.uidmap),
    ),
    honoured_if(
        "gidmap",
        "one map of one id; outside, wardian takes an id that no other process has, or the caller's own: as root, `rw` mounts are written with everybody's rights",
        |config| id_map_problem(&config.gidmap),
    ),
    honoured("mount_proc", "files.proc"),
    honoured_if("mount", "bind mounts, tmpfs, proc, links and content", |config| {
        let problems: Vec<_> = (config.mount.iter().enumerate())
            .filter_map(|(index, mount)| {
                Some(format!("[{index}] `{}`: {}", mount.dst(), mounts::problem(mount)?))
            })
            .collect();
        (!problems.is_empty()).then(|| problems.join(", "))
    }),
    refused("seccomp_policy_file", KAFEL),
    honoured_if(
        "seccomp_string",
        "lists of calls to refuse (`KILL { ptrace } DEFAULT ALLOW`) that wardian refuses anyway, with an error instead \
         of a signal",
        |config| match config.seccomp_string.as_slice() {
            [] => None,
            lines => kafel::problem(&lines.join("\n")),
        },
    ),
    refused("seccomp_log", "refused calls are in wardian's report, not in the kernel's log"),
    refused("seccomp_unotify", "use wardian's report (`--report`), which lists what was refused"),
    refused("seccomp_unotify_report", "use wardian's report (`--report`)"),
    refused("use_core_scheduling", "core scheduling is not set up; turn off SMT on hosts that need it"),
    honoured_if(
        "cgroup_mem_max",
        "1 MiB and more; 0 is `rlimit_as` for the whole sandbox, or 4 GiB without one",
        |config| {
            when(
                (1..1 << 20).contains(&config.cgroup_mem_max()),
                "no program starts in less than 1 MiB (1048576)",
            )
        },
    ),
    honoured_if("cgroup_mem_memsw_max", "0, or no more than `cgroup_mem_max`", |config| {
        let swap = config.cgroup_mem_memsw_max() > config.cgroup_mem_max();
        when(swap, "a sandbox has no swap; use the value of `cgroup_mem_max`")
    }),
    honoured_if("cgroup_mem_swap_max", "-1 and 0: there is no swap", |config| {
        when(config.cgroup_mem_swap_max() > 0, "a sandbox has no swap; use 0")
    }),
    honoured("cgroup_mem_mount", OWN_CGROUP),
    honoured("cgroup_mem_parent", OWN_CGROUP),
    honoured("cgroup_pids_max", "limits.processes, enforced"),
    honoured("cgroup_pids_mount", OWN_CGROUP),
    honoured("cgroup_pids_parent", OWN_CGROUP),
    refused("cgroup_net_cls_classid", NETWORK),
    honoured("cgroup_net_cls_mount", NET_CLS_ONLY),
    honoured("cgroup_net_cls_parent", NET_CLS_ONLY),
    honoured_if("cgroup_cpu_ms_per_sec", "10 and more", |config| {
        when(
            (1..10).contains(&config.cgroup_cpu_ms_per_sec()),
            "less than a hundredth of a core; use 10 or more",
        )
    }),
    honoured("cgroup_cpu_mount", OWN_CGROUP),
    honoured("cgroup_cpu_parent", OWN_CGROUP),
    honoured("cgroupv2_mount", OWN_CGROUP),
    honoured("use_cgroupv2", OWN_CGROUP),
    honoured("detect_cgroupv2", OWN_CGROUP),
    honoured("iface_no_lo", "network: none, or loopback"),
    refused("iface_own", NETWORK),
    refused("macvlan_iface", NETWORK),
    honoured("macvlan_vs_ip", MACVLAN_ONLY),
    honoured("macvlan_vs_nm", MACVLAN_ONLY),
    honoured("macvlan_vs_gw", MACVLAN_ONLY),
    honoured("macvlan_vs_ma", MACVLAN_ONLY),
    honoured("macvlan_vs_mo", MACVLAN_ONLY),
    refused("traffic_rule", NETWORK),
    refused("user_net", NETWORK),
    honoured("exec_bin", "the program, if none follows `--`"),
];

fn id_map_problem(maps: &[IdMap]) -> Option<String> {
    match maps {
        [] => None,
        [map] if map.use_newidmap() => Some("`use_newidmap` runs a set-user-id program; leave it out".into()),
        [map] if map.count() != 1 => Some("a sandbox has one id; use `count: 1`".into()),
        [_] => None,
        _ => Some("a sandbox has one id; give one map".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_nsjail::parse;

    const SEED: &str = include_str!("../../../../wardian-nsjail/tests/fixtures/seed-nsjail.cfg");
    const SNEKBOX: &str = include_str!("../../../../wardian-nsjail/tests/fixtures/snekbox.cfg");
    const EVERY_FORM: &str = include_str!("../../../../wardian-nsjail/tests/fixtures/every-form.cfg");

    fn refused_fields(text: &str) -> Vec<&'static str> {
        match check(&parse(text).unwrap(), false) {
            Ok(_) => Vec::new(),
            Err(Refused(fields)) => fields.iter().map(|each| each.field).collect(),
        }
    }

    #[test]
    fn every_field_has_exactly_one_row() {
        let mut rows: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        let mut fields = NsjailConfig::FIELDS.to_vec();
        rows.sort_unstable();
        fields.sort_unstable();
        assert_eq!(rows, fields);
    }

    #[test]
    fn defaults_and_the_common_configs_are_honoured_whole() {
        for text in ["", SEED, SNEKBOX] {
            assert_eq!(refused_fields(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn every_row_that_can_refuse_does() {
        let texts = [
            "mode: LISTEN",
            "mode: RERUN",
            "mode: EXECVE",
            "hostname: ''",
            "no_pivotroot: true",
            "daemon: true",
            "nice_level: -1",
            "envar: '=x'",
            "keep_caps: true",
            "cap: 'CAP_NET_RAW'",
            "skip_setsid: true",
            "pass_fd: 3",
            "disable_no_new_privs: true",
            "forward_signals: true",
            "disable_tsc: true",
            "oom_score_adj: 0",
            "rlimit_core: 1",
            "rlimit_core_type: INF",
            "rlimit_nofile: 15",
            "rlimit_rtprio: 1",
            "rlimit_rtprio_type: INF",
            "persona_addr_compat_layout: true",
            "persona_mmap_page_zero: true",
            "persona_read_implies_exec: true",
            "persona_addr_limit_3gb: true",
            "persona_addr_no_randomize: true",
            "clone_newnet: false",
            "clone_newuser: false",
            "clone_newns: false",
            "clone_newpid: false",
            "clone_newipc: false",
            "clone_newuts: false",
            "clone_newcgroup: false",
            "clone_newtime: true",
            "uidmap { count: 2 }",
            "uidmap { use_newidmap: true }",
            "gidmap { } gidmap { }",
            "mount { dst: '/s' fstype: 'sysfs' }",
            "seccomp_policy_file: '/p'",
            "seccomp_string: 'KILL { geteuid } DEFAULT ALLOW'",
            "seccomp_log: true",
            "seccomp_unotify: true",
            "seccomp_unotify_report: '/r'",
            "use_core_scheduling: true",
            "cgroup_mem_max: 1048575",
            "cgroup_mem_memsw_max: 1",
            "cgroup_mem_swap_max: 1",
            "cgroup_net_cls_classid: 1",
            "cgroup_cpu_ms_per_sec: 9",
            "iface_own: 'eth0'",
            "macvlan_iface: 'eth0'",
            "traffic_rule { }",
            "user_net { }",
        ];
        let mut tried = Vec::new();
        for text in texts {
            let field = text.split([':', ' ']).next().unwrap();
            assert_eq!(refused_fields(text), [field], "{text}");
            tried.push(field);
        }
        tried.dedup();
        let can_refuse = FIELDS.iter().filter(|field| !matches!(field.treatment, Treatment::Honoured(_)));
        assert_eq!(tried, can_refuse.map(|field| field.name).collect::<Vec<_>>());
    }

    #[test]
    fn refused_fields_that_say_the_default_are_fine() {
        assert_eq!(refused_fields("keep_caps: false clone_newnet: true daemon: false"), [""; 0]);
    }

    #[test]
    fn all_are_named_at_once_and_best_effort_lists_the_same() {
        let names = [
            "keep_caps",
            "cap",
            "skip_setsid",
            "pass_fd",
            "oom_score_adj",
            "gidmap",
            "seccomp_string",
            "macvlan_iface",
            "traffic_rule",
            "user_net",
        ];
        assert_eq!(refused_fields(EVERY_FORM), names);
        let dropped = check(&parse(EVERY_FORM).unwrap(), true).unwrap();
        assert_eq!(dropped.iter().map(|each| each.field).collect::<Vec<_>>(), names);
        let error = check(&parse("cap: 'CAP_SYS_ADMIN' daemon: true").unwrap(), false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nsjail config: `daemon`: wardian stays in the foreground; start it as a service; `cap`: a sandboxed \
             program has no capabilities"
        );
        assert!(error.hint().unwrap().contains("--best-effort"));
    }
}
