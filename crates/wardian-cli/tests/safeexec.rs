//! `wardian safeexec`: the report's lines and the exit status, against the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs in a directory of its own, as safeexec's callers do.
fn safeexec(directory: &Path, options: &[&str], command: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wardian"))
        .arg("safeexec")
        .args(options)
        .arg("--exec")
        .args(command)
        .current_dir(directory)
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

const PYTHON: &str = "/usr/bin/python3";
/// More than the 32 MiB of the original's default.
const MEMORY: [&str; 2] = ["--mem", "250000"];

/// Runs Python code; the report's first line and the exit status.
fn verdict(options: &[&str], code: &str) -> (String, i32) {
    let directory = directory();
    let output = safeexec(directory.path(), &[&MEMORY, options].concat(), &[PYTHON, "-c", code]);
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = report.lines().find(|line| !line.starts_with("wardian: ")).unwrap_or_default();
    (first.to_owned(), output.status.code().unwrap())
}

#[test]
fn a_good_run_is_ok_with_its_figures() {
    let directory = directory();
    std::fs::write(directory.path().join("hello.py"), "import os\nprint('hello', os.getuid())").unwrap();
    let output = safeexec(directory.path(), &[&MEMORY[..], &["--uid", "99"]].concat(), &[PYTHON, "hello.py"]);
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"hello 99\n"[..]), "{report}");
    let lines: Vec<_> = report.lines().collect();
    assert_eq!((lines[0], lines[1]), ("OK", "elapsed time: 0 seconds"), "{report}");
    assert!(lines[2].starts_with("memory usage: ") && lines[2].ends_with(" kbytes"), "{report}");
    assert!(lines[3].starts_with("cpu usage: 0.") && lines[3].ends_with(" seconds"), "{report}");
    assert_eq!(lines.len(), 4, "{report}");
}

#[test]
fn every_ending_has_its_line_and_is_no_success() {
    for (options, code, line) in [
        (&[][..], "raise SystemExit(7)", "Command exited with non-zero status (7)"),
        (&[], "import os; os.kill(os.getpid(), 11)", "Command terminated by signal (11: SIGSEGV)"),
        (&[], "import os; os.kill(os.getpid(), 9)", "Command terminated by signal (9: SIGKILL)"),
        (&["--cpu", "1", "--clock", "20"], "while True: pass", "Time Limit Exceeded"),
        (&["--clock", "1"], "import time; time.sleep(60)", "Time Limit Exceeded"),
        (&[], "x = bytearray(600 << 20)", "Memory Limit Exceeded"),
        (
            &[],
            "import os\ntry: os.fork()\nexcept BlockingIOError: raise SystemExit(4)",
            "Command exited with non-zero status (4)",
        ),
    ] {
        assert_eq!(verdict(options, code), (line.to_owned(), 1), "{code}");
    }
}

#[test]
fn processes_and_environment_are_as_said() {
    assert_eq!(verdict(&["--nproc", "1"], "import os; os.fork() and os.wait()"), ("OK".into(), 0));
    let code = "import os; assert os.environ['A'] == 'b' and 'HOME' not in os.environ";
    assert_eq!(verdict(&["--env_vars", "A=b"], code), ("OK".into(), 0));
}

#[test]
fn a_file_beyond_its_size_is_output() {
    let directory = directory();
    let script = "while :; do echo 0123456789012345678901234567890123456789; done > /tmp/file";
    let output = safeexec(directory.path(), &["--fsize", "1"], &["/bin/sh", "-c", script]);
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((report.lines().next(), output.status.code()), (Some("Output Limit Exceeded"), Some(1)));
}

#[test]
fn the_report_goes_where_it_is_sent() {
    let directory = directory();
    let path = directory.path().join("report");
    let output = safeexec(directory.path(), &["--report_file", "report"], &["/bin/sh", "-c", "echo x >&2"]);
    assert_eq!(output.stderr, b"x\n");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("OK\n"));
    assert_eq!(safeexec(directory.path(), &["--silent"], &["/bin/sh", "-c", ":"]).stderr, b"");
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            "exec \"$0\" safeexec --report_fd 9 --exec /bin/sh -c : 9>report",
            env!("CARGO_BIN_EXE_wardian"),
        ])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("OK\n"));
    let output = safeexec(directory.path(), &["--report_fd", "77"], &["/bin/sh", "-c", ":"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_wrong_is_said_and_is_no_success() {
    let directory = directory();
    for (options, command, reason) in [
        (&["--cpu", "0"][..], &["/bin/sh"][..], "`--cpu`"),
        (&["--nonsense"], &["/bin/sh"], "`--nonsense`"),
        (&["--nfile", "0"], &["/bin/sh"], "`--nfile`: `0` is not a number from 16 to 1024"),
        (&["--mem", "1000"], &["/bin/sh"], "`--mem`: `1000` is not a number from 1024"),
        (
            &[],
            &["./none"],
            "none`: No such file or directory (os error 2)\nCommand exited with non-zero status (127)",
        ),
        (&[], &["/"], "is a directory\nCommand exited with non-zero status (126)"),
        (&[], &[], "no program"),
        (&["--exec_dir", "/nonexistent"], &["/bin/sh"], "working directory"),
    ] {
        let output = safeexec(directory.path(), options, command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{options:?} {command:?}: {said}");
    }
}

#[test]
fn a_chroot_directory_is_the_root() {
    let root = directory();
    for path in ["bin", "lib", "lib64", "work"] {
        std::fs::create_dir(root.path().join(path)).unwrap();
    }
    std::fs::copy("/bin/sh", root.path().join("bin/sh")).unwrap();
    let libraries = Command::new("ldd").arg("/bin/sh").output().unwrap();
    let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = root.path().join(&library[1..]);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(library, target).unwrap();
    }
    let options = ["--chroot_dir", root.path().to_str().unwrap(), "--exec_dir", "/work"];
    let output = safeexec(Path::new("/"), &options, &["/bin/sh", "-c", "pwd; echo /*"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        seen.starts_with("/work\n/bin ") && !seen.contains("/usr") && seen.contains("/work"),
        "{seen}{said}"
    );
    assert_eq!(output.status.code(), Some(0), "{said}");
}
