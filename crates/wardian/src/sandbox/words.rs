//! The words of reports and errors: above all what happened, in a sentence that a student understands.

use super::error;
use super::outcome::{Ending, cpu_time_used};
use crate::plan::Plan;
use crate::policy::{Bytes, Duration};
use crate::report::{EffectiveLimits, Reason, Usage};
use crate::signals;
use wardian_init::{Part, Stage};

/// The report's `message`.
pub(super) fn sentence(ending: &Ending, limits: &EffectiveLimits, usage: &Usage, plan: &Plan) -> String {
    let peak = usage.memory_peak_bytes.map_or(String::new(), |peak| format!("; peak {}", human_bytes(peak)));
    let memory = size(limits.memory_bytes);
    match ending.reason {
        Reason::Exit => match ending.exit_code {
            Some(0) => "The program ended normally.".into(),
            code => format!("The program ended with exit code {}.", code.unwrap_or_default()),
        },
        Reason::Signal => {
            let number = ending.signal.unwrap_or_default();
            format!("The program was ended by {}{}.", signal_name(number), signal_meaning(number))
        }
        Reason::WallTime => format!(
            "The program was still running after {} (`limits.wall`) and was stopped.",
            Duration::from_micros(limits.wall_us)
        ),
        Reason::CpuTime if ending.signal.is_some() => format!(
            "The program was ended by SIGKILL after {} ms of CPU time; one process may use {}, by `rlimits.cpu_time` in the \
             policy file or by the `ulimit -t` that wardian was started under.",
            cpu_time_used(usage) / 1000,
            plan.policy.rlimits.cpu_time.unwrap_or(plan.policy.limits.cpu_time)
        ),
        Reason::CpuTime => format!(
            "The program used {} of CPU time, all it may (`limits.cpu_time`), and was stopped.",
            Duration::from_micros(limits.cpu_us)
        ),
        Reason::OomKill | Reason::MemoryWatch => format!(
            "The program needed more memory than the {memory} it may use (`limits.memory`{peak}) and was stopped."
        ),
        Reason::Output => format!(
            "The program wrote more than the {} of output it may (`limits.output`) and was stopped.",
            size(limits.output_bytes)
        ),
        Reason::FileSize => format!(
            "The program was ended by SIGXFSZ, as one is that writes to a file beyond the {} that one may have \
             (`limits.file_size`).",
            size(limits.file_size_bytes)
        ),
        Reason::Disk if plan.in_place.is_some() => format!(
            "The program filled the {} of disk space (`limits.disk`) or the {} files (`limits.inodes`) it may use, or made \
             directories that cannot be looked into (too deep, or closed to their owner), and was stopped.",
            size(limits.disk_bytes),
            limits.disk_inodes
        ),
        Reason::Disk => format!(
            "The program filled the {} of disk space it may use (`limits.disk`).",
            size(limits.disk_bytes)
        ),
        Reason::DiskBytes => format!(
            "The program filled the {} of disk space it may use (`limits.disk`) and {}.",
            size(limits.disk_bytes),
            failure(ending)
        ),
        Reason::DiskInodes => format!(
            "The program made all the {} files it may have (`limits.inodes`) and {}.",
            limits.disk_inodes,
            failure(ending)
        ),
        Reason::Processes => format!(
            "The program wanted more than the {} processes and threads it may have (`limits.processes`) and {}.",
            limits.processes,
            failure(ending)
        ),
        Reason::Syscall => "The program made a system call that the policy punishes, and was stopped.".into(),
        Reason::NotFound => {
            format!(
                "There is no program `{}` inside the sandbox, or not the loader or interpreter (`#!`) that it names.",
                plan.guest.program.to_string_lossy()
            )
        }
        Reason::NotExecutable => {
            format!("`{}` cannot be executed inside the sandbox.", plan.guest.program.to_string_lossy())
        }
        Reason::Cancelled => match ending.signal {
            Some(number) => format!("The run was cancelled by {}.", signal_name(number)),
            None => "The run was cancelled.".into(),
        },
        Reason::Usage | Reason::Sandbox => "The sandbox failed; this is not the program's doing.".into(),
    }
}

/// How a program ended that a limit had refused something.
fn failure(ending: &Ending) -> String {
    match (ending.exit_code, ending.signal) {
        (Some(code), _) => format!("then failed with exit code {code}"),
        (None, Some(number)) => format!("was then ended by {}", signal_name(number)),
        (None, None) => "was stopped".into(),
    }
}

/// A limit as people write it.
fn size(bytes: u64) -> String {
    let text = Bytes(bytes).to_string();
    if text.ends_with(|c: char| c.is_ascii_digit()) { format!("{text} bytes") } else { text }
}

fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{}K", bytes / 1024),
        _ => format!("{}M", bytes / 1_048_576),
    }
}

/// The signal's name.
pub(super) fn signal_name(number: i32) -> String {
    signals::name(number).map_or_else(|| format!("signal {number}"), str::to_owned)
}

fn signal_meaning(number: i32) -> &'static str {
    match number {
        4 => " (illegal instruction)",
        6 => " (it aborted itself)",
        7 => " (memory that is not there; often a full /dev/shm)",
        8 => " (arithmetic error)",
        9 => ", which it or another of its processes sent",
        11 => " (memory that is not its own; often too deep a recursion in C)",
        13 => " (it wrote to a pipe that nobody reads)",
        31 => " (a system call that is never allowed, or its own doing)",
        _ => "",
    }
}

/// What init was doing in a part of its work.
pub(super) fn part(part: Part) -> &'static str {
    match part {
        Part::Namespaces => error::NAMESPACES,
        Part::Plan => "read the plan inside",
        Part::Guest => "start the program inside",
        Part::Confine => "have wardian-init give up its rights, or watch over the program",
        Part::Slot => "make a sandbox beside the zygote",
        Part::Input => "bring the inputs in, or resize scratch space",
    }
}

/// What the guest was doing in a stage of its start.
pub(super) fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Join => "join its cgroups",
        Stage::Streams => "take its streams and start a session",
        Stage::CgroupNamespace => "enter its cgroup namespace",
        Stage::Scheduling => "set its nice value and CPUs",
        Stage::Limits => error::LIMITS,
        Stage::WorkingDirectory => error::CHDIR,
        Stage::Landlock => "restrict itself with Landlock",
        Stage::Identity => "change its ids and drop its capabilities",
        Stage::NoNewPrivs => "set no_new_privs",
        Stage::OpenProgram => "open the program",
        Stage::EmptyPath => "keep a place in its memory for the one exec that is allowed",
        Stage::Seccomp => "install its seccomp filter",
        Stage::Listener => "hand its seccomp listener over",
        Stage::Exec => "execute the program",
        Stage::Enter => "enter its slot",
    }
}
