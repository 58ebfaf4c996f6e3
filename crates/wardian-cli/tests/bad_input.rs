//! What bad input gets: exit code 125, a message that names the option and the fix, a report, and nothing run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn binary() -> PathBuf {
    std::env::var_os("WARDIAN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_wardian").into(), PathBuf::from)
}

/// A directory with everything that can be wrong.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::set_permissions(place.path(""), PermissionsExt::from_mode(0o755)).unwrap();
        for (name, content) in [
            ("ok.py", "print('it ran')"),
            ("unreadable.py", "print('it ran')"),
            ("unknown.toml", "[limits]\nwal = 5\n"),
            ("zero.toml", "[limits]\nwall = 0\n"),
            ("nul.toml", "[environment.set]\nA = \"x\\u0000y\"\n"),
            ("notmp.toml", "extends = \"codejail\"\n[files]\ntmp = false\n"),
            ("dotdot.toml", "[[files.mounts]]\ntype = \"tmpfs\"\ndst = \"/a/../b\"\n"),
            ("nameless.toml", "name = \" \"\n"),
            ("half.toml", "[limits]\nmemory = 1.5\n"),
            (
                "twice.toml",
                "[[files.mounts]]\ntype = \"tmpfs\"\ndst = \"/a\"\n[[files.mounts]]\ntype = \"tmpfs\"\ndst = \"/a\"\n",
            ),
            ("rw.toml", "[[files.mounts]]\nsrc = \"/usr\"\ndst = \"/u\"\nrw = true\n"),
            ("empty.toml", "[files]\nroot = \"empty\"\nscratch = \"exec\"\n"),
            ("script", "#!/bin/sh\nexit 3\n"),
        ] {
            std::fs::write(place.path(name), content).unwrap();
        }
        std::fs::File::create(place.path("huge.py")).unwrap().set_len(17 << 20).unwrap();
        std::fs::set_permissions(place.path("script"), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(place.path("unreadable.py"), PermissionsExt::from_mode(0o000)).unwrap();
        std::fs::create_dir(place.path("directory")).unwrap();
        std::fs::create_dir(place.path("closed")).unwrap();
        std::fs::set_permissions(place.path("closed"), PermissionsExt::from_mode(0o555)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        self.run(&[&["--report", "report.json"], args].concat())
    }

    fn run(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("run").args(args).current_dir(self.path(""));
        command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    /// Runs, and expects a refusal with all of `words` in the message.
    #[track_caller]
    fn refused(&self, command: Command, words: &[&str]) {
        self.ends(125, "sandbox_error", command, words);
    }

    #[track_caller]
    fn ends(&self, code: i32, verdict: &str, mut command: Command, words: &[&str]) {
        let output: Output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = format!("{:?}\n{stderr}", command.get_args());
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(output.stdout.is_empty(), "it ran: {said}");
        assert!(stderr.starts_with("wardian: error: "), "{said}");
        assert!(!stderr.contains("panicked"), "{said}");
        for word in words {
            assert!(stderr.contains(word), "no `{word}` in: {said}");
        }
        let report = std::fs::read_to_string(self.path("report.json")).expect(&said);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["verdict"], verdict, "{said}");
        let message = report["message"].as_str().unwrap();
        let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_said = on_one_line(&stderr).contains(&on_one_line(message));
        assert!(!message.is_empty() && is_said, "{message}\n{said}");
        std::fs::remove_file(self.path("report.json")).unwrap();
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        for entry in std::fs::read_dir(self.path("")).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.as_encoded_bytes().starts_with(b"."), "left behind: {}", name.display());
        }
    }
}

#[test]
fn the_same_directory_runs_what_is_right() {
    if !Path::new("/usr/bin/python3").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP the_same_directory_runs_what_is_right: there is no /usr/bin/python3"
        );
        return;
    }
    let place = Place::new();
    let output = place.command(&["ok.py"]).output().unwrap();
    assert_eq!(output.stdout, b"it ran\n", "{}", String::from_utf8_lossy(&output.stderr));
    place.nothing_is_left();
}

#[test]
fn a_report_tells_wrong_options_from_what_the_host_has_not() {
    let place = Place::new();
    for (reason, args) in [
        ("usage", &["--wall", "soon", "ok.py"][..]),
        ("usage", &["--no-such-option"]),
        ("usage", &["--policy", "jugde", "ok.py"]),
        ("usage", &["--policy", "unknown.toml", "ok.py"]),
        ("usage", &["--memory", "64M", "--disk", "1G", "ok.py"]),
        ("usage", &["--file", "ok.py:a/../b", "ok.py"]),
        ("usage", &["--file", "unknown.toml:ok.py", "ok.py"]),
        ("usage", &["--collect", "../x", "ok.py"]),
        ("usage", &["--python", "python3", "ok.py"]),
        ("sandbox", &["missing.py"]),
        ("sandbox", &["--policy", "missing.toml", "ok.py"]),
        ("sandbox", &["--file", "missing", "ok.py"]),
        ("sandbox", &["--mount", "/no/such/place:/x", "ok.py"]),
        ("sandbox", &["--python", "/no/such/python", "ok.py"]),
    ] {
        let output = place.command(args).output().unwrap();
        let report = std::fs::read_to_string(place.path("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let said = (output.status.code(), report["verdict"].as_str(), report["reason"].as_str());
        assert_eq!(said, (Some(125), Some("sandbox_error"), Some(reason)), "{args:?}: {report}");
    }
}

#[test]
fn programs_that_are_none() {
    let place = Place::new();
    for (code, args, words) in [
        (127, &["no-such-program"][..], &["`--exec`: no program `no-such-program` in PATH", "hint: "][..]),
        (127, &["./missing"], &["/missing`: No such file"]),
        (127, &["./script/below"], &["/script/below`"]),
        (126, &["./directory"], &["/directory`: is a directory"]),
        (126, &["./ok.py"], &["/ok.py`: nobody may execute it"]),
        (126, &["/etc/passwd"], &["`/etc/passwd`: nobody may execute it"]),
    ] {
        place.ends(code, "not_executable", place.command(&[&["--exec"], args].concat()), words);
    }
}

#[test]
fn scripts_that_are_none() {
    let place = Place::new();
    for (args, words) in [
        (&["missing.py"][..], &["`missing.py`", "there is no file"][..]),
        (&[""], &["there is no file ``"]),
        (&["directory"], &["`directory` is a directory", "hint: "]),
        (&["/dev/zero"], &["`/dev/zero` is a character device"]),
        (&["huge.py"], &["`huge.py` has 17825792 bytes, more than the 16777216 allowed"]),
        (&[], &["no program to run", "hint: "]),
        (&["--wal", "5", "ok.py"], &["there is no option `--wal`", "hint: `wardian run --help`"]),
        (&["--timeout", "5", "ok.py"], &["there is no option `--timeout`", "hint: here it is `--wall`"]),
        (&["--mem=64M", "ok.py"], &["there is no option `--mem=64M`", "hint: here it is `--memory`"]),
        (&["--time", "5", "ok.py"], &["hint: here it is `--cpu-time`; time on the clock is `--wall`"]),
        (&["--share-net", "ok.py"], &["hint: it is not there: docs/judging.md"]),
        (&["--unshare-all", "ok.py"], &["hint: it is always so here"]),
        (&["--exec"], &["no program to run"]),
        (&["--file", "missing", "ok.py"], &["`--file missing`", "there is no file"]),
        (&["--file", "ok.py:../x", "ok.py"], &["`--file ok.py:../x`", "`..`"]),
        (&["--file", "unknown.toml:ok.py", "ok.py"], &["two files are called `ok.py`"]),
    ] {
        place.refused(place.command(args), words);
    }
    if is_root() {
        let _ = writeln!(std::io::stderr(), "SKIP an unreadable script: root may read everything");
    } else {
        place.refused(place.command(&["unreadable.py"]), &["cannot open `unreadable.py`: Permission denied"]);
    }
}

#[test]
fn options_of_nsjails_after_its_config() {
    let place = Place::new();
    std::fs::write(place.path("sandbox.cfg"), "mode: ONCE\n").unwrap();
    for (option, hint) in
        [("--cgroup_mem_max", "`--memory`"), ("--bindmount", "`--mount src=HOST,dst=GUEST`")]
    {
        let command = place.command(&["--nsjail-config", "sandbox.cfg", option, "1", "--", "/bin/true"]);
        let words = [format!("there is no option `{option}`"), format!("hint: here it is {hint}")];
        place.ends(255, "sandbox_error", command, &[&words[0], &words[1]]);
    }
    let output =
        place.run(&["--nsjail-config", "sandbox.cfg", "--file", "ok.py", "--", "x"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(stderr.contains("hint: the config's mounts") && !stderr.contains("Usage"), "{stderr}");
}

/// Names may be a student's.
#[test]
fn names_that_a_terminal_would_obey() {
    let place = Place::new();
    let output = place.run(&["no\x1b[31m\u{202e}such\u{9b}"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(r"`no\u{1b}[31m\u{202e}such\u{9b}`"), "{stderr:?}");
}

#[test]
fn policies_that_are_none() {
    let place = Place::new();
    for (policy, words) in [
        ("nope", &["no policy is called `nope`", "hint: the presets are python, strict"][..]),
        ("nope.toml", &["`nope.toml`: No such file"]),
        ("./directory", &["`./directory`: Is a directory"]),
        ("unknown.toml", &["unknown.toml", "line 2", "unknown field `wal`", "hint: `wardian policy show"]),
        ("zero.toml", &["zero.toml, line 2: `limits.wall`: must be above 0"]),
        ("nul.toml", &["nul.toml, line 1: `environment.set`"]),
        ("notmp.toml", &["notmp.toml, line 3: `files.tmp`: false makes the working directory"]),
        ("dotdot.toml", &["dotdot.toml, line 1: `files.mounts`: `/a/../b`"]),
        ("nameless.toml", &["nameless.toml, line 1: `name`: must say something"]),
        ("half.toml", &["half.toml", "line 2", "`1.5` is not a size"]),
        ("twice.toml", &["twice.toml", "`files.mounts`: `/a`: is mounted twice"]),
    ] {
        place.refused(place.command(&["--policy", policy, "ok.py"]), words);
    }
}

#[test]
fn settings_that_contradict_each_other_or_cannot_be_enforced_have_their_line() {
    let place = Place::new();
    let file = place.path("policy.toml");
    for (text, said) in [
        (
            "\n[limits]\nmemory = '64M'\ndisk = '256M'\n",
            "line 4: `limits.disk`: 256M is more than `limits.memory` (64M)",
        ),
        ("extends = 'nope'\n", "line 1: `extends`: no preset is called `nope`; there are python, strict"),
        ("[identity]\nuid = 4294967295\n", "line 2: `identity.uid`: "),
        ("[scheduling]\nnice = 50\n", "line 2: `scheduling.nice`: must be 0 to 19"),
        ("[environment]\nthreads = 0\n", "line 2: `environment.threads`: must be at least 1"),
        (
            "[environment]\ninherit = ['A=B']\n",
            "line 2: `environment.inherit`: \"A=B\" is not a variable's name",
        ),
        ("[files]\ntools = ['git']\n", "line 2: `files.tools`: must be absolute paths"),
        ("[files]\ntools = ['/no/git']\n", "`files.tools`: `/no/git`: No such file"),
        (
            "[files]\nroot = 'empty'\n[[files.mounts]]\ndst = '/'\ntype = 'tmpfs'\nwritable = true\n",
            "line 3: `files.mounts`: `/`: the root itself is read-only",
        ),
        (
            "[[files.mounts]]\ndst = '/a'\nsrc = '/usr'\n[[files.mounts]]\ndst = '/b'\ntype = 'symlink'\nsrc = '/a'\nwritable = true\n",
            "line 4: `files.mounts`: `/b`: `writable` belongs to",
        ),
        (
            "level = 'landlock'\nnetwork = 'loopback'\n",
            "line 2: `network`: level \"landlock\" has no loopback",
        ),
        (
            "level = 'landlock'\n\n[[files.mounts]]\ndst = '/d'\nsrc = '/usr'\n",
            "line 3: `files.mounts`: level \"landlock\" has `/d`: files stay where they are",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        place.refused(place.command(&["--policy", "policy.toml", "ok.py"]), &[said]);
    }
}

#[test]
fn limits_of_nothing_less_and_too_much() {
    let place = Place::new();
    for flag in [
        "--wall",
        "--cpu-time",
        "--cpu",
        "--cpus",
        "--memory",
        "--processes",
        "--disk",
        "--open-files",
        "--stack",
    ] {
        let named = if flag == "--cpu" { "--cpu-time" } else { flag };
        for value in ["0", "-1", "999999999999999999999", "nan", "inf", "many", "1e9", ""] {
            place.refused(place.command(&[flag, value, "ok.py"]), &[named]);
        }
    }
    for flag in ["--output", "--file-size"] {
        for value in ["-1", "999999999999999999999", "nan", "many", ""] {
            place.refused(place.command(&[flag, value, "ok.py"]), &[flag]);
        }
    }
    place.refused(
        place.command(&["--disk", "2G", "ok.py"]),
        &["`--disk`: 2G is more than `limits.memory` (1G)"],
    );
}

#[test]
fn mounts_that_cannot_be() {
    let place = Place::new();
    for (mount, words) in [
        ("/no/such:/data", &["`/no/such`", "hint: the source must exist"][..]),
        ("directory:/proc", &["`--mount`: `/proc`: nothing can be mounted over /proc"]),
        ("directory:/proc/self", &["`--mount`", "nothing can be mounted over /proc"]),
        ("directory:/", &["`--mount`: `/`: the root itself cannot be mounted over"]),
        ("directory:/dev/null", &["`/dev/null`: a directory covers no file that is there"]),
        ("directory:/a/../b", &["`--mount`: `/a/../b`", "`..`"]),
        ("directory:relative", &["`--mount`: `relative`", "is not absolute"]),
        ("directory:", &["`--mount`", "empty path"]),
        ("src=directory", &["`--mount src=directory`: dst= is missing", "hint: write src="]),
        ("directory", &["`--mount directory`", "hint: write src="]),
        ("directory:/box", &["`/box`: the program and its files are there"]),
        ("directory:/usr", &["`/usr`: it would hide what the program needs"]),
        ("/:/host", &["the host's whole file system"]),
        ("/proc:/host", &["the host's whole file system nor its /proc"]),
        ("/dev/tty:/tty", &["of devices only"]),
    ] {
        place.refused(place.command(&["--mount", mount, "ok.py"]), words);
    }
}

#[test]
fn places_that_are_not_there() {
    let place = Place::new();
    for (args, words) in [
        (&["--cwd", "relative", "ok.py"][..], &["`--cwd`", "is not absolute", "hint: "][..]),
        (&["--cwd", "/a/../b", "ok.py"], &["`--cwd`", "`..`"]),
        (&["--cwd", "/no/such", "ok.py"], &["working directory", "hint: ", "`--cwd`"]),
        (&["--stdin", "missing", "ok.py"], &["`--stdin missing`: No such file"]),
        (&["--stdin", "directory", "ok.py"], &["`--stdin directory`: is a directory"]),
        (&["--collect", "*", "--out", "/no/such/place", "ok.py"], &["/no/such", "hint: create /no/such"]),
        (&["--collect", "*", "--out", "ok.py", "ok.py"], &["ok.py is not a directory"]),
        (&["--policy", "empty.toml", "ok.py"], &["`files.root = \"empty\"`", "hint: show them by a mount"]),
        (
            &["--policy", "empty.toml", "--file", "ok.py", "-c", "1"],
            &["no place that files could be copied to"],
        ),
        (
            &["--policy", "empty.toml", "--collect", "*", "-c", "1"],
            &["`--collect`: with", "hint: a writable mount"],
        ),
        (&["--collect", "[", "ok.py"], &["pattern `[` is wrong"]),
        (&["--collect", "../*", "ok.py"], &["pattern `../*` is not a path below"]),
        (&["--out", "directory", "ok.py"], &["--collect", "hint: `--collect GLOB` says which"]),
        (&["--summary", "--explain-plan", "ok.py"], &["cannot be used with", "hint: leave one of them out"]),
        (&["--memory", "64", "ok.py"], &["`--memory`: 64 is less than 1M; a plain number is bytes"]),
        (&["--policy", "rw.toml", "ok.py"], &["unknown field `rw`", "hint: here it is `writable = true`"]),
        (&["--lifeline", "ok.py", "ok.py"], &["--lifeline ok.py", "is no pipe"]),
        (&["--env", "A", "ok.py"], &["`--env A` has no `=`", "hint: write --env NAME=VALUE"]),
        (&["--env", "=x", "ok.py"], &["`--env`"]),
        (&["--network", "all", "ok.py"], &["--network", "`none` or `loopback`", "fetch outside"]),
        (&["--require", "magic", "ok.py"], &["--require", "`memory`"]),
    ] {
        place.refused(place.command(args), words);
    }
    if is_root() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP an output directory that cannot be written: root may write everywhere"
        );
    } else {
        place.refused(
            place.command(&["--collect", "*", "--out", "closed", "ok.py"]),
            &["cannot write to directory closed: Permission denied"],
        );
    }
}

#[test]
fn interpreters_that_are_none() {
    let place = Place::new();
    for (args, words) in [
        (&["--python", "3.99"][..], &["version 3.99", "/usr/bin: has none of that name", "hint: "][..]),
        (&["--python", "/no/such"], &["`/no/such`", "No such file", "hint: install python3"]),
        (&["--python", "directory"], &["`directory` is neither a version", "hint: for example"]),
        (&["--python", "./script"], &["is not an interpreter"]),
        (&["--python", "/bin/true"], &["/bin/true: is broken"]),
        (&["--venv", "/no/such"], &["`/no/such` is not a virtual environment", "hint: "]),
        (&["--venv", "directory"], &["it has no pyvenv.cfg"]),
    ] {
        place.refused(place.command(&[args, &["ok.py"]].concat()), words);
    }
    let mut command = place.command(&["ok.py"]);
    command.env("PATH", "/no/such/path");
    place.refused(command, &["no Python found", "/no/such/path: has none", "hint: install python3"]);
    let mut command = place.command(&["ok.py"]);
    command.env_remove("PATH");
    place.refused(command, &["no Python found", "there is no PATH"]);
}

/// Wardian needs no temporary directory: one that is gone or full is no error.
#[test]
fn a_temporary_directory_is_not_needed() {
    if !Path::new("/usr/bin/python3").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP a_temporary_directory_is_not_needed: there is no /usr/bin/python3"
        );
        return;
    }
    let place = Place::new();
    for directory in ["/no/such/directory", "/proc", "/dev/full", "closed"] {
        let output =
            place.command(&["ok.py"]).env("TMPDIR", directory).env("HOME", directory).output().unwrap();
        assert_eq!(output.stdout, b"it ran\n", "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What the report cannot be written to is an error as well, and the report then is nowhere.
#[test]
fn a_report_that_cannot_be_written() {
    let place = Place::new();
    for report in ["/no/such/place/report", ".", ""] {
        let output = place.run(&["--report", report, "ok.py"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{stderr}");
        assert!(stderr.contains("--report"), "{stderr}");
    }
}

#[test]
fn a_program_without_run_is_told_how() {
    let place = Place::new();
    let output = Command::new(binary()).arg("ok.py").current_dir(place.path("")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("hint: to run a program: `wardian run ok.py`"), "{stderr}");
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let man = |words: &[&str]| Command::new(binary()).arg("man").args(words).output().unwrap();
    for (words, name) in
        [(&[][..], "wardian"), (&["run"], "wardian-run"), (&["policy", "check"], "wardian-policy-check")]
    {
        let page = String::from_utf8(man(words).stdout).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{words:?}: {page}");
    }
    let nothing = man(&["nothing"]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(125), 0));
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in
        [&["policy", "show"][..], &["--help"], &["completions", "bash"], &["run", "--json", "missing.py"]]
    {
        let output = Command::new(binary()).args(args).stdout(full()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write to standard output: No space left"), "{args:?}: {stderr}");
    }
    let place = Place::new();
    let output = place.command(&["ok.py"]).stdout(full()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("cannot write the program's standard output: No space left"), "{stderr}");
    let mut safeexec = Command::new(binary());
    safeexec.args(["safeexec", "--exec", "/bin/sh", "-c", "echo x"]);
    let output = safeexec.stdin(Stdio::null()).stdout(full()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left") && stderr.contains("Internal Error"), "{stderr}");
}

#[test]
fn features_that_are_taken_away_are_named_when_required() {
    let place = Place::new();
    for (cap, layer, words) in [
        ("cgroup:none", "memory", &["cannot enforce", "memory", "hint: "][..]),
        ("cgroup:none", "cpu", &["cannot enforce", "cpu"]),
        ("landlock:0", "landlock", &["cannot enforce", "landlock"]),
        ("notify:off", "denials", &["cannot enforce", "denials"]),
        ("magic", "memory", &["`magic` is not a feature cap"]),
    ] {
        let mut command = place.command(&["--require", layer, "ok.py"]);
        command.env("WARDIAN_TEST_CAP", cap);
        place.refused(command, words);
    }
}

#[test]
fn a_small_stack_is_made_larger_or_is_an_error() {
    let place = Place::new();
    let under = |ulimit: &str| {
        let words = format!("ulimit {ulimit} 64 && exec \"$0\" run ok.py");
        Command::new("/bin/sh")
            .args(["-c", &words])
            .arg(binary())
            .current_dir(place.path(""))
            .output()
            .unwrap()
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let raised = under("-Ss");
    assert_eq!(raised.stdout, b"it ran\n", "{}", said(&raised));
    let fixed = under("-s");
    // Who may raise the hard limit, too (CAP_SYS_RESOURCE), runs.
    if fixed.stdout != b"it ran\n" {
        assert_eq!(fixed.status.code(), Some(125));
        assert!(said(&fixed).contains("ulimit -s"), "{}", said(&fixed));
    }
}

#[test]
fn too_few_descriptors_are_named_wherever_they_end() {
    let place = Place::new();
    for most in 4..40 {
        let words = format!("ulimit -n {most} && exec \"$0\" run ok.py");
        let mut command = Command::new("/bin/sh");
        let output = command.args(["-c", &words]).arg(binary()).current_dir(place.path("")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            // Who looks for an interpreter names each that it could not open, and why.
            Some(125) if said.contains("no Python found") => assert!(said.contains("os error 24"), "{said}"),
            Some(125) => assert!(said.contains("ulimit -"), "{most}: {said}"),
            other => panic!("{most}: {other:?} {said}"),
        }
    }
}

#[test]
fn a_lower_limit_of_cpu_time_of_the_callers_is_told_as_one() {
    let words = "ulimit -t 1 && exec \"$0\" run --json --cpu-time 20 --wall 60 -c 'while True: pass'";
    let output = Command::new("/bin/sh").args(["-c", words]).arg(binary()).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    for said in ["\"verdict\":\"time_limit\"", "\"reason\":\"cpu_time\"", "ulimit -t"] {
        assert!(report.contains(said), "{said}: {report}{}", String::from_utf8_lossy(&output.stderr));
    }
}
