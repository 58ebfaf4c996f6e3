//! What people do on their first day, through the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PYTHON: &str = "/usr/bin/python3";

fn skip(name: &str) -> bool {
    let missing = !Path::new(PYTHON).exists();
    if missing {
        let _ = writeln!(std::io::stderr(), "SKIP {name}: there is no {PYTHON}");
    }
    missing
}

/// A directory below /tmp, where people try things out.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

fn wardian() -> Command {
    let binary =
        std::env::var_os("WARDIAN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_wardian").into(), PathBuf::from);
    let mut command = Command::new(binary);
    command.arg("run").env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

fn code(code: &str) -> Command {
    let mut command = wardian();
    command.args(["-c", code]);
    command
}

#[track_caller]
fn answers(command: &mut Command, exit: i32, stdout: &str) {
    let output: Output = command.output().unwrap();
    let seen = (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned());
    assert_eq!(seen, (Some(exit), stdout.to_owned()), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Scratch space shows as /tmp inside; what is executed there must not vanish below it.
#[test]
fn a_program_below_tmp_runs() {
    let directory = directory();
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/bin/sh\necho it runs >here\nread line <here\necho \"$line\"\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    answers(wardian().arg("--exec").arg(&script), 0, "it runs\n");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o644)).unwrap();
    answers(wardian().arg("--exec").arg(&script), 126, "");
}

#[test]
fn an_environment_below_tmp_runs_and_stays_as_it_is() {
    if skip("an_environment_below_tmp_runs_and_stays_as_it_is") {
        return;
    }
    let directory = directory();
    let venv = directory.path().join("venv");
    let made = Command::new(PYTHON).args(["-m", "venv", "--without-pip"]).arg(&venv).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let try_it = "import sys, tempfile
tempfile.TemporaryFile().close()
try:
    open(sys.prefix + '/new', 'w')
except OSError as error:
    print(sys.prefix, error.errno)";
    let expected = format!("{} 30\n", venv.display());
    answers(wardian().arg("--venv").arg(&venv).args(["-c", try_it]), 0, &expected);
}

#[test]
fn a_writable_mount_is_written_as_its_owner() {
    if skip("a_writable_mount_is_written_as_its_owner") {
        return;
    }
    let is_root = rustix::process::geteuid().is_root();
    // Whose it is, if we may choose.
    let owners = if is_root { vec![(1500, 1600), (1500, 1500)] } else { vec![own_ids()] };
    for (uid, gid) in owners {
        let directory = directory();
        let give = |name: &str, uid: u32, mode: u32| {
            let path = directory.path().join(name);
            if !path.exists() {
                std::fs::write(&path, "was here").unwrap();
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            if is_root {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
            }
        };
        give("", uid, 0o755);
        give("own", uid, 0o600);
        give("others", uid + 77, 0o600);
        let code = "import os
print(open('/data/own').read(), os.stat('/data').st_uid == os.getuid())
open('/data/own', 'a').write('!')
os.mkdir('/data/made')
open('/data/made/file', 'w').write('new')
for name, attempt in [
    ('others', lambda: open('/data/others')),
    ('set-id', lambda: os.chmod('/data/own', 0o4755)),
    ('set-id', lambda: os.open('/data/tool', os.O_CREAT | os.O_WRONLY, 0o2755)),
    ('given away', lambda: os.chown('/data/own', 0, 0)),
]:
    try:
        attempt()
        print(name, 'worked')
    except OSError:
        pass";
        let mount = format!("src={},dst=/data,rw", directory.path().display());
        // Our own files are all there is, as an ordinary user.
        let expected = if is_root { "was here True\n" } else { "was here True\nothers worked\n" };
        answers(wardian().args(["--mount", &mount, "-c", code]), 0, expected);
        for (name, content) in [("own", "was here!"), ("made/file", "new")] {
            let path = directory.path().join(name);
            let (owner, mode) = {
                let metadata = std::fs::metadata(&path).unwrap();
                ((metadata.uid(), metadata.gid()), metadata.mode())
            };
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!((owner, mode & 0o6000), ((uid, gid), 0), "{name}");
        }
        let read_only = format!("src={},dst=/data", directory.path().display());
        let write = "open('/data/made/file', 'w')";
        let output = wardian().args(["--mount", &read_only, "-c", write]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"), "{output:?}");
    }
}

fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Writes in a mount of this directory, and tells how that went.
fn written(mount: &Path) -> (Option<i32>, String) {
    let mount = format!("src={},dst=/data,rw", mount.display());
    let write = "open('/data/new', 'w').write('x')";
    let output = wardian().args(["--mount", &mount, "-c", write]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn give(path: &Path, uid: u32, mode: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// What root runs or reads later may lie in a directory of root's.
#[test]
fn roots_rights_are_nobodys_unless_a_policy_gives_them() {
    if skip("roots_rights_are_nobodys_unless_a_policy_gives_them") || !rustix::process::geteuid().is_root() {
        return;
    }
    let (directory, policy) = (directory(), directory().keep());
    let (place, file) = (directory.path(), policy.join("policy.toml"));
    let text = |more: &str| {
        format!(
            "extends = \"python\"\nname = \"t\"\n[[files.mounts]]\nsrc = \"{}\"\ndst = \"/data\"\nwritable = true\n{more}\n",
            place.display()
        )
    };
    let by_policy = |more: &str| {
        std::fs::write(&file, text(more)).unwrap();
        let write = "open('/data/new', 'w').write('x')";
        let output = wardian().arg("--policy").arg(&file).args(["-c", write]).output().unwrap();
        output.status.code()
    };
    give(place, 0, 0o755);
    assert!(written(place).1.contains("PermissionError"));
    assert_eq!(by_policy(""), Some(1));
    assert_eq!(by_policy("as_owner = true"), Some(0));
    // Nor those of root's group.
    std::fs::remove_file(place.join("new")).unwrap();
    std::os::unix::fs::chown(place, Some(1500), Some(0)).unwrap();
    assert!(written(place).1.contains("PermissionError"));
    give(place, 1500, 0o755);
    assert_eq!(by_policy("as_owner = false"), Some(1));
    assert_eq!(written(place), (Some(0), String::new()));
    // Where everybody may write, a program of root's does so as nobody in particular.
    std::fs::remove_file(place.join("new")).unwrap();
    give(place, 1500, 0o777);
    assert_eq!(written(place), (Some(0), String::new()));
    assert!(std::fs::metadata(place.join("new")).unwrap().uid() >= 2_000_000_000);
    std::fs::remove_dir_all(policy).unwrap();
}

/// One that may write above the place can have made it.
#[test]
fn no_link_is_followed_to_a_place_that_is_written_as_its_owner() {
    if skip("no_link_is_followed_to_a_place_that_is_written_as_its_owner")
        || !rustix::process::geteuid().is_root()
    {
        return;
    }
    let (above, other) = (directory(), directory());
    give(other.path(), 1600, 0o755);
    let link = above.path().join("out");
    std::os::unix::fs::symlink(other.path(), &link).unwrap();
    let (code, said) = written(&link);
    assert!(code == Some(125) && said.contains("symbolic link") && said.contains("realpath"), "{said}");
    assert_eq!(written(other.path()), (Some(0), String::new()));
}

#[test]
fn a_file_system_whose_owner_nobody_can_be_is_refused() {
    if skip("a_file_system_whose_owner_nobody_can_be_is_refused") || !rustix::process::geteuid().is_root() {
        return;
    }
    let policy = directory();
    let file = policy.path().join("policy.toml");
    let mount = "src = \"/sys/kernel\"\ndst = \"/data\"\nwritable = true\nas_owner = true\n";
    std::fs::write(&file, format!("extends = \"python\"\nname = \"t\"\n[[files.mounts]]\n{mount}")).unwrap();
    let output = wardian().arg("--policy").arg(&file).args(["-c", "0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("write in /sys/kernel as its owner") && said.contains("as_owner = false"),
        "{said}"
    );
}

/// Root asks an interpreter where its files are as whoever can change what that runs.
#[test]
fn an_environment_of_which_a_part_is_somebody_elses_is_not_asked_as_root() {
    if skip("an_environment_of_which_a_part_is_somebody_elses_is_not_asked_as_root")
        || !rustix::process::geteuid().is_root()
    {
        return;
    }
    let directory = directory();
    let venv = directory.path().join("venv");
    let made = Command::new(PYTHON).args(["-m", "venv", "--without-pip"]).arg(&venv).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let versions = std::fs::read_dir(venv.join("lib")).unwrap();
    let packages = versions.last().unwrap().unwrap().path().join("site-packages");
    let seen = directory.path().join("seen");
    std::fs::write(&seen, "").unwrap();
    give(&seen, 1500, 0o666);
    let line = format!("import os; open({seen:?}, 'a').write(str(os.getuid()) + ' ')\n");
    std::fs::write(packages.join("x.pth"), line).unwrap();
    for changed in [packages.join("x.pth"), packages] {
        give(&changed, 1500, 0o755);
        wardian().arg("--venv").arg(&venv).args(["-c", "0"]).env("HOME", directory.path()).output().unwrap();
        let said = std::fs::read_to_string(&seen).unwrap();
        assert!(said.split_whitespace().all(|uid| uid != "0"), "{said}");
    }
    assert!(std::fs::read_to_string(&seen).unwrap().contains("1500"));
}

#[test]
fn words_after_code_or_a_module_are_the_programs() {
    if skip("words_after_code_or_a_module_are_the_programs") {
        return;
    }
    let words = "import sys; print(sys.argv[1:])";
    answers(code(words).args(["--json", "--help", "x"]), 0, "['--json', '--help', 'x']\n");
    answers(wardian().arg("-mjson.tool").args(["--compact", "/dev/stdin"]).stdin(text("[ 1 ]")), 0, "[1]\n");
    answers(wardian().arg("-").args(["a", "--json"]).stdin(text(words)), 0, "['a', '--json']\n");
}

/// Debian's numpy finds its algebra by links through /etc/alternatives, which one of them refuses.
#[test]
fn libraries_load_under_every_preset() {
    if !Path::new("/usr/lib/python3/dist-packages/numpy").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP libraries_load_under_every_preset: there is no numpy of the system's"
        );
        return;
    }
    for policy in ["python", "strict", "judge", "codejail"] {
        let mut command = code("import numpy, ssl, sqlite3, ctypes; print(numpy.linalg.det(numpy.eye(3)))");
        answers(command.args(["--policy", policy, "--wall", "60s", "--cpu", "60s"]), 0, "1.0\n");
    }
}

#[test]
fn few_open_files_are_enough_to_start() {
    if skip("few_open_files_are_enough_to_start") {
        return;
    }
    for policy in ["python", "strict", "judge", "codejail"] {
        let mut command = wardian();
        command.args(["--policy", policy, "--open-files", "16", "-c", "print(1)"]);
        answers(&mut command, 0, "1\n");
    }
}

/// Where one program may be executed, that has a descriptor of its own above the limit of open files: whatever else is open
/// then, and inputs make it more, must not have that number.
#[test]
fn the_one_program_is_executed_however_many_files_there_are() {
    if skip("the_one_program_is_executed_however_many_files_there_are") {
        return;
    }
    let directory = directory();
    let script = directory.path().join("a.py");
    std::fs::write(&script, "print('it ran')").unwrap();
    for limit in 16..24 {
        for files in [0, 2, 5, 9] {
            let mut command = wardian();
            command.args(["--policy", "codejail", "--python", PYTHON, "--open-files", &limit.to_string()]);
            for number in 0..files {
                command.arg("--file").arg(format!("{}:file-{number}", script.display()));
            }
            answers(command.arg(&script), 0, "it ran\n");
        }
    }
}

#[test]
fn text_is_utf8_whatever_the_locale() {
    if skip("text_is_utf8_whatever_the_locale") {
        return;
    }
    let echo =
        "import sys, os; open('ü', 'w').write('€'); print(sys.argv[1], os.listdir('.'), open('ü').read())";
    for locale in ["C", "POSIX", "de_DE.ISO-8859-1", ""] {
        answers(code(echo).arg("😀").env("LC_ALL", locale).env("LANG", locale), 0, "😀 ['ü'] €\n");
    }
}

#[test]
fn a_mount_over_what_the_interpreter_needs_may_show_the_same() {
    if skip("a_mount_over_what_the_interpreter_needs_may_show_the_same") {
        return;
    }
    let directory = directory();
    std::fs::write(directory.path().join("data"), "there").unwrap();
    let mounts = format!("{}:/etc", directory.path().display());
    answers(
        wardian().args(["--mount", "/usr:/usr", "--mount", &mounts, "-c", "print(open('/etc/data').read())"]),
        0,
        "there\n",
    );
}

#[test]
fn standard_streams_may_be_closed() {
    if skip("standard_streams_may_be_closed") {
        return;
    }
    let directory = directory();
    let report = directory.path().join("report.json");
    let script = format!(
        "\"$0\" run --report '{}' -c 'import sys; print(repr(sys.stdin.read()), file=sys.stderr)' <&- >&- 2>&-",
        report.display()
    );
    let binary = wardian();
    let status = Command::new("/bin/sh").args(["-c", &script]).arg(binary.get_program()).status().unwrap();
    let report = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((status.code(), &report["stderr"]["text"]), (Some(0), &"''\n".into()), "{report}");
}

/// Standard input with this text.
fn text(text: &str) -> Stdio {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // A pipe holds far more than any text here.
    writer.write_all(text.as_bytes()).unwrap();
    reader.into()
}

/// What was only lent is not a result, however its program was collected; what was asked for and is not there is said.
#[test]
fn collects_what_is_new_or_changed() {
    if skip("collects_what_is_new_or_changed") {
        return;
    }
    let directory = directory();
    let place = |name: &str| directory.path().join(name);
    for name in ["main.py", "same.txt", "other.txt"] {
        std::fs::write(place(name), "given").unwrap();
    }
    let program =
        "import os\nopen('other.txt', 'a').write('!')\nos.mkdir('plots')\nopen('plots/a.png', 'w').close()";
    std::fs::write(place("main.py"), program).unwrap();
    let collected = |patterns: &[&str]| {
        let out = directory.path().join(format!("out{}", patterns.len()));
        std::fs::create_dir(&out).unwrap();
        let mut command = wardian();
        command.current_dir(&directory).arg("--out").arg(&out).args([
            "--file",
            "same.txt",
            "--file",
            "other.txt",
        ]);
        for pattern in patterns {
            command.args(["--collect", pattern]);
        }
        let output = command.arg("main.py").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let entries = std::fs::read_dir(&out)
            .unwrap()
            .chain(std::fs::read_dir(out.join("plots")).into_iter().flatten());
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (names, String::from_utf8(output.stderr).unwrap())
    };
    // Without a place for them, nothing runs.
    answers(wardian().args(["--collect", "*", "-c", "print()"]), 125, "");
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(collected(&["**"]), (names(&["a.png", "other.txt", "plots"]), String::new()));
    let said = "wardian: not collected: *.csv: nothing matches this pattern\n";
    assert_eq!(collected(&["plots", "*.csv"]), (names(&["a.png", "plots"]), said.to_owned()));
}

#[test]
fn a_summary_tells_what_was_done_and_used() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let code = "import socket\nopen('made', 'w').write('x' * 5000)\ntry: socket.socket()\nexcept OSError: print('no')\nraise SystemExit(3)";
    let output = wardian()
        .args(["--summary", "--collect", "made", "--out"])
        .arg(&out)
        .args(["-c", code])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"no\n"[..]), "{said}");
    for words in [
        "The program ended with exit code 3.",
        " on the clock; CPU ",
        " of 1G memory; ",
        "left: 3 bytes on standard output, 0 bytes on standard error, ",
        "collected made (4.9K)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A write for each line costs judged programs several times their CPU time.
#[test]
fn into_a_pipe_python_buffers_as_it_does_outside() {
    if skip("into_a_pipe_python_buffers_as_it_does_outside") {
        return;
    }
    const TELL: &str = "import os\nprint(1)\nprint(2)\nos.write(1, b'%s\\n' % os.environb.get(b'PYTHONUNBUFFERED', b'none'))";
    let mut outside = Command::new(PYTHON);
    answers(outside.args(["-c", TELL]).env_remove("PYTHONUNBUFFERED"), 0, "none\n1\n2\n");
    answers(&mut code(TELL), 0, "none\n1\n2\n");
    answers(wardian().args(["-u", "-c", TELL]), 0, "1\n2\n1\n");
    answers(wardian().args(["--env", "PYTHONUNBUFFERED=x", "-c", TELL]), 0, "1\n2\nx\n");
    answers(wardian().args(["-u", "--wall", "500ms", "-c", "print(1)\nwhile True: pass"]), 124, "1\n");
}

/// Its libraries are found through `$ORIGIN/../lib`.
#[test]
fn java_is_compiled_and_runs() {
    const JAVAC: &str = "/usr/bin/javac";
    if !Path::new(JAVAC).exists() {
        let _ = writeln!(std::io::stderr(), "SKIP java_is_compiled_and_runs: there is no {JAVAC}");
        return;
    }
    let directory = directory();
    let source = "class A { public static void main(String[] a) { System.out.println(6 * 7); } }";
    std::fs::write(directory.path().join("A.java"), source).unwrap();
    let java = |options: &[&str], program: &[&str]| {
        let mut command = wardian();
        command.current_dir(&directory).args(["--policy", "judge", "--processes", "32", "--cpu-time", "30"]);
        command.args(["--wall", "60", "--memory", "1G"]).args(options).arg("--exec").args(program);
        command
    };
    let compiler = ["--file", "A.java", "--collect", "A.class", "--out", "."];
    answers(&mut java(&compiler, &["javac", "A.java"]), 0, "");
    answers(&mut java(&["--file", "A.class"], &["java", "A"]), 0, "42\n");
}

#[test]
fn a_mount_that_only_root_may_write_is_told_of() {
    if skip("a_mount_that_only_root_may_write_is_told_of") || !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = directory();
    let write = "import tempfile; tempfile.NamedTemporaryFile(dir='/data').close()";
    let mount = |more: &str| {
        let mount = format!("src={},dst=/data,rw{more}", directory.path().display());
        let output = wardian().args(["--mount", &mount, "-c", write]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = mount("");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("wardian: note: the program cannot write in `/data` itself: "), "{said}");
    assert_eq!(mount(",as_owner"), (Some(0), String::new()));
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(mount(""), (Some(0), String::new()));
}

/// What agents' programs fail of most is told as what it is.
#[test]
fn a_name_that_is_looked_up_without_network_is_a_refusal() {
    if skip("a_name_that_is_looked_up_without_network_is_a_refusal") {
        return;
    }
    let told = |network: &str, look_up: &str| {
        let code = format!(
            "import socket, time\nstart = time.monotonic()\ntry: socket.{look_up}; print('found', end=' ')\n\
             except OSError: print('failed', end=' ')\nprint(time.monotonic() - start < 1)"
        );
        let output = wardian().args(["--explain", "--network", network, "-c", &code]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let is_told = stderr.contains("AF_INET");
        assert_eq!(stderr.contains("`--network loopback` allows"), is_told, "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), is_told)
    };
    for own in ["getaddrinfo('localhost', 80)", "gethostbyname(socket.gethostname())", "getfqdn()"] {
        for network in ["none", "loopback"] {
            assert_eq!(told(network, own).0, "found True\n", "{network} {own}");
        }
    }
    let others = "getaddrinfo('example.com', 80)";
    assert_eq!(told("none", others), ("failed True\n".into(), true));
    assert_eq!(told("loopback", others), ("failed True\n".into(), false));
}
