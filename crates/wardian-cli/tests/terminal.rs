//! A program at a terminal, through the real binary, which sits at a terminal of the test's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PYTHON: &str = "/usr/bin/python3";
/// Makes its program a session's leader, with a controlling terminal.
const SETSID: &str = "/usr/bin/setsid";
const PATIENCE: Duration = Duration::from_secs(60);
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

fn skip(name: &str) -> bool {
    let missing = [PYTHON, SETSID].into_iter().find(|path| !Path::new(path).exists());
    if let Some(missing) = missing {
        let _ = writeln!(std::io::stderr(), "SKIP {name}: there is no {missing}");
    }
    missing.is_some()
}

fn binary() -> PathBuf {
    std::env::var_os("WARDIAN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_wardian").into(), PathBuf::from)
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Somebody who sits at a terminal, where `wardian run` runs.
struct Person {
    keyboard: OwnedFd,
    terminal: OwnedFd,
    wardian: Child,
    /// What the screen shows, from where was last looked.
    screen: String,
    modes: String,
}

impl Person {
    fn runs(arguments: &[&str]) -> Person {
        Person::runs_with(arguments, |_| {})
    }

    fn runs_with(arguments: &[&str], change: impl FnOnce(&mut Command)) -> Person {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).unwrap();
        unlockpt(&keyboard).unwrap();
        let terminal = ioctl_tiocgptpeer(&keyboard, flags).unwrap();
        tcsetwinsize(&keyboard, size(33, 101)).unwrap();
        let stdio = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = Command::new(SETSID);
        command.arg("--ctty").arg(binary()).arg("run").args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin").stdin(stdio()).stdout(stdio()).stderr(stdio());
        change(&mut command);
        let modes = modes(&terminal);
        Person { wardian: command.spawn().unwrap(), keyboard, terminal, screen: String::new(), modes }
    }

    fn code(code: &str) -> Person {
        Person::runs(&["-c", code])
    }

    #[track_caller]
    fn sees(&mut self, text: &str) {
        let started = Instant::now();
        loop {
            if let Some(at) = self.screen.find(text) {
                self.screen.drain(..at + text.len());
                return;
            }
            assert!(started.elapsed() < PATIENCE, "no {text:?} in {:?}", self.screen);
            self.look(Duration::from_secs(1));
        }
    }

    fn look(&mut self, patience: Duration) -> bool {
        let mut set = [PollFd::new(&self.keyboard, PollFlags::IN)];
        if poll(&mut set, Some(&Timespec::try_from(patience).unwrap())).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let n = rustix::io::read(&self.keyboard, &mut bytes).unwrap();
        self.screen.push_str(&String::from_utf8_lossy(&bytes[..n]));
        true
    }

    fn types(&self, keys: &str) {
        assert_eq!(rustix::io::write(&self.keyboard, keys.as_bytes()).unwrap(), keys.len());
    }

    fn signals(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.wardian), signal).unwrap();
    }

    fn echo_is_on(&self) -> bool {
        tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// What the screen shows to the end; the exit code is to be `code`, and the terminal as it was.
    #[track_caller]
    fn leaves(mut self, code: i32) -> String {
        let status = self.ends();
        while self.look(Duration::ZERO) {}
        assert_eq!(status, Some(code), "{:?}", self.screen);
        assert_eq!(modes(&self.terminal), self.modes);
        self.screen
    }

    #[track_caller]
    fn ends(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.wardian.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > PATIENCE {
                self.wardian.kill().unwrap();
                self.wardian.wait().unwrap();
                panic!("it has not ended: {:?}", self.screen);
            }
            self.look(Duration::from_millis(10));
        }
    }
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

#[test]
fn a_conversation() {
    if skip("a_conversation") {
        return;
    }
    let mut person = Person::code(
        "import os, sys
print([os.isatty(fd) for fd in (0, 1, 2)], os.get_terminal_size(), sep=';')
print('hello', input('name? '))
print('bye', file=sys.stderr)",
    );
    person.sees("[True, True, True];os.terminal_size(columns=101, lines=33)\r\n");
    person.sees("name? ");
    assert!(!person.echo_is_on(), "the caller's terminal is not raw");
    person.types("Anx\x7fn\r");
    person.sees("Anx\u{8} \u{8}n\r\nhello Ann\r\nbye\r\n");
    assert_eq!(person.leaves(0), "");
}

#[test]
fn it_is_another_terminal_than_the_callers() {
    if skip("it_is_another_terminal_than_the_callers") {
        return;
    }
    let mut person = Person::code(
        "import os
print('device', os.fstat(0).st_rdev == os.fstat(1).st_rdev, os.fstat(0).st_rdev, end=';')
print('leads', os.getsid(0) == os.getpgrp() == os.tcgetpgrp(0))",
    );
    person.sees("device True ");
    let device = rustix::fs::fstat(&person.terminal).unwrap().st_rdev;
    let screen = person.leaves(0);
    let (theirs, rest) = screen.split_once(';').unwrap();
    assert_eq!(rest, "leads True\r\n");
    assert_ne!(theirs.parse::<u64>().unwrap(), device);
}

#[test]
fn control_c_interrupts_the_program_and_not_wardian() {
    if skip("control_c_interrupts_the_program_and_not_wardian") {
        return;
    }
    let mut person = Person::code("import time\nprint('ready')\ntime.sleep(50)");
    person.sees("ready\r\n");
    person.types(CTRL_C);
    person.sees("^CTraceback");
    person.sees("KeyboardInterrupt");
    person.leaves(130);

    let mut person = Person::code(
        "import time
try:
    print('ready')
    time.sleep(50)
except KeyboardInterrupt:
    print('caught')",
    );
    person.sees("ready\r\n");
    person.types(CTRL_C);
    person.sees("caught\r\n");
    person.leaves(0);
}

#[test]
fn control_d_ends_the_input() {
    if skip("control_d_ends_the_input") {
        return;
    }
    let mut person = Person::code("import sys\nprint('ready')\nprint(len(sys.stdin.read()), 'bytes')");
    person.sees("ready\r\n");
    person.types("abc\r");
    person.sees("abc\r\n");
    person.types(CTRL_D);
    person.sees("4 bytes\r\n");
    person.leaves(0);
}

#[test]
fn the_window_size_follows() {
    if skip("the_window_size_follows") {
        return;
    }
    let mut person = Person::code(
        "import os, signal, time
signal.signal(signal.SIGWINCH, lambda *_: print(*os.get_terminal_size()))
print('ready')
while os.get_terminal_size().lines != 50:
    time.sleep(0.01)",
    );
    person.sees("ready\r\n");
    tcsetwinsize(&person.keyboard, size(49, 120)).unwrap();
    person.sees("120 49\r\n");
    tcsetwinsize(&person.keyboard, size(50, 121)).unwrap();
    person.leaves(0);
}

#[test]
fn a_signal_from_outside_leaves_the_terminal_as_it_was() {
    if skip("a_signal_from_outside_leaves_the_terminal_as_it_was") {
        return;
    }
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut person = Person::code(
            "import sys, time, tty
tty.setraw(0)
print('ready')
time.sleep(50)",
        );
        person.sees("ready\n");
        assert!(!person.echo_is_on());
        person.signals(signal);
        person.leaves(code);
    }
}

#[test]
fn a_program_that_is_killed_or_never_starts_leaves_the_terminal_as_it_was() {
    if skip("a_program_that_is_killed_or_never_starts_leaves_the_terminal_as_it_was") {
        return;
    }
    let limited = Person::runs(&["--wall", "1s", "-c", "import time; time.sleep(50)"]);
    limited.leaves(124);
    let missing = Person::runs(&["--exec", "/nonexistent/program"]);
    missing.leaves(127);
}

/// Nobody is left to type: the program's terminal hangs up too.
#[test]
fn a_terminal_that_goes_away_ends_the_run() {
    if skip("a_terminal_that_goes_away_ends_the_run") {
        return;
    }
    let mut person = Person::code("import time\nprint('ready')\ntime.sleep(50)");
    person.sees("ready\r\n");
    let Person { keyboard, terminal, mut wardian, .. } = person;
    drop((keyboard, terminal));
    assert_eq!(wardian.wait().unwrap().code(), Some(129));
}

/// Requests that work are the control of those that must not.
#[test]
fn nobody_types_for_the_caller() {
    if skip("nobody_types_for_the_caller") {
        return;
    }
    let mut person = Person::code(
        "import fcntl, termios
def ask(name, number, argument):
    try:
        fcntl.ioctl(0, number, argument)
        print(name, 'done')
    except OSError as error:
        print(name, error.errno)
ask('TIOCGWINSZ', termios.TIOCGWINSZ, bytes(8))
ask('TIOCSTI', termios.TIOCSTI, b'x')
ask('TIOCLINUX', 0x541c, b'x')
ask('TIOCSETD', 0x5423, bytes(4))
termios.tcsetattr(0, termios.TCSANOW, termios.tcgetattr(0))",
    );
    person.sees("TIOCGWINSZ done\r\nTIOCSTI 1\r\nTIOCLINUX 1\r\nTIOCSETD 1\r\n");
    assert_eq!(person.leaves(0), "");
}

#[test]
fn a_shell_and_an_interpreter() {
    if skip("a_shell_and_an_interpreter") {
        return;
    }
    let mut person = Person::runs(&["--exec", "/bin/sh"]);
    person.types("echo $((40 + 2))\r");
    person.sees("42\r\n");
    person.types("while echo turn; do read line; done\r");
    person.sees("turn\r\n");
    person.types(CTRL_C);
    // What is typed before the shell has seen the interrupt goes with it.
    person.sees("$ ");
    person.types("exit 3\r");
    person.leaves(3);

    let mut person = Person::runs(&["--exec", PYTHON]);
    person.sees(">>> ");
    person.types("6 * 7\r");
    person.sees("42\r\n");
    person.sees(">>> ");
    person.types(CTRL_D);
    person.leaves(0);
}

#[test]
fn the_report_says_that_both_streams_were_one() {
    if skip("the_report_says_that_both_streams_were_one") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report");
    let code = "import sys\ninput()\nsys.stderr.write('E' * 3000)";
    let person = Person::runs(&["--report", file.to_str().unwrap(), "--output", "1k", "-c", code]);
    person.types("typed\r");
    person.leaves(0);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(report["terminal"], true);
    assert_eq!(report["stdout"]["bytes"], 3000 + "typed\r\n".len());
    assert_eq!(report["stdout"]["truncated"], true);
    assert!(report["stdout"]["text"].as_str().unwrap().starts_with("typed\r\nEEE"), "{report}");
    assert_eq!((&report["stderr"]["bytes"], &report["stderr"]["text"]), (&0.into(), &"".into()));
}

/// Half a terminal is none: a file that is written would get carriage returns, and the echo.
#[test]
fn what_is_not_a_terminal_at_both_ends_stays_a_pipe() {
    if skip("what_is_not_a_terminal_at_both_ends_stays_a_pipe") {
        return;
    }
    let code = "import os; print([os.isatty(fd) for fd in (0, 1, 2)])";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stdin");
    std::fs::write(&file, "").unwrap();
    let screen = Person::runs(&["--stdin", file.to_str().unwrap(), "-c", code]).leaves(0);
    assert_eq!(screen, "[False, False, False]\r\n");
    let screen = Person::runs(&["--json", "-c", code]).leaves(0);
    assert!(screen.contains(r"[False, False, False]\n"), "{screen}");
    assert!(!screen.contains("\"terminal\""), "{screen}");
    // Somebody watches: Python writes at once.
    let order = "import os; print(1); os.write(1, b'2')";
    let screen = Person::runs(&["--stdin", file.to_str().unwrap(), "-c", order]).leaves(0);
    assert_eq!(screen, "1\r\n2");
    let mut person = Person::runs_with(&["-c", code], |command| {
        command.stdout(Stdio::piped());
    });
    let mut said = String::new();
    std::io::Read::read_to_string(&mut person.wardian.stdout.take().unwrap(), &mut said).unwrap();
    person.leaves(0);
    assert_eq!(said, "[False, False, False]\n");
}
