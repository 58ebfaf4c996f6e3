//! From what the supervisor saw to the report.

use super::SandboxError;
use super::accounting::Accounting;
use super::artefacts;
use super::enforcement;
use super::launch::Held;
use super::output;
use super::refusals::Refusals;
use super::streams::Taker;
use super::words;
use crate::limits::cgroup::Counts;
use crate::plan::limits_file_size;
use crate::policy::Policy;
use crate::report::{
    Denial, EffectiveLimits, PolicyRef, Reason, Report, SCHEMA, Signal, Source, Timeline, Usage, Verdict,
};
use rustix::fs::StatVfs;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use wardian_init::Stage;
use wardian_sys::Errno;
use wardian_sys::spawn::InitEnd;

const SIGKILL: i32 = 9;

/// Why we ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Killed {
    Wall,
    Cpu,
    Oom,
    MemoryWatch,
    Output,
    Disk,
    Processes,
    Cancelled(Option<i32>),
    SetUpTimeout,
}

/// What init was doing since set-up.
const STARTING: &str = "start or watch the program";

/// What the guest writes to, open.
#[derive(Default)]
pub(super) struct Directories {
    pub(super) scratch: Option<OwnedFd>,
    /// Other file systems in memory.
    tmpfs: Vec<OwnedFd>,
}

impl Directories {
    /// One that init hands out: `/box` comes first, if there is one in scratch space.
    pub(super) fn take(&mut self, directory: OwnedFd, has_box: bool) {
        if has_box && self.scratch.is_none() {
            self.scratch = Some(directory);
        } else {
            self.tmpfs.push(directory);
        }
    }

    /// Where they are in memory, all of them.
    pub(super) fn all(&self) -> Vec<&OwnedFd> {
        self.scratch.iter().chain(&self.tmpfs).collect()
    }
}

/// What the supervisor saw.
pub(super) struct Facts {
    pub(super) accepted: Instant,
    /// When init was told to go.
    pub(super) prepared: Instant,
    pub(super) started: Option<Instant>,
    pub(super) ended: Option<Instant>,
    /// When init was gone, and everything inside with it.
    pub(super) gone: Option<Instant>,
    pub(super) killed: Option<Killed>,
    /// A set-up step that failed, and why.
    pub(super) failed: Option<(u32, i32)>,
    pub(super) degraded: Vec<(u32, i32)>,
    /// A stage of the guest's start that failed, and why.
    pub(super) not_started: Option<(u32, i32)>,
    /// The guest's raw wait status, and what init saw used.
    pub(super) exited: Option<(i32, wardian_init::Usage)>,
    /// What a slot's init reaped, beside the guest.
    pub(super) reaped: Option<wardian_init::Usage>,
    pub(super) directories: Directories,
    pub(super) denials_unavailable: Option<String>,
    /// Whether the standard streams were one terminal.
    pub(super) terminal: bool,
}

impl Facts {
    pub(super) fn new(accepted: Instant, prepared: Instant) -> Facts {
        Facts {
            accepted,
            prepared,
            started: None,
            ended: None,
            gone: None,
            killed: None,
            failed: None,
            degraded: Vec::new(),
            not_started: None,
            exited: None,
            reaped: None,
            directories: Directories::default(),
            denials_unavailable: None,
            terminal: false,
        }
    }

    /// Out of memory, the kernel may kill a whole group, init with it; whoever sees that end first has no news of the cause.
    pub(super) fn note_kill_of_the_group(&mut self, oom_kills: u64, init_end: InitEnd) {
        if init_end == InitEnd::Killed(SIGKILL)
            && oom_kills > 0
            && self.killed.is_none()
            && self.exited.is_none()
        {
            self.killed = Some(Killed::Oom);
            self.ended = self.gone;
        }
    }

    pub(super) fn over_since(&mut self, limit: Duration) -> bool {
        self.gone.get_or_insert_with(Instant::now).elapsed() >= limit
    }
}

/// How a run ended: verdict, reason, exit code, signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    pub(super) exit_code: Option<u8>,
    pub(super) signal: Option<i32>,
}

impl Ending {
    fn of(verdict: Verdict, reason: Reason) -> Ending {
        Ending { verdict, reason, exit_code: None, signal: None }
    }

    /// A program that failed by itself, after a limit refused it something: the verdict is that limit's. Exit code and
    /// signal stay. Whether it would have failed without the limit, nobody can see from outside.
    fn blamed_on(self, refusals: Refusals, file_size_is_limited: bool, cpu_time_is_spent: bool) -> Ending {
        const SIGXFSZ: i32 = 25;
        if !matches!(self.verdict, Verdict::NonzeroExit | Verdict::Signaled) {
            return self;
        }
        let blamed = match self.signal {
            Some(SIGXFSZ) if file_size_is_limited => Some((Verdict::DiskLimit, Reason::FileSize)),
            Some(SIGKILL) if cpu_time_is_spent => Some((Verdict::TimeLimit, Reason::CpuTime)),
            _ => refusals.verdict(),
        };
        blamed.map_or(self.clone(), |(verdict, reason)| Ending { verdict, reason, ..self })
    }
}

/// Tells causes of death apart: what we did comes first, then what the kernel says, never what the guest says.
fn ending(facts: &Facts, oom_kills: u64, init_end: InitEnd) -> Result<Ending, SandboxError> {
    if let Some(killed) = facts.killed {
        return match killed {
            Killed::Wall => Ok(Ending::of(Verdict::TimeLimit, Reason::WallTime)),
            Killed::Cpu => Ok(Ending::of(Verdict::TimeLimit, Reason::CpuTime)),
            Killed::Oom => Ok(Ending::of(Verdict::MemoryLimit, Reason::OomKill)),
            Killed::MemoryWatch => Ok(Ending::of(Verdict::MemoryLimit, Reason::MemoryWatch)),
            Killed::Disk => Ok(Ending::of(Verdict::DiskLimit, Reason::Disk)),
            Killed::Processes => Ok(Ending::of(Verdict::ProcessLimit, Reason::Processes)),
            Killed::Output => Ok(Ending::of(Verdict::OutputLimit, Reason::Output)),
            Killed::Cancelled(signal) => {
                Ok(Ending { signal, ..Ending::of(Verdict::Cancelled, Reason::Cancelled) })
            }
            Killed::SetUpTimeout => {
                Err(SandboxError::InitDied { during: "set the sandbox up", end: InitEnd::Killed(SIGKILL) })
            }
        };
    }
    // A guest that dies before its program closes its channel, too.
    let during = if facts.started.is_some() { STARTING } else { "set the sandbox up" };
    let Some((status, _)) = facts.exited else {
        return Err(SandboxError::InitDied { during, end: init_end });
    };
    let signal = status & 0x7f;
    if signal == 0 {
        let code = u8::try_from((status >> 8) & 0xff).unwrap_or(u8::MAX);
        let verdict = if code == 0 { Verdict::Ok } else { Verdict::NonzeroExit };
        return Ok(Ending { exit_code: Some(code), ..Ending::of(verdict, Reason::Exit) });
    }
    // The kernel's own count of what it killed for want of memory; a guest can kill itself, but not forge that.
    if signal == SIGKILL && oom_kills > 0 {
        return Ok(Ending::of(Verdict::MemoryLimit, Reason::OomKill));
    }
    Ok(Ending { signal: Some(signal), ..Ending::of(Verdict::Signaled, Reason::Signal) })
}

/// What a file, its path or its arguments can be at fault for when they are opened or executed. All else is ours, or the
/// host's.
fn is_of_the_program(errno: Errno) -> bool {
    const ENOEXEC: i32 = 8;
    const E2BIG: i32 = 7;
    const ENXIO: i32 = 6;
    const ENOTDIR: i32 = 20;
    const EISDIR: i32 = 21;
    const ETXTBSY: i32 = 26;
    const ENAMETOOLONG: i32 = 36;
    const ELOOP: i32 = 40;
    const ELIBBAD: i32 = 80;
    matches!(
        errno,
        Errno::NOENT
            | Errno::ACCES
            | Errno::PERM
            | Errno::INVAL
            | Errno(ENOEXEC | E2BIG | ENXIO | ENOTDIR | EISDIR | ETXTBSY | ENAMETOOLONG | ELOOP | ELIBBAD)
    )
}

/// A guest that never became the program: its own fault only if there is no such program, or it is none.
fn not_started(facts: &Facts, init_end: InitEnd) -> Option<Result<Ending, SandboxError>> {
    const EXEC: u32 = Stage::Exec as u32;
    const OPEN_PROGRAM: u32 = Stage::OpenProgram as u32;
    let (stage, errno) = facts.not_started?;
    let init_has_failed = matches!(init_end, InitEnd::Killed(_) | InitEnd::Exited(1..));
    Some(match (stage, Errno(errno)) {
        // The guest only noticed.
        (_, Errno::SRCH) if init_has_failed => {
            Err(SandboxError::InitDied { during: STARTING, end: init_end })
        }
        (EXEC | OPEN_PROGRAM, Errno::NOENT) => Ok(Ending::of(Verdict::NotExecutable, Reason::NotFound)),
        (EXEC | OPEN_PROGRAM, errno) if is_of_the_program(errno) => {
            Ok(Ending::of(Verdict::NotExecutable, Reason::NotExecutable))
        }
        (stage, errno) => Err(SandboxError::guest(stage, errno.0)),
    })
}

/// What the guest wrote.
pub(super) struct Taken {
    pub(super) stdout: Taker,
    pub(super) stderr: Taker,
    pub(super) result: Option<Taker>,
}

/// The report, or what went wrong on our side.
pub(super) fn report(
    mut held: Held,
    facts: Facts,
    accounting: &Accounting,
    counts: &Counts,
    init_end: InitEnd,
    taken: Taken,
    denials: Vec<Denial>,
) -> Result<Report, SandboxError> {
    if let Some((step, errno)) = facts.failed {
        return Err(SandboxError::set_up(&held.plan, step, errno));
    }
    let scratch = scratch_statistics(&facts, &held);
    let refusals = Refusals::seen(counts, scratch.as_ref());
    let mut usage = usage(&facts);
    let ending = match not_started(&facts, init_end) {
        Some(ending) => ending?,
        None => {
            let ending = ending(&facts, counts.oom_kills.unwrap_or(0), init_end)?;
            let cpu_time_is_spent = cpu_time_is_spent(&usage, &held.plan.policy);
            ending.blamed_on(refusals, limits_file_size(&held.plan.policy), cpu_time_is_spent)
        }
    };
    let mut usage_source = sources(&usage);
    let max_rss = facts.exited.map_or(0, |(_, seen)| seen.max_rss_bytes);
    accounting.fill(counts, &mut usage, &mut usage_source, max_rss);
    let (files, files_omitted) = artefacts::collect(&mut held, &facts);
    if let Some(scratch) = &scratch {
        fill_disk(scratch, &mut usage, &mut usage_source);
    }
    let denials = denials.into_iter().chain(refusals.denials(&held.plan.policy.limits)).collect();
    let enforced_by = enforcement::enforced_by(&held, &facts, accounting);
    let limits = effective(&held.plan);
    let message = words::sentence(&ending, &limits, &usage, &held.plan);
    let (result, result_missing) = taken.result.map_or((None, None), output::result);
    let since = |at: Option<Instant>| at.map(|at| micros(at.duration_since(facts.accepted)));
    Ok(Report {
        schema: SCHEMA.into(),
        id: id(),
        wardian: env!("CARGO_PKG_VERSION").into(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        python: held.plan.python.clone(),
        policy: policy_ref(&held),
        verdict: ending.verdict,
        reason: ending.reason,
        message,
        exit_code: ending.exit_code,
        signal: ending.signal.map(|number| Signal { number, name: words::signal_name(number) }),
        terminal: facts.terminal,
        stdout: output::stream(taken.stdout),
        stderr: output::stream(taken.stderr),
        result,
        result_missing,
        limits,
        usage,
        usage_source,
        files,
        files_omitted,
        denials,
        level: Some(held.plan.policy.level),
        denials_unavailable: facts.denials_unavailable.clone(),
        enforced_by,
        timeline_us: Timeline {
            accepted: 0,
            prepared: since(Some(facts.prepared)),
            started: since(facts.started),
            ended: since(facts.ended),
            collected: Some(micros(facts.accepted.elapsed())),
        },
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Unique among the runs of a machine, and not to be guessed: 128 bits of the kernel's randomness.
fn id() -> String {
    let mut bytes = [0u8; 16];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn policy_ref(held: &Held) -> PolicyRef {
    let policy = &held.plan.policy;
    PolicyRef { name: policy.name.clone(), sha256: held.plan.policy_digest.of(policy).to_owned() }
}

fn effective(plan: &crate::plan::Plan) -> EffectiveLimits {
    let limits = &plan.policy.limits;
    EffectiveLimits {
        wall_us: limits.wall.as_micros(),
        cpu_us: limits.cpu_time.as_micros(),
        cpus: limits.cpus,
        memory_bytes: limits.memory.0,
        processes: limits.processes,
        disk_bytes: limits.disk.0,
        disk_inodes: limits.inodes,
        output_bytes: limits.output.0,
        open_files: limits.open_files,
        file_size_bytes: limits.file_size.unwrap_or(limits.disk).0,
        stack_bytes: limits.stack.0,
    }
}

fn usage(facts: &Facts) -> Usage {
    let wall = facts.started.zip(facts.ended).map_or(0, |(from, to)| micros(to.duration_since(from)));
    let seen = facts.exited.map(|(_, usage)| facts.reaped.map_or(usage, |more| sum(usage, more)));
    Usage {
        wall_us: wall,
        cpu_user_us: seen.map(|usage| usage.cpu_user_us),
        cpu_system_us: seen.map(|usage| usage.cpu_system_us),
        page_faults: seen.map(|usage| usage.minor_faults + usage.major_faults),
        context_switches: seen.map(|usage| usage.voluntary_switches + usage.involuntary_switches),
        ..Usage::default()
    }
}

/// Whether a process can have met the policy's RLIMIT_CPU. The kernel sends that SIGKILL by its count of clock ticks,
/// which on a busy machine runs ahead of the time used.
fn cpu_time_is_spent(usage: &Usage, policy: &Policy) -> bool {
    // The kernel takes no time for a second, too.
    const LEAST_US: u64 = 1_000_000;
    let limit = policy.rlimits.cpu_time.map(|limit| limit.as_micros().max(LEAST_US));
    limit.is_some_and(|limit| cpu_time_used(usage) >= limit / 2)
}

/// User and system time, in microseconds.
pub(super) fn cpu_time_used(usage: &Usage) -> u64 {
    usage.cpu_user_us.unwrap_or(0).saturating_add(usage.cpu_system_us.unwrap_or(0))
}

fn sum(a: wardian_init::Usage, b: wardian_init::Usage) -> wardian_init::Usage {
    wardian_init::Usage {
        cpu_user_us: a.cpu_user_us + b.cpu_user_us,
        cpu_system_us: a.cpu_system_us + b.cpu_system_us,
        max_rss_bytes: a.max_rss_bytes.max(b.max_rss_bytes),
        minor_faults: a.minor_faults + b.minor_faults,
        major_faults: a.major_faults + b.major_faults,
        voluntary_switches: a.voluntary_switches + b.voluntary_switches,
        involuntary_switches: a.involuntary_switches + b.involuntary_switches,
    }
}

fn sources(usage: &Usage) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    for (name, value) in [
        ("cpu_user_us", usage.cpu_user_us),
        ("cpu_system_us", usage.cpu_system_us),
        ("page_faults", usage.page_faults),
        ("context_switches", usage.context_switches),
    ] {
        if value.is_some() {
            sources.insert(name.to_owned(), Source::Kernel);
        }
    }
    sources
}

/// What scratch space holds at the end: statfs(2) of a tmpfs counts it. A private directory of the host's own has no
/// size, and being over its limit ends the run.
fn scratch_statistics(facts: &Facts, held: &Held) -> Option<StatVfs> {
    let scratch = facts.directories.scratch.as_ref().filter(|_| held.private.is_none())?;
    rustix::fs::fstatvfs(scratch).ok()
}

fn fill_disk(scratch: &StatVfs, usage: &mut Usage, sources: &mut BTreeMap<String, Source>) {
    usage.disk_bytes = Some((scratch.f_blocks - scratch.f_bfree) * scratch.f_frsize);
    usage.disk_inodes = Some(scratch.f_files - scratch.f_ffree);
    for name in ["disk_bytes", "disk_inodes"] {
        sources.insert(name.to_owned(), Source::Kernel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    const XFSZ: i32 = 25;
    const KILLED: InitEnd = InitEnd::Killed(SIGKILL);

    fn ended(status: i32, oom_kills: u64, killed: Option<Killed>) -> Ending {
        let now = Instant::now();
        let mut facts = Facts::new(now, now);
        facts.exited = Some((status, wardian_init::Usage::default()));
        facts.killed = killed;
        ending(&facts, oom_kills, InitEnd::Unknown).unwrap()
    }

    #[test]
    fn a_group_that_was_killed_for_want_of_memory_takes_init_along() {
        let now = Instant::now();
        let after = |oom_kills, init_end, exited: Option<i32>| {
            let mut facts = Facts::new(now, now);
            facts.gone = Some(now);
            facts.exited = exited.map(|status| (status, wardian_init::Usage::default()));
            facts.note_kill_of_the_group(oom_kills, init_end);
            (facts.killed, facts.ended)
        };
        assert_eq!(after(2, KILLED, None), (Some(Killed::Oom), Some(now)));
        for (oom_kills, init_end, exited) in [
            (0, KILLED, None),
            (2, InitEnd::Exited(0), None),
            // The code's number is no signal.
            (2, InitEnd::Exited(9), None),
            (2, KILLED, Some(0)),
        ] {
            assert_eq!(after(oom_kills, init_end, exited), (None, None));
        }
    }

    #[test]
    fn a_program_is_at_fault_for_what_a_file_can_cause_alone() {
        const NOEXEC: i32 = 8;
        const MFILE: i32 = 24;
        let now = Instant::now();
        let of = |stage: Stage, errno: i32| {
            let facts = Facts { not_started: Some((stage as u32, errno)), ..Facts::new(now, now) };
            not_started(&facts, InitEnd::Exited(0)).unwrap().map(|ending| ending.reason)
        };
        for stage in [Stage::OpenProgram, Stage::Exec] {
            assert_eq!(of(stage, Errno::NOENT.0).unwrap(), Reason::NotFound);
            assert_eq!(of(stage, NOEXEC).unwrap(), Reason::NotExecutable);
            assert!(of(stage, MFILE).is_err());
        }
        assert!(of(Stage::EmptyPath, Errno::INVAL.0).is_err());
    }

    #[track_caller]
    fn check(status: i32, refusals: Refusals, verdict: Verdict, reason: Reason) -> Ending {
        let ending = ended(status, 0, None).blamed_on(refusals, true, false);
        assert_eq!((ending.verdict, ending.reason), (verdict, reason));
        ending
    }

    #[test]
    fn a_program_that_succeeds_is_blamed_for_nothing() {
        for refusals in [Refusals::NONE, Refusals::PROCESSES, Refusals::BYTES, Refusals::INODES] {
            check(0, refusals, Verdict::Ok, Reason::Exit);
        }
    }

    #[test]
    fn a_program_that_fails_after_a_refusal_failed_of_the_limit() {
        check(1 << 8, Refusals::NONE, Verdict::NonzeroExit, Reason::Exit);
        let ending = check(3 << 8, Refusals::BYTES, Verdict::DiskLimit, Reason::DiskBytes);
        assert_eq!((ending.exit_code, ending.signal), (Some(3), None));
        check(1 << 8, Refusals::INODES, Verdict::DiskLimit, Reason::DiskInodes);
        check(1 << 8, Refusals::PROCESSES, Verdict::ProcessLimit, Reason::Processes);
        check(6, Refusals::NONE, Verdict::Signaled, Reason::Signal);
        let ending = check(6, Refusals::PROCESSES, Verdict::ProcessLimit, Reason::Processes);
        assert_eq!((ending.exit_code, ending.signal), (None, Some(6)));
    }

    #[test]
    fn the_signal_of_the_file_size_limit_names_it() {
        let ending = check(XFSZ, Refusals::BYTES, Verdict::DiskLimit, Reason::FileSize);
        assert_eq!(ending.signal, Some(XFSZ));
        // An exit code of the same number is none.
        check(XFSZ << 8, Refusals::NONE, Verdict::NonzeroExit, Reason::Exit);
        let unlimited = ended(XFSZ, 0, None).blamed_on(Refusals::NONE, false, false);
        assert_eq!((unlimited.verdict, unlimited.reason), (Verdict::Signaled, Reason::Signal));
    }

    #[test]
    fn the_kernel_s_own_limit_of_cpu_time_is_no_kill_by_the_program() {
        let spent = ended(9, 0, None).blamed_on(Refusals::NONE, true, true);
        assert_eq!(
            (spent.verdict, spent.reason, spent.signal),
            (Verdict::TimeLimit, Reason::CpuTime, Some(9))
        );
        let early = ended(9, 0, None).blamed_on(Refusals::NONE, true, false);
        assert_eq!(early.verdict, Verdict::Signaled);
        let mut policy = policy::preset("python").unwrap();
        let used = |ms: u64| Usage {
            cpu_user_us: Some(ms * 900),
            cpu_system_us: Some(ms * 100),
            ..Usage::default()
        };
        assert!(!cpu_time_is_spent(&used(1000), &policy));
        policy.rlimits.cpu_time = Some(policy::Duration::from_secs(1));
        assert!(cpu_time_is_spent(&used(800), &policy) && !cpu_time_is_spent(&used(400), &policy));
    }

    #[test]
    fn what_ended_the_run_goes_before_what_was_refused() {
        for refusals in [Refusals::PROCESSES, Refusals::BYTES] {
            let ending = ended(9, 0, Some(Killed::Wall)).blamed_on(refusals, true, true);
            assert_eq!((ending.verdict, ending.reason), (Verdict::TimeLimit, Reason::WallTime));
            let ending = ended(9, 1, None).blamed_on(refusals, true, true);
            assert_eq!((ending.verdict, ending.reason), (Verdict::MemoryLimit, Reason::OomKill));
        }
    }
}
