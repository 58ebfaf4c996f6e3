//! Asking an interpreter where everything of it lies.

use serde::Deserialize;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const PROBE: &str = include_str!("probe.py");
const TIME_LIMIT: Duration = Duration::from_secs(10);
const LONGEST_ANSWER: u64 = 1 << 20;

/// An interpreter's answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) implementation: String,
    pub(super) version: String,
    pub(super) prefixes: Vec<PathBuf>,
    pub(super) paths: Vec<PathBuf>,
    pub(super) sys_path: Vec<PathBuf>,
    pub(super) libraries: Vec<PathBuf>,
}

/// Where everything of an interpreter lies.
pub(super) fn ask(executable: &Path) -> Result<Answer, String> {
    let answer = run(executable, &["-B", "-c", PROBE], &[], b"")?;
    serde_json::from_slice(&answer).map_err(|_| "does not answer as Python does".to_owned())
}

/// What an interpreter prints when it is run outside any sandbox: in `/`, with an empty environment and a home
/// that does not exist, so that nothing of the caller's is imported.
///
/// Root does not run what somebody else can change: then it is run as that user.
pub(super) fn run(
    executable: &Path,
    args: &[&str],
    environment: &[(&str, &str)],
    input: &[u8],
) -> Result<Vec<u8>, String> {
    let mut command = Command::new(executable);
    command
        .args(args)
        .env_clear()
        .envs(["HOME=/nonexistent", "LC_ALL=C.UTF-8"].iter().filter_map(|pair| pair.split_once('=')))
        .envs(environment.iter().copied())
        .current_dir("/")
        .stdin(stdin(input)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some((uid, gid)) = somebody_else(executable) {
        command.uid(uid).gid(gid);
    }
    let mut child = wardian_sys::spawn::end_with_this_thread(&mut command)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let answered = answer_in_time(&mut child);
    // Dead or alive, it has had its time; a group of its own so that its children go with it.
    if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
    answered
}

/// A memory file, not a pipe: a child that does not read cannot block us.
fn stdin(input: &[u8]) -> Result<Stdio, String> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let file = rustix::fs::memfd_create("question", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| format!("cannot be asked: {error}"))?;
    let mut file = std::fs::File::from(file);
    let written = file.write_all(input).and_then(|()| file.seek(SeekFrom::Start(0)));
    written.map_err(|error| format!("cannot be asked: {error}"))?;
    Ok(file.into())
}

/// Whose interpreter it is, if we are root and it is not root's alone.
fn somebody_else(executable: &Path) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let owners = executed_with(executable).into_iter().filter_map(|path| std::fs::metadata(path).ok());
    owners.map(|metadata| (metadata.uid(), metadata.gid())).find(|(uid, _)| *uid != 0)
}

/// What decides on what is executed when an interpreter starts: its virtual environment, itself, where its modules are
/// (whose owner can put any there), and the files whose lines are executed.
fn executed_with(executable: &Path) -> Vec<PathBuf> {
    let mut places = vec![executable.to_owned()];
    let Some(prefix) = executable.parent().and_then(Path::parent) else { return places };
    places.insert(0, prefix.join("pyvenv.cfg"));
    let is_of_python =
        |path: &PathBuf| path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"python3"));
    for version in entries(&prefix.join("lib")).filter(is_of_python) {
        let packages = version.join("site-packages");
        places.extend(entries(&packages).filter(|path| path.extension().is_some_and(|it| it == "pth")));
        places.extend([version, packages]);
    }
    places
}

/// What is in a directory; nothing if it cannot be read.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn answer_in_time(child: &mut Child) -> Result<Vec<u8>, String> {
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("has no output".into());
    };
    let mut answer = Vec::new();
    let deadline = Instant::now() + TIME_LIMIT;
    let mut chunk = [0u8; 8192];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::event::Timespec::try_from(left).ok();
        let mut set = [rustix::event::PollFd::new(&stdout, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut set, timeout.as_ref()) {
            Ok(0) => return Err(format!("did not answer within {} s", TIME_LIMIT.as_secs())),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        match stdout.read(&mut chunk) {
            Ok(0) if answer.is_empty() => {
                let mut complaint = String::new();
                let _ = (&mut stderr).take(4096).read_to_string(&mut complaint);
                let last = complaint.lines().last().unwrap_or("it says nothing").to_owned();
                return Err(format!("is broken: {last}"));
            }
            Ok(0) => return Ok(answer),
            Ok(n) => answer.extend_from_slice(chunk.get(..n).unwrap_or(&[])),
            Err(error) => return Err(error.to_string()),
        }
        if answer.len() as u64 > LONGEST_ANSWER {
            return Err("does not answer as Python does".into());
        }
    }
}
