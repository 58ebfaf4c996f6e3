//! The trimmed start shows nothing of itself: the same programs, started normally and trimmed by every interpreter
//! of the machine, outside any sandbox, print the same and end the same way.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;
use wardian::python::{self, Hook, Interpreter, Request};

/// A program that hangs is killed, and so ends differently.
const LONGEST: Duration = Duration::from_secs(60);
/// How often threads race.
const RACES: usize = 20;

/// How a program is given to the interpreter.
enum How<'a> {
    Script(&'a str),
    Code(&'a str),
    Module(&'a str),
    Stdin(&'a str),
}

fn cases() -> Vec<(How<'static>, &'static [&'static str])> {
    use How::{Code, Module, Script, Stdin};
    let races = (0..RACES).map(|_| (Script("threads.py"), &[][..]));
    let mut cases: Vec<(How<'static>, &'static [&'static str])> = vec![
        (Script("state.py"), &["one", "two"]),
        (Script("frames.py"), &[]),
        (Script("uncaught.py"), &[]),
        (Script("syntax_error.py"), &[]),
        (Script("exits.py"), &["3"]),
        (Script("exits.py"), &["text"]),
        (Script("exits.py"), &["none"]),
        (Script("exits.py"), &["builtin"]),
        (Script("exits.py"), &["interrupt"]),
        (Script("exits.py"), &["kill"]),
        (Script("shutdown.py"), &[]),
        (Script("recursion.py"), &[]),
        (Script("spawn.py"), &[]),
        (Script("children.py"), &[]),
        (Script("imports.py"), &[]),
        (Script("lazy.py"), &[]),
        (Script("circle.py"), &[]),
        (Script("encodings_.py"), &[]),
        (Script("missing.py"), &[]),
        (Code("print('hello')"), &[]),
        (Code("import os; print(os.getcwd() != '', os.sep)"), &[]),
        (Code("1/0"), &["x"]),
        (Code("import sys; print(sys.argv, sys.path[0] == '', __name__, globals().keys())"), &["a", "-b"]),
        (Code("import sys; print(type(sys.modules['os']).__name__, sys.modules['os'].sep)"), &[]),
        (Code("print(__import__('sys').modules['site'].ENABLE_USER_SITE, exit, quit, help)"), &[]),
        (Code("license.__class__; credits()"), &[]),
        (Module("module_main"), &["x"]),
        (Module("package"), &[]),
        (Module("no_such_module"), &[]),
        (Module("platform"), &[]),
        (Stdin("print('from stdin')\nimport sys\nprint(sys.argv, __name__)\n"), &[]),
        (Stdin("raise ValueError('x')\n"), &[]),
        (Stdin("def f(:\n"), &[]),
    ];
    cases.extend(races);
    cases
}

#[test]
fn every_interpreter_starts_the_same_either_way() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let interpreters = interpreters(directory.path());
    let queue = Mutex::new(interpreters.iter().enumerate());
    let trimmed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some((index, interpreter)) = next(&queue) {
                    let hooks = directory.path().join(format!("hook-{index}"));
                    if starts_the_same_either_way(interpreter, &hooks) {
                        trimmed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(trimmed.into_inner() > 0, "no interpreter of this machine can be started trimmed");
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    queue.lock().expect("nobody panics while taking").next()
}

/// False for one that is only ever started normally.
fn starts_the_same_either_way(interpreter: &Interpreter, hooks: &Path) -> bool {
    let Some(hook) = interpreter.start.clone().into_hook(std::iter::empty()) else {
        let _ =
            writeln!(std::io::stderr(), "SKIP {}: {:?}", interpreter.executable.display(), interpreter.start);
        return false;
    };
    fs::create_dir(hooks).expect("a directory for the hook");
    fs::write(hooks.join(Hook::NAME), hook.into_content()).expect("the hook");
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    for (how, args) in cases() {
        let run = |hooks: Option<&Path>| run(interpreter, &programs, &how, args, hooks);
        let (normal, with_hook) = (run(None), run(Some(hooks)));
        let name = match how {
            How::Script(text) | How::Code(text) | How::Module(text) | How::Stdin(text) => text,
        };
        let who = format!("{} {name} {args:?}", interpreter.executable.display());
        assert_eq!(shown(&normal.stdout), shown(&with_hook.stdout), "stdout of {who}");
        assert_eq!(shown(&normal.stderr), shown(&with_hook.stderr), "stderr of {who}");
        assert_eq!(normal.status.into_raw(), with_hook.status.into_raw(), "end of {who}");
    }
    true
}

/// Those in PATH, those of pyenv, and virtual environments of them.
fn interpreters(scratch: &Path) -> Vec<Interpreter> {
    let mut paths: Vec<PathBuf> = vec!["/usr/bin/python3".into(), "/usr/local/bin/python3".into()];
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    for store in [home.join(".pyenv/versions"), home.join(".local/share/uv/python")] {
        let installed = fs::read_dir(store).into_iter().flatten().flatten();
        paths.extend(installed.map(|entry| entry.path().join("bin/python3")));
    }
    paths.retain(|path| path.exists());
    let mut found = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let Ok(interpreter) = python::find(&Request::Path(path.clone())) else { continue };
        let venv = scratch.join(format!("venv-{index}"));
        let made = Command::new(path).args(["-m", "venv", "--without-pip"]).arg(&venv).status();
        if made.is_ok_and(|status| status.success()) {
            found.extend(python::find(&Request::Venv(venv)));
        } else {
            let _ = writeln!(
                std::io::stderr(),
                "SKIP the virtual environment of {}: cannot be made",
                path.display()
            );
        }
        found.push(interpreter);
    }
    let versions: BTreeSet<_> =
        found.iter().map(Interpreter::version_numbers).map(|(_, minor, _)| minor).collect();
    for minor in (6..=14).filter(|minor| !versions.contains(minor)) {
        let _ = writeln!(std::io::stderr(), "SKIP Python 3.{minor}: not on this machine");
    }
    found
}

fn run(interpreter: &Interpreter, programs: &Path, how: &How, args: &[&str], hooks: Option<&Path>) -> Output {
    let mut command = Command::new(&interpreter.executable);
    command.env_clear().current_dir(programs);
    command.envs([("HOME", "/nonexistent"), ("LC_ALL", "C.UTF-8"), ("PYTHONDONTWRITEBYTECODE", "1")]);
    command.env("PYTHONHASHSEED", "0");
    if let Some(hooks) = hooks {
        command.env("PYTHONPATH", hooks);
    }
    match how {
        How::Script(name) => command.arg(programs.join(name)),
        How::Code(code) => command.args(["-c", code]),
        How::Module(name) => command.args(["-m", name]),
        How::Stdin(_) => command.arg("-"),
    };
    let mut child = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("an interpreter that was found can be started");
    let mut stdin = child.stdin.take().expect("a pipe was asked for");
    if let How::Stdin(program) = how {
        stdin.write_all(program.as_bytes()).expect("the pipe holds so little at once");
    }
    drop(stdin);
    let pid = Pid::from_child(&child);
    let (ended, has_ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if has_ended.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout) {
            kill_process(pid, Signal::KILL).expect("it is still there: nobody has waited for it");
        }
    });
    let output = child.wait_with_output().expect("it ends");
    drop(ended);
    watch.join().expect("the watch ends");
    output
}

/// Text without addresses, which differ from run to run.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut pieces = text.split("0x");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str("0x");
        shown.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    shown
}
