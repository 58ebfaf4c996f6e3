//! The seccomp filter, installed: real programs run under it, and what is forbidden is refused.
//!
//! A Python program installs the filter's bytes on itself and executes the program to test, as `wardian-init`
//! does. Whatever is expected to be refused is first expected to succeed without the filter.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use rustix::net::{AddressFamily, SocketType};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Output};
use wardian::seccomp::{
    Arch, Exec, Processes, Profile, Refusal, RefusedErrno, Sockets, Surroundings, compile, describe,
};

const PYTHON: &str = "/usr/bin/python3.11";

/// Installs the filter in the file `argv[1]` (or none, if that is empty), then executes `argv[2:]`.
const INSTALL: &str = r#"
import ctypes, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
if sys.argv[1]:
    code = open(sys.argv[1], "rb").read()
    PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER = 38, 1
    seccomp = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("no_new_privs: " + os.strerror(ctypes.get_errno()))
    if libc.syscall(seccomp, SET_MODE_FILTER, 0, ctypes.byref(Program(len(code) // 8, code))):
        sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
"#;

fn python_profile() -> Profile {
    Profile {
        exec: Exec::Any,
        processes: Processes::Any,
        sockets: Sockets::Unix,
        named_sockets: true,
        memfd: true,
        sysv_shm: true,
        surroundings: Surroundings::Own,
        affinity: true,
        refusal: Refusal::Errno,
        refused_errno: RefusedErrno::Eperm,
    }
}

/// Past the test harness, which keeps what a passing test prints with `eprintln`.
#[allow(clippy::explicit_write, reason = "see above")]
fn skip(what: &str) {
    writeln!(std::io::stderr(), "SKIP: {what} is NOT tested").unwrap();
}

/// Says so loudly if a program is missing.
fn is_there(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        skip(&format!("{program} is not there, its part of the seccomp filter"));
    }
    there
}

/// Runs a program under the filter of a profile, or without any.
fn run(profile: Option<&Profile>, program: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let filter = directory.path().join("filter");
    if let Some(profile) = profile {
        std::fs::write(&filter, compile(profile, Arch::current()).to_bytes()).unwrap();
    }
    let mut command = Command::new(PYTHON);
    command.args(["-I", "-S", "-c", INSTALL]);
    command.arg(if profile.is_some() { filter.as_path() } else { Path::new("") });
    command.args(program).current_dir(directory.path()).output().unwrap()
}

/// Its standard output, if it succeeds.
fn output(profile: Option<&Profile>, program: &[&str]) -> String {
    let output = run(profile, program);
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {:?}\n{text}\n{words}", output.status);
    text
}

#[test]
fn programs_work() {
    if !is_there(PYTHON) {
        return;
    }
    let program = r#"
import asyncio, json, multiprocessing, os, shutil, sqlite3, ssl, subprocess, sys, tempfile, threading
from multiprocessing import shared_memory

def square(x):
    return x * x

async def talk():
    child = await asyncio.create_subprocess_exec("/bin/echo", "x", stdout=subprocess.PIPE)
    assert (await child.communicate())[0] == b"x\n"

if __name__ == "__main__":
    assert json.loads("[1]") == [1]
    threads = [threading.Thread(target=square, args=(2,)) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert subprocess.check_output("echo a | cat", shell=True) == b"a\n"
    asyncio.run(talk())
    for method in "fork", "spawn", "forkserver":
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(square, [3]) == [9]
    memory = shared_memory.SharedMemory(create=True, size=4096)
    memory.close(), memory.unlink()
    base = sqlite3.connect("base.db")
    base.execute("pragma journal_mode = wal"), base.execute("create table t(x)"), base.commit()
    with tempfile.NamedTemporaryFile() as file:
        shutil.copy2(file.name, "copy")
    os.mkfifo("fifo"), os.chmod("copy", 0o700), os.memfd_create("m"), os.openpty()
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    try:
        import numpy
        numpy.linalg.svd(numpy.ones((200, 200)))
    except ImportError:
        print("SKIP: numpy is not there", file=sys.stderr)
    print("done")
"#;
    let script = tempfile::NamedTempFile::with_suffix(".py").unwrap();
    std::fs::write(&script, program).unwrap();
    let script = script.path().to_str().unwrap();
    assert_eq!(output(Some(&python_profile()), &[PYTHON, "-I", script]), "done");
    let node = "console.log(require('child_process').execSync('echo hi').toString())";
    for program in [
        &["/bin/sh", "-c", "ls / | sort | head -n 1 && cp /etc/passwd p && rm p && mkdir -p a/b"][..],
        &["/bin/busybox", "sh", "-c", "busybox ls / && busybox id"],
        &["/usr/bin/node", "-e", node],
        &["/usr/bin/gcc", "--version"],
    ] {
        if is_there(program[0]) {
            assert_ne!(output(Some(&python_profile()), program), "");
        }
    }
}

/// Runs `body` in Python, where `call(number or function, …)` prints the error's name, or `ok`.
fn attempt(profile: Option<&Profile>, body: &str) -> String {
    let prelude = "import ctypes, errno, os, socket, threading, subprocess, sys\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(function, *args):\n    \
            if callable(function):\n        \
                try: function(*args)\n        \
                except OSError as e: return print(errno.errorcode[e.errno])\n        \
                except RuntimeError as e: return print(e)\n    \
            elif libc.syscall(ctypes.c_long(function), *map(ctypes.c_long, args)) < 0:\n        \
                return print(errno.errorcode[ctypes.get_errno()])\n    \
            print('ok')\n";
    output(profile, &[PYTHON, "-I", "-c", &format!("{prelude}{body}")])
}

/// An attempt, what it comes to without the filter, and what with it.
fn check(profile: &Profile, body: &str, without: &str, with: &str) {
    assert_eq!(attempt(None, body), without, "without a filter: {body}");
    assert_eq!(attempt(Some(profile), body), with, "{profile:?}: {body}");
}

#[test]
fn what_is_forbidden_is_refused() {
    if !is_there(PYTHON) {
        return;
    }
    let python = python_profile();
    let files = "open('f', 'w').close(); ";
    for (body, with) in [
        ("call(socket.socket, socket.AF_INET, socket.SOCK_STREAM)", "EPERM"),
        ("call(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)", "EPERM"),
        ("call(socket.socketpair)", "ok"),
        (&format!("{files}call(os.chmod, 'f', 0o4755)"), "EPERM"),
        (&format!("{files}call(os.chmod, 'f', 0o755)"), "ok"),
        ("call(os.open, 'g', os.O_CREAT | os.O_WRONLY, 0o2755)", "EPERM"),
        ("call(os.mkdir, 'd', 0o2755)", "EPERM"),
        (&format!("call({}, 0x40000)", number_of("personality")), "EPERM"),
    ] {
        check(&python, body, "ok", with);
    }
    // Linux answers these itself where the caller has no rights; the filter must be faster.
    let numbers = [("unshare", 0), ("ptrace", 0), ("seccomp", 2)];
    for (name, first) in numbers {
        let number = number_of(name);
        let with = format!("call({number}, {first}, 0, 0, 0)");
        assert_ne!(attempt(None, &with), "ENOSYS", "{name}");
        assert_eq!(attempt(Some(&python), &with), "EPERM", "{name}");
    }
    assert_eq!(attempt(Some(&python), &format!("call({}, 0, 0)", number_of("clone3"))), "ENOSYS");
    assert_eq!(attempt(Some(&python), "call(2000)"), "ENOSYS");
}

fn number_of(name: &str) -> u32 {
    (0..1000).find(|&nr| wardian::seccomp::name_of(nr, Arch::current()) == Some(name)).unwrap()
}

#[test]
fn profiles_differ() {
    if !is_there(PYTHON) {
        return;
    }
    let thread = "t = threading.Thread(target=len, args=('',)); call(t.start)";
    let child = "call(subprocess.run, ['/bin/true'])";
    let threads = Profile { processes: Processes::ThreadsOnly, ..python_profile() };
    check(&threads, thread, "ok", "ok");
    check(&threads, child, "ok", "EAGAIN");
    let denied = RefusedErrno::Eacces;
    let single = Profile { processes: Processes::Single, refused_errno: denied, ..python_profile() };
    check(&single, thread, "ok", "can't start new thread");
    check(&single, child, "ok", "EACCES");
    let loopback = Profile { sockets: Sockets::Loopback, ..python_profile() };
    let server =
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('ok')";
    check(&loopback, server, "ok", "ok");
    check(&loopback, "call(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262)", "ok", "EPERM");
    let none = Profile { sockets: Sockets::None, refused_errno: denied, ..python_profile() };
    check(&none, "call(socket.socketpair)", "ok", "EACCES");
    let watched = Profile { memfd: false, sysv_shm: false, affinity: false, ..python_profile() };
    check(&watched, "call(os.memfd_create, 'm')", "ok", "EPERM");
    check(&watched, "call(os.sched_setaffinity, 0, os.sched_getaffinity(0))", "ok", "EPERM");
    let pipe = "import fcntl; r, w = os.pipe(); call(fcntl.fcntl, w, fcntl.F_SETPIPE_SZ, 1 << 18)";
    check(&watched, pipe, "ok", "EPERM");
}

/// Executes `/bin/sh` once as `wardian-init` would, by descriptor and with the empty path at the secret address,
/// then (`argv[3]`) tries again from what was executed.
const ONCE: &str = r#"
import ctypes, os, sys
filter, secret = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p] + [ctypes.c_long] * 5
MAP_FIXED_NOREPLACE_PRIVATE_ANONYMOUS = 0x100022
assert libc.mmap(secret & ~0xfff, 4096, 3, MAP_FIXED_NOREPLACE_PRIVATE_ANONYMOUS, -1, 0) == secret & ~0xfff
os.dup2(os.open(os.path.realpath(sys.executable), os.O_PATH), 200, inheritable=False)
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
code = open(filter, "rb").read()
assert libc.prctl(38, 1, 0, 0, 0) == 0
seccomp, execveat = map(int, sys.argv[3:5])
assert libc.syscall(seccomp, 1, 0, ctypes.byref(Program(len(code) // 8, code))) == 0
words = [b"python3", b"-I", b"-c", sys.argv[5].encode()]
args = (ctypes.c_char_p * 5)(*words, None)
libc.syscall(execveat, 200, ctypes.c_void_p(secret), args, (ctypes.c_char_p * 1)(None), 0x1000)
sys.exit("not executed: " + os.strerror(ctypes.get_errno()))
"#;

const SECRET: u64 = 0x2a5c_1234_5678;

/// What a program comes to that was executed once and runs `body`.
fn execute_once(body: &str) -> Output {
    let profile = Profile { exec: Exec::Once { fd: 200, path: SECRET }, ..python_profile() };
    let filter = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&filter, compile(&profile, Arch::current()).to_bytes()).unwrap();
    let prelude = format!(
        "import ctypes, errno, os, subprocess, sys\n\
         def again(path):\n    \
             libc = ctypes.CDLL(None, use_errno=True)\n    \
             args = (ctypes.c_char_p * 4)(b'sh', b'-c', b'echo escaped', None)\n    \
             libc.syscall({}, 200, path, args, None, 0x1000)\n    \
             print(errno.errorcode[ctypes.get_errno()])\n",
        number_of("execveat")
    );
    let mut command = Command::new(PYTHON);
    command.args(["-I", "-S", "-c", ONCE]).arg(filter.path());
    command.args([SECRET.to_string(), number_of("seccomp").to_string(), number_of("execveat").to_string()]);
    command.arg(prelude + body).output().unwrap()
}

#[test]
fn a_program_is_executed_once() {
    use std::os::unix::process::ExitStatusExt;
    const SIGSYS: i32 = 31;
    if !is_there(PYTHON) {
        return;
    }
    let started = execute_once(
        "try: subprocess.run(['/bin/true'])\nexcept OSError as e: print(errno.errorcode[e.errno])",
    );
    assert_eq!(String::from_utf8_lossy(&started.stdout), "EPERM\n", "{started:?}");
    // An absolute path makes the kernel ignore the descriptor, so `again` would escape if only that were compared.
    let guessed = execute_once("again(b'/bin/sh')");
    assert_eq!((guessed.status.signal(), &*guessed.stdout), (Some(SIGSYS), &b""[..]), "{guessed:?}");
    // After the exec nothing is there, as this call of the right address shows.
    let unmapped = execute_once(&format!("again(ctypes.c_void_p({SECRET}))"));
    assert_eq!(String::from_utf8_lossy(&unmapped.stdout), "EFAULT\n", "{unmapped:?}");
}

#[test]
fn the_supervisor_is_told_and_answers() {
    let profile =
        Profile { refusal: Refusal::Notify, refused_errno: RefusedErrno::Eacces, ..python_profile() };
    let filter = compile(&profile, Arch::current()).to_bytes();
    let (send, listeners) = std::sync::mpsc::channel();
    // A filter binds its thread alone.
    let guest = std::thread::spawn(move || {
        wardian_sys::process::no_new_privs().unwrap();
        send.send(wardian_sys::seccomp::install_filter_with_listener(&filter).map(OwnedFd::from)).unwrap();
        rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None).map(drop)
    });
    let listener = match listeners.recv().unwrap() {
        Ok(listener) => listener,
        Err(wardian_sys::Errno::BUSY) => {
            skip("these tests run under another listener: notification");
            return;
        }
        Err(errno) => panic!("{errno:?}"),
    };
    let told = wardian_sys::seccomp::receive(listener.as_fd()).unwrap();
    assert_eq!(told.arch, Arch::current().audit());
    let refused = describe(&profile, Arch::current(), told.syscall.cast_unsigned(), &told.args).unwrap();
    let answer = wardian_sys::Errno(refused.errno.into());
    wardian_sys::seccomp::respond_errno(listener.as_fd(), told.id, answer).unwrap();
    assert_eq!((refused.syscall, refused.detail.as_str()), ("socket", "AF_INET6, SOCK_DGRAM"));
    assert_eq!(guest.join().unwrap(), Err(rustix::io::Errno::ACCESS));
}
