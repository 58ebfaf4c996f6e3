//! `wardian run --warm`: a service runs the program, and nobody can tell.

use crate::client::Request;
use crate::server::{Server, binary, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Service {
    server: Server,
    socket: PathBuf,
}

fn service() -> Service {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    std::fs::write(directory.path().join("config.toml"), environment()).unwrap();
    let mut command = Command::new(binary());
    command.args(["serve", "--unix"]).arg(&socket).arg("--config").arg(directory.path().join("config.toml"));
    Service { server: Server::spawn(command, directory), socket }
}

fn environment() -> String {
    let python = if Path::new("/usr/bin/python3").exists() { "python = \"/usr/bin/python3\"\n" } else { "" };
    format!(
        "listen = []\n[ceilings]\nmemory = \"512M\"\n[[environments]]\nname = \"python\"\n{python}ready = 1\n"
    )
}

impl Service {
    fn runs(&self) -> usize {
        let answer = Request::get("/metrics").send(UnixStream::connect(&self.socket).unwrap());
        let text = answer.text();
        let counts = text.lines().filter(|line| line.starts_with("wardian_runs_total{interface=\"ws\""));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("run").args(args).env("WARDIAN_SOCKET", &self.socket);
        // The interpreter of the service.
        command.env("PATH", "/usr/bin:/bin").env_remove("VIRTUAL_ENV");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

/// A program that answers while it is still being fed: neither end may wait for the other.
#[test]
fn input_and_output_flow_at_once() {
    let service = service();
    let bytes: Vec<u8> = (0..8_000_000u32).map(|at| (at % 251) as u8).collect();
    let filter = "import sys\nwhile True:\n    b = sys.stdin.buffer.read1(65536)\n    if not b: break\n    sys.stdout.buffer.write(b); sys.stdout.buffer.flush()";
    let deaf = "import os\nos.close(0)\nprint('done')";
    let late = "import sys\nprint('x' * 5_000_000, flush=True)\nprint(len(sys.stdin.buffer.read()))";
    for (code, expected) in [
        (filter, bytes.clone()),
        (deaf, b"done\n".to_vec()),
        (late, [&[b'x'; 5_000_000][..], b"\n8000000\n"].concat()),
    ] {
        let mut child = service.command(&["--warm", "--wall", "20s", "-c", code]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = bytes.clone();
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""), "{code}");
        assert!(output.stdout == expected, "{} bytes: {code}", output.stdout.len());
    }
}

/// As a pipe tells a program that runs here.
#[test]
fn a_program_whose_output_nobody_reads_is_told() {
    let service = service();
    let mut child =
        service.command(&["--warm", "--wall", "20s", "-c", "while True: print('y')"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 2]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("BrokenPipeError"), "{stderr}");
}

/// Whether it writes at once what it prints, and what its children are told of that.
const BUFFERED: &str =
    "import os\nprint(1)\nprint(2)\nos.write(1, b'%s\\n' % os.environb.get(b'PYTHONUNBUFFERED', b'none'))";

#[test]
fn output_and_exit_codes_are_those_of_a_run_without_it() {
    let service = service();
    let script = service.server.directory.path().join("script.py");
    std::fs::write(
        &script,
        "import sys\nprint(__file__, sys.argv[1:], open('given').read())\nraise SystemExit(3)",
    )
    .unwrap();
    let given = service.server.directory.path().join("given");
    std::fs::write(&given, "content").unwrap();
    let (script, given) = (script.to_str().unwrap(), given.to_str().unwrap());
    let mut runs = 0;
    for (args, input) in [
        (vec!["-c", "import sys; print(sys.argv, input(), sys.stdin.read())", "a", "-b"], "one\ntwo\n"),
        (vec!["--file", given, script, "x", "--y"], ""),
        (vec!["-m", "this"], ""),
        (vec!["-c", BUFFERED], ""),
        (vec!["-u", "-c", BUFFERED], ""),
        (vec!["-c", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"], ""),
        (vec!["-c", "import sys; print('e', file=sys.stderr); 1/0"], ""),
        (vec!["-c", "import os; os.abort()"], ""),
        (vec!["--wall", "300ms", "-c", "while True: pass"], ""),
        (vec!["--memory", "64M", "-c", "x = b'x' * (1 << 28)"], ""),
        (vec!["--output", "10", "-c", "print('x' * 100)"], ""),
        (vec!["--env", "WORD=w", "--policy", "strict", "-c", "import os; print(os.environ['WORD'])"], ""),
    ] {
        let alone = service.run(&args, input);
        let warm = service.run(&[&["--warm"], &args[..]].concat(), input);
        let shown = |output: &Output| {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            // A peak differs from run to run.
            let stderr =
                stderr.lines().map(|line| line.split("; peak").next().unwrap_or_default().to_owned());
            (output.status.code(), output.stdout.clone(), stderr.collect::<Vec<_>>())
        };
        assert_eq!(shown(&warm), shown(&alone), "{args:?}");
        runs += 1;
        assert_eq!(service.runs(), runs, "{args:?} was not run by the service");
    }
}

#[test]
fn what_the_service_does_not_take_is_run_as_without_it() {
    let service = service();
    for args in [
        vec!["--warm", "--memory", "1G", "-c", "print(1)"],
        vec!["--warm", "--network", "loopback", "-c", "print(1)"],
        vec!["--warm", "--stdin", "/dev/null", "-c", "print(1)"],
    ] {
        let output = service.run(&args, "");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"1\n"[..]), "{args:?}");
    }
    assert_eq!(service.runs(), 0);
    let nowhere = Command::new(binary())
        .args(["run", "--warm", "-c", "print(1)"])
        .env("WARDIAN_SOCKET", "/nowhere/at/all")
        .output()
        .unwrap();
    assert_eq!(nowhere.stdout, b"1\n");
    let wrong = service.run(&["--warm", "--wall", "0", "-c", ""], "");
    assert_eq!(wrong.status.code(), Some(125));
}

/// The service has one interpreter; a run that would have another without it has that one.
#[test]
fn the_interpreter_is_the_one_of_a_run_without_it() {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let versions = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let Some(other) = versions.map(|entry| entry.path().join("bin/python3")).find(|path| path.exists())
    else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIP the_interpreter_is_the_one_of_a_run_without_it: there is one only"
        );
        return;
    };
    let service = service();
    let code = "import sys; print(sys.executable)";
    let said = |args: &[&str]| String::from_utf8(service.run(args, "").stdout).unwrap();
    let other = other.to_str().unwrap();
    assert_eq!(said(&["--warm", "--python", other, "-c", code]), said(&["--python", other, "-c", code]));
    assert_eq!(service.runs(), 0);
    assert_eq!(said(&["--warm", "--python", "/usr/bin/python3", "-c", code]), "/usr/bin/python3\n");
    assert_eq!(service.runs(), 1);
}

#[test]
fn a_signal_ends_it_there_too() {
    let service = service();
    let mut child =
        service.command(&["--warm", "-c", "print('on', flush=True)\nwhile True: pass"]).spawn().unwrap();
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    until("the run's end", || {
        let answer = Request::get("/metrics").send(UnixStream::connect(&service.socket).unwrap());
        answer.text().contains("wardian_gate{state=\"running\"} 0")
    });
}
