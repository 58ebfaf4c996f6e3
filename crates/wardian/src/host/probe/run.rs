//! Runs under the default policy and others, and what it means when there is none.

use super::settings::{MEMFD_NOEXEC, Settings};
use crate::host::Host;
use crate::host::examination::Finding;
use crate::plan::{Plan, PlanError, Program, Request};
use crate::policy::{self, Duration, Level};
use crate::python;
use crate::report::Report;
use crate::sandbox::{self, Connections, Output, Pipes, SandboxError, StdinSource};
use std::ffi::OsString;
use std::path::Path;

/// A probe takes milliseconds; a host on which it takes longer hangs.
const WALL: Duration = Duration::from_secs(20);

/// What came of a run.
pub(super) enum Outcome {
    Ran(Box<Report>),
    NotRun(Failure),
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Failure {
    fn hint(&self) -> Option<String> {
        match self {
            Failure::Plan(error) => error.hint(),
            Failure::Sandbox(error) => error.hint(),
        }
    }
}

/// Runs a program under the default policy.
pub(super) fn program(program: Program, args: Vec<OsString>, host: &Host) -> Outcome {
    under("python", Level::Namespaces, program, args, host)
}

/// Runs a program under a preset.
pub(super) fn under(
    preset: &str,
    level: Level,
    program: Program,
    args: Vec<OsString>,
    host: &Host,
) -> Outcome {
    match try_program(preset, level, program, args, host) {
        Ok(report) => Outcome::Ran(Box::new(report)),
        Err(failure) => Outcome::NotRun(failure),
    }
}

/// Runs a program that does nothing, where there is no Python to do more.
pub(super) fn nothing(host: &Host) -> Outcome {
    program(true_program(), vec!["true".into()], host)
}

/// Runs it at the weaker level; what is in the way there, if anything.
pub(super) fn in_place(host: &Host) -> Option<String> {
    match under("python", Level::Landlock, true_program(), vec!["true".into()], host) {
        Outcome::Ran(report) if report.verdict.is_ok() => None,
        Outcome::Ran(report) => Some(report.message),
        Outcome::NotRun(failure) => Some(failure.to_string()),
    }
}

fn true_program() -> Program {
    let places = ["/bin/true", "/usr/bin/true", "/bin/busybox"];
    let path = places.into_iter().find(|path| Path::new(path).exists()).unwrap_or("/bin/true");
    Program::Exec(path.into())
}

fn try_program(
    preset: &str,
    level: Level,
    program: Program,
    args: Vec<OsString>,
    host: &Host,
) -> Result<Report, Failure> {
    let mut policy = policy::preset(preset).map_err(PlanError::from)?;
    policy.limits.wall = WALL;
    policy.level = level;
    let request = Request {
        policy,
        program,
        args,
        inputs: Vec::new(),
        cwd: None,
        python: python::Request::Default,
        unbuffered: false,
    };
    let keep = || Output { pass_to: None, keep: true };
    let connections = Connections {
        streams: Pipes { stdin: StdinSource::Empty, stdout: keep(), stderr: keep() },
        cancel: None,
        result: None,
        collect: None,
    };
    Ok(sandbox::run(Plan::build(request, host)?, connections)?)
}

/// The step that failed is in the error's text; a setting that explains it gives the fix, and where something
/// `earlier` has failed that may be all there is to it.
pub(super) fn failed(failure: &Failure, settings: &Settings, earlier: bool) -> Finding {
    let by_setting = match failure {
        Failure::Sandbox(SandboxError::SetUp { .. }) => settings.mount_fix(),
        Failure::Sandbox(SandboxError::Supervisor { .. } | SandboxError::Start { .. })
            if settings.says(MEMFD_NOEXEC, "2") =>
        {
            Some(format!("sudo sysctl -w {MEMFD_NOEXEC}=1, and the same in /etc/sysctl.d"))
        }
        _ => None,
    };
    let general = match earlier {
        true => "mend what failed above first",
        false => "the step says what is refused: allow it where this machine or container forbids it",
    };
    // A hint to ask this very command says nothing here.
    let hint = failure.hint().filter(|hint| !hint.contains("`wardian doctor`"));
    let fix = by_setting.or(hint).unwrap_or_else(|| general.into());
    Finding::fail("sandbox", failure.to_string(), fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_sys::Errno;

    #[test]
    fn the_setting_that_explains_a_failure_gives_the_fix() {
        let mount =
            Failure::Sandbox(SandboxError::SetUp { step: "mount the new root".into(), errno: Errno::ACCES });
        let ubuntu = Settings::of(&[(super::super::settings::APPARMOR, "1")]);
        let finding = failed(&mount, &ubuntu, false);
        assert_eq!(finding.detail, "cannot mount the new root: Permission denied (os error 13)");
        assert!(finding.fix.unwrap().contains("packaging/apparmor/wardian"));
        let init = Failure::Sandbox(SandboxError::Supervisor {
            step: "put wardian-init in memory".into(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        });
        assert!(
            failed(&init, &Settings::of(&[(MEMFD_NOEXEC, "2")]), false)
                .fix
                .unwrap()
                .contains("memfd_noexec=1")
        );
        let fix = |earlier| failed(&init, &Settings::of(&[]), earlier).fix.unwrap();
        assert!(fix(true).contains("failed above") && fix(false).contains("the step says"));
    }
}
