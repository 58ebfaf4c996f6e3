//! The guest's part of the plan: everything between its clone and its exec.

use super::program::{HOOK_DIRECTORY, Resolved};
use super::root::Root;
use super::steps::c_string;
use super::{Places, PlanError, Request};
use crate::host::{Host, Privilege};
use crate::policy::{Duration, ExecMode, Level, Policy, Scratch};
use crate::seccomp::{Arch, Exec, Profile, Refusal};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use wardian_init::{Handled, Rlimit};
use wardian_sys::process::{
    RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_NICE,
    RLIMIT_NPROC, RLIMIT_RTPRIO, RLIMIT_SIGPENDING, RLIMIT_STACK, get_rlimit,
};

/// What the guest becomes; slots and cgroups are filled in at launch.
#[derive(Clone)]
pub(crate) struct GuestPlan {
    pub(crate) cwd: CString,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) open_files: u64,
    pub(crate) affinity: Vec<u64>,
    pub(crate) nice: Option<i32>,
    pub(crate) landlock: Handled,
    pub(crate) landlock_rules: Vec<(CString, u64)>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) profile: Profile,
    pub(crate) filter: Vec<u8>,
    pub(crate) init_filter: Vec<u8>,
    pub(crate) listener: bool,
    /// The filter where an ancestor of ours has a listener already; none where denials are required.
    pub(crate) unobserved_filter: Option<Vec<u8>>,
    pub(crate) program: CString,
    pub(crate) exec_once: Option<(u32, u64)>,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
}

/// Signals that wait and timers. The kernel counts those of all processes of a host user together, so that the guests of
/// an ordinary user must leave some to its other programs.
const PENDING_SIGNALS: u64 = 512;

pub(super) fn build(
    request: &Request,
    program: &Resolved,
    root: &Root,
    places: &Places,
    host: &Host,
) -> Result<GuestPlan, PlanError> {
    let policy = &request.policy;
    let exec = match policy.exec {
        ExecMode::Any => Exec::Any,
        ExecMode::Once => Exec::once(exec_descriptor(policy), random(), Arch::current()),
    };
    let profile = super::filter::profile(policy, exec, host);
    let (filter, unobserved_filter) = super::filter::guest(policy, &profile);
    let (landlock, landlock_rules) = super::landlock::rules(policy, root, host)?;
    let args = program.args.iter().cloned().map(OsStringExt::into_vec);
    Ok(GuestPlan {
        cwd: c_string(root.cwd.as_str())?,
        rlimits: rlimits(policy, host),
        open_files: policy.limits.open_files,
        affinity: affinity(policy, host),
        nice: policy.scheduling.nice.map(i32::from),
        landlock,
        landlock_rules,
        uid: policy.identity.uid,
        gid: policy.identity.gid,
        filter,
        init_filter: crate::seccomp::init_program(policy.level == Level::Landlock),
        unobserved_filter,
        listener: profile.refusal == Refusal::Notify,
        profile,
        program: c_string(program.path.as_os_str().as_bytes())?,
        exec_once: match exec {
            Exec::Once { fd, path } => Some((fd, path)),
            Exec::Any | Exec::Never => None,
        },
        args: args.map(c_string).collect::<Result<_, _>>()?,
        env: environment(request, program, places, host)?,
    })
}

/// The first number that the limit of open files keeps the guest from using.
fn exec_descriptor(policy: &Policy) -> u32 {
    u32::try_from(policy.limits.open_files).unwrap_or(u32::MAX)
}

/// 64 random bits.
pub(super) fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // The call fails only before the machine has gathered any randomness at all, and then waits.
    while rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) != Ok(bytes.len()) {}
    u64::from_ne_bytes(bytes)
}

/// At no other limit is the host's handler of core dumps left alone where there is one (`core_pattern` with a pipe,
/// core(5)): it would run as the host's root, outside every limit, for a crash inside. Of a file it is too little for
/// anything to be written.
const NO_CORE_HANDLER: u64 = 1;

/// Backstops of each process; the tree as a whole is limited by cgroup and supervisor.
fn rlimits(policy: &Policy, host: &Host) -> Vec<Rlimit> {
    let limits = &policy.limits;
    let both = |resource, value| Rlimit { resource, soft: value, hard: value };
    // The whole tree's limit comes first, by the supervisor; a process that outlives it by a second dies here.
    let cpu = policy.rlimits.cpu_time.map_or(limits.cpu_time.as_micros().div_ceil(1_000_000) + 1, |own| {
        own.as_micros().div_ceil(1_000_000)
    });
    let file_size = limits.file_size.unwrap_or(limits.disk).0;
    let mut all = vec![
        both(RLIMIT_CORE, NO_CORE_HANDLER),
        both(RLIMIT_CPU, cpu),
        both(RLIMIT_FSIZE, if limits_file_size(policy) { file_size } else { u64::MAX }),
        both(RLIMIT_STACK, limits.stack.0),
        // Where a cgroup has the limit it comes first: it also counts what it refuses.
        both(
            RLIMIT_NPROC,
            u64::from(limits.processes)
                + others_of_its_id(policy, host)
                + u64::from(host.cgroups().controllers().pids),
        ),
        both(RLIMIT_MEMLOCK, policy.rlimits.locked_memory.map_or(64 << 10, |bytes| bytes.0)),
        both(RLIMIT_SIGPENDING, PENDING_SIGNALS),
        both(RLIMIT_MSGQUEUE, policy.rlimits.message_queues.map_or(0, |bytes| bytes.0)),
        both(RLIMIT_NICE, 0),
        both(RLIMIT_RTPRIO, 0),
    ];
    if let Some(bytes) = policy.rlimits.address_space {
        all.push(both(RLIMIT_AS, bytes.0));
    }
    // A limit can only be lowered: what we were given ourselves bounds what we can give.
    for limit in &mut all {
        if let Ok((_, hard)) = get_rlimit(limit.resource) {
            limit.hard = limit.hard.min(hard);
            limit.soft = limit.soft.min(limit.hard);
        }
    }
    all
}

/// A process limit of CPU time that we were started under, and that is less than the whole tree's, is the policy's:
/// what it ends is told as such.
pub(super) fn inherit_cpu_time(policy: &mut Policy) {
    let inherited = match get_rlimit(RLIMIT_CPU) {
        Ok((_, hard)) if hard != u64::MAX => Duration::from_secs(hard),
        _ => return,
    };
    if inherited <= policy.rlimits.cpu_time.unwrap_or(policy.limits.cpu_time) {
        policy.rlimits.cpu_time = Some(inherited);
    }
}

/// Whether files have a size limit: without scratch space only if the policy names one.
pub(crate) fn limits_file_size(policy: &Policy) -> bool {
    policy.files.scratch != Scratch::None || policy.limits.file_size.is_some()
}

/// Processes and threads that count against the guest's limit beside its own: init, where the two share an id; without
/// a user namespace, as an ordinary user, all those of the user's. There the limit is watched, and this is only a
/// backstop against what is faster.
fn others_of_its_id(policy: &Policy, host: &Host) -> u64 {
    const ROOM: u64 = 1024;
    let is_root = host.privilege == Privilege::Root;
    if is_root && policy.level == Level::Namespaces && policy.identity.uid != 0 {
        return 0;
    }
    // Init has the guest's id.
    if policy.level == Level::Namespaces || is_root {
        return 1;
    }
    ROOM + crate::limits::watched::tasks_of(rustix::process::geteuid().as_raw())
}

/// The CPUs of the guest: the first of ours, as many as it has cores.
fn affinity(policy: &Policy, host: &Host) -> Vec<u64> {
    let Some(cpus) = policy.limits.cpus else { return Vec::new() };
    let wanted = host.cpus.iter().take(cores(cpus));
    let mut mask = vec![0u64; host.cpus.iter().max().map_or(0, |last| last / 64 + 1)];
    for cpu in wanted {
        if let Some(word) = mask.get_mut(cpu / 64) {
            *word |= 1 << (cpu % 64);
        }
    }
    mask
}

/// Whole cores that a fraction of cores needs.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0.01 to 4096")]
pub(super) fn cores(cpus: f64) -> usize {
    cpus.ceil() as usize
}

fn environment(
    request: &Request,
    program: &Resolved,
    places: &Places,
    host: &Host,
) -> Result<Vec<CString>, PlanError> {
    let environment = &request.policy.environment;
    let mut all = BTreeMap::new();
    if environment.defaults {
        let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
        let home = &places.home;
        set("HOME", home.clone());
        set("TMPDIR", places.tmp.clone());
        set("LOGNAME", "guest".into());
        set("USER", "guest".into());
        set("MPLCONFIGDIR", format!("{home}/.config/matplotlib"));
        set("PYTHONDONTWRITEBYTECODE", "1".into());
        // A locale that every C library has since 2.35, and that Python 3.7 and later make UTF-8 of in any case.
        set("LC_ALL", "C.UTF-8".into());
        if request.unbuffered {
            set("PYTHONUNBUFFERED", "1".into());
        }
        if environment.hash_seed == crate::policy::HashSeed::Fixed {
            set("PYTHONHASHSEED", "0".into());
        }
        let cores = request.policy.limits.cpus.map_or(host.cpus.len(), cores);
        let most = usize::try_from(request.policy.limits.processes).unwrap_or(usize::MAX);
        let threads = environment.threads.map_or(cores.min(most), |n| usize::try_from(n).unwrap_or(1)).max(1);
        for library in ["OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "VECLIB_MAXIMUM", "NUMEXPR_NUM", "BLIS_NUM"] {
            set(&format!("{library}_THREADS"), threads.to_string());
        }
        if !program.start_files.is_empty() {
            all.insert("PYTHONPATH".to_owned(), HOOK_DIRECTORY.to_owned());
        }
        let search_path: Vec<_> = program.search_path.iter().map(|dir| dir.to_string_lossy()).collect();
        all.insert("PATH".to_owned(), search_path.join(":"));
    }
    for name in &environment.inherit {
        if let Some(value) = std::env::var_os(name) {
            all.insert(name.clone(), value.to_string_lossy().into_owned());
        }
    }
    all.extend(environment.set.iter().map(|(name, value)| (name.clone(), value.clone())));
    all.into_iter().map(|(name, value)| c_string(format!("{name}={value}"))).collect()
}

impl GuestPlan {
    /// What the guest does before it is the program, in words.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            "join its cgroups, take its streams, start a session".to_owned(),
            format!("{} resource limits, {} open files", self.rlimits.len(), self.open_files),
            format!("change to {}", self.cwd.to_string_lossy()),
            format!("become uid {}, gid {}; drop every capability and the ways back", self.uid, self.gid),
            "no_new_privs".to_owned(),
        ];
        if self.landlock != Handled::default() {
            lines.push(format!("Landlock: {} rules", self.landlock_rules.len()));
        }
        let notify = if self.listener { ", refusals recorded" } else { "" };
        lines.push(format!("seccomp: {} instructions{notify}", self.filter.len() / 8));
        lines.push(match self.exec_once {
            Some(_) => format!("execute {}, once", self.program.to_string_lossy()),
            None => format!("execute {}", self.program.to_string_lossy()),
        });
        lines
    }
}
