//! The self-probe: a program under the default policy tries what it must not be able to do.

use super::run::{self, Outcome};
use crate::host::Host;
use crate::host::examination::Finding;
use crate::plan::Program;
use crate::report::{EnforcementLevel, Report, Verdict};
use rustix::net::{AddressFamily, SocketType, socket};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::iter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const ATTEMPTS: &str = include_str!("attempts.py");

/// What to do where filters cannot have a listener.
pub(super) const NESTED: &str = "run wardian outside whatever supervises it by seccomp notification (a container \
                                 runtime, another sandbox): the kernel allows a process one listener";

/// What is tried, in words, and the errors that mean it was refused.
const FORBIDDEN: [(&str, &str, &[&str]); 5] = [
    ("file", "a file outside", &["ENOENT", "EACCES"]),
    ("socket", "a socket", &["EPERM", "EACCES"]),
    ("mount", "a mount", &["EPERM", "EACCES"]),
    ("ptrace", "ptrace", &["EPERM", "EACCES"]),
    ("namespace", "a nested user namespace", &["EPERM", "EACCES"]),
];

/// Lets a Python program try; the file it tries to read is one that everybody may.
pub(super) fn attempts(host: &Host) -> Outcome {
    let bait = Bait::lay();
    let path = bait.as_ref().map_or_else(|| "/nowhere".into(), |bait| bait.0.clone().into_os_string());
    let names = FORBIDDEN.iter().map(|(name, ..)| OsString::from(name));
    run::program(Program::Code(ATTEMPTS.into()), iter::once(path).chain(names).collect(), host)
}

/// A file that can be read outside: the positive control of the attempt to read it inside.
struct Bait(PathBuf);

impl Bait {
    fn lay() -> Option<Bait> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wardian-doctor-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).ok()?;
        let bait = Bait(path);
        file.write_all(b"outside").ok()?;
        (fs::read(&bait.0).ok()? == b"outside").then_some(bait)
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = fs::remove_file(&self.0);
    }
}

/// What became of the attempts; nothing where the program was not Python, and none were made.
pub(super) fn finding(report: &Report) -> Option<Finding> {
    report.python.as_ref()?;
    if report.verdict != Verdict::Ok {
        let detail = format!(
            "the probe did not run to its end: {} {}",
            report.message,
            last_line(&report.stderr.text)
        );
        let fix = "the interpreter does not run under the default policy: try `wardian run -c 'print(1)'`, \
                   and another with `--python`";
        return Some(Finding::fail("containment", detail.trim_end().to_owned(), fix));
    }
    // Outside it must work, or its refusal says nothing. The others' controls are the sandbox's own mounts and
    // user namespace.
    let inet = socket(AddressFamily::INET, SocketType::STREAM, None).is_ok();
    Some(judge(&report.stdout.text, inet))
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

fn judge(answers: &str, inet: bool) -> Finding {
    let answers: BTreeMap<&str, &str> = answers.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut refused = Vec::new();
    let mut unproven = Vec::new();
    let mut open = Vec::new();
    for (name, words, refusals) in FORBIDDEN {
        match answers.get(name) {
            Some(answer) if refusals.contains(answer) && (name != "socket" || inet) => refused.push(words),
            Some(&"done") => open.push(words),
            _ => unproven.push(words),
        }
    }
    if !open.is_empty() {
        let detail = format!("NOT refused: {}", open.join(", "));
        let fix = "run nothing untrusted here, and report this with the output of `wardian doctor --json`";
        return Finding::fail("containment", detail, fix);
    }
    let detail = format!("refused: {}", refused.join(", "));
    if unproven.is_empty() {
        return Finding::ok("containment", detail);
    }
    let detail = format!("{detail}; could not be tried: {}", unproven.join(", "));
    Finding::warn(
        "containment",
        detail,
        "an interpreter with ctypes, a writable temp directory and a network outside",
    )
}

/// Whether the sandbox had a `/proc` of its own.
pub(super) fn proc(report: &Report) -> Finding {
    const UNMASK: &str = "start the container with an unmasked /proc (Docker: --security-opt systempaths=unconfined; \
                          Kubernetes: procMount: Unmasked)";
    match report.enforced_by.get("proc") {
        Some(proc) if proc.level == EnforcementLevel::Enforced => {
            Finding::ok("proc", "sandboxes get their own")
        }
        Some(proc) => {
            let why = proc.note.clone().unwrap_or_default();
            Finding::warn("proc", format!("sandboxes have none: {why}"), UNMASK)
        }
        None => Finding::warn("proc", "sandboxes have none", UNMASK),
    }
}

/// Whether what was refused is in the report.
pub(super) fn denials(report: &Report, host: &Host) -> Finding {
    if let Some(why) = &report.denials_unavailable {
        return Finding::warn("denials", format!("refused calls are not recorded: {why}"), NESTED);
    }
    if !host.notify {
        let fix = "take `notify:off` out of WARDIAN_TEST_CAP";
        return Finding::warn("denials", "refused calls are not recorded: capped", fix);
    }
    if report.python.is_none() {
        return Finding::ok("denials", "the filter has a listener");
    }
    let seen: Vec<&str> = report.denials.iter().map(|denial| denial.syscall.as_str()).collect();
    match seen.is_empty() {
        false => Finding::ok("denials", format!("refused calls are recorded: {}", seen.join(", "))),
        true => Finding::warn("denials", "refused calls are not recorded", NESTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;

    const ALL: &str = "file ENOENT\nsocket EPERM\nmount EPERM\nptrace EPERM\nnamespace EPERM\n";

    #[test]
    fn everything_refused_is_well() {
        let finding = judge(ALL, true);
        assert_eq!(finding.status, Status::Ok, "{}", finding.detail);
    }

    #[test]
    fn one_thing_done_fails() {
        for (name, words, refusals) in FORBIDDEN {
            let line = |answer: &str| format!("{name} {answer}\n");
            let answers = ALL.replace(&line(refusals[0]), &line("done"));
            let finding = judge(&answers, true);
            assert_eq!(finding.status, Status::Fail);
            assert_eq!(finding.detail, format!("NOT refused: {words}"));
        }
    }

    #[test]
    fn a_refusal_without_its_control_proves_nothing() {
        assert_eq!(judge(ALL, false).status, Status::Warn);
        assert!(judge(ALL, false).detail.ends_with("could not be tried: a socket"));
        assert_eq!(judge("", true).status, Status::Warn);
        assert_eq!(judge(&ALL.replace("mount EPERM", "mount EINVAL"), true).status, Status::Warn);
    }

    #[test]
    fn the_bait_is_readable_and_goes() {
        let bait = Bait::lay().unwrap();
        let path = bait.0.clone();
        assert_eq!(fs::read(&path).unwrap(), b"outside");
        drop(bait);
        assert!(!path.exists());
    }

    #[test]
    fn attempts_succeed_where_nothing_refuses_them() {
        let python = crate::python::find(&crate::python::Request::Default).unwrap();
        let bait = Bait::lay().unwrap();
        // Not the others: as root they would be done to this machine.
        let mut command = std::process::Command::new(python.executable);
        let output = command.args(["-c", ATTEMPTS]).arg(&bait.0).args(["file", "socket"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "file done\nsocket done\n");
    }
}
