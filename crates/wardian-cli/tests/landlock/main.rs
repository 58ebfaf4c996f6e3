//! Level `landlock` through the real binary: hostile programs, each beside the same attempt where it must succeed.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod harness;
mod limits;
mod processes;

use harness::{Place, attempts, outside, run, unavailable};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

/// What a program may do to files of others: `argv[1]` is a directory with `file`, `victim` and `empty` in it.
const FILES: &str = r#"
d = sys.argv[1] + "/"
attempt("read", lambda: open(d + "file").read())
attempt("list", lambda: os.listdir(d))
attempt("append", lambda: open(d + "file", "a"))
attempt("truncate", lambda: os.truncate(d + "file", 0))
attempt("create", lambda: open(d + "new", "w"))
attempt("mkdir", lambda: os.mkdir(d + "made"))
attempt("symlink", lambda: os.symlink("x", d + "symlink"))
attempt("link in", lambda: os.link(d + "file", "linked"))
attempt("link out", lambda: (open("own", "w"), os.link("own", d + "own")))
attempt("mode", lambda: os.chmod(d + "file", 0o777))
attempt("mode by descriptor", lambda: os.chmod(os.open(d, os.O_PATH), 0o777))
attempt("times", lambda: os.utime(d + "file"))
attempt("owner", lambda: os.chown(d + "file", os.getuid(), os.getgid()))
attempt("attribute", lambda: os.setxattr(d + "file", "user.a", b"b"))
attempt("attributes", lambda: os.listxattr(d + "file"))
attempt("what an attribute says", lambda: os.getxattr(d + "file", "user.a"))
attempt("rename", lambda: os.rename(d + "victim", d + "gone"))
attempt("unlink", lambda: os.unlink(d + "file"))
attempt("rmdir", lambda: os.rmdir(d + "empty"))
"#;

fn with_files(name: &str) -> Place {
    let place = Place::new(name);
    std::fs::write(place.path("file"), "secret").unwrap();
    std::fs::write(place.path("victim"), "x").unwrap();
    std::fs::create_dir(place.path("empty")).unwrap();
    place
}

#[test]
fn files_of_others_can_be_neither_read_nor_changed() {
    if unavailable() {
        return;
    }
    let control = with_files("control");
    let free = outside(FILES, &[control.text()], Place::new("cwd").root());
    // Every file system of a temporary directory takes these; not all take attributes.
    for (name, (result, detail)) in &free {
        assert!(
            result == "ok"
                || ["mode by descriptor", "attribute", "attributes", "what an attribute says"]
                    .contains(&&**name),
            "{name}: {result} {detail}"
        );
    }
    let place = with_files("files");
    let before = std::fs::metadata(place.path("file")).unwrap();
    let report = run(&[], FILES, &[place.text()]);
    let seen = attempts(&report);
    assert_eq!(seen.len(), free.len());
    for (name, (result, _)) in &seen {
        assert!(["EACCES", "EPERM", "EXDEV", "EBADF", "ENOTSUP"].contains(&&**result), "{name}: {result}");
    }
    let after = std::fs::metadata(place.path("file")).unwrap();
    assert_eq!(
        (before.mode(), before.mtime_nsec(), before.len()),
        (after.mode(), after.mtime_nsec(), after.len())
    );
    assert_eq!(std::fs::read_dir(place.root()).unwrap().count(), 3);
}

#[test]
fn what_belongs_to_the_machine_and_the_caller_stays_closed() {
    if unavailable() {
        return;
    }
    let code = "for name in sys.argv[1:]:\n    attempt(name, lambda: os.listdir(name) if os.path.isdir(name) else open(name).read())";
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".into());
    let names =
        ["/etc/passwd", "/", "/etc", "/tmp", "/proc/self/status", "/proc/1/stat", "/sys", "/dev/shm", &home];
    let place = Place::new("machine");
    let free = outside(code, &names, place.root());
    for name in &names[..7] {
        assert_eq!(free[*name].0, "ok", "{name}");
    }
    for (name, (result, _)) in attempts(&run(&[], code, &names)) {
        assert!(["EACCES", "ENOENT"].contains(&&*result), "{name}: {result}");
    }
}

#[test]
fn no_network_and_nobody_elses_sockets() {
    if unavailable() {
        return;
    }
    let place = Place::new("sockets");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = UnixListener::bind(place.path("stream")).unwrap();
    let datagrams = UnixDatagram::bind(place.path("datagrams")).unwrap();
    for name in ["stream", "datagrams"] {
        std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o777)).unwrap();
    }
    let hidden = format!("wardian-landlock-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(&hidden).unwrap();
    let unnamed = UnixListener::bind_addr(&abstract_name).unwrap();
    let code = r#"
import socket
d, port, hidden = sys.argv[1] + "/", int(sys.argv[2]), "\0" + sys.argv[3]
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port)))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("named", lambda: socket.socket(socket.AF_UNIX).connect(d + "stream"))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect(hidden))
attempt("pair", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", d + "datagrams"))
pair = socket.socketpair()
attempt("stream pair", lambda: pair[0].sendall(b"x"))
attempt("a name for a pair", lambda: pair[0].bind(hidden + "-taken"))
attempt("a path for a pair", lambda: pair[1].bind("taken"))
import array, fcntl, struct
def interfaces():
    room = array.array("B", bytes(4096))
    question = bytearray(struct.pack("iL", 4096, room.buffer_info()[0]))
    fcntl.ioctl(pair[0], 0x8912, question)
    return struct.unpack("iL", question)[0]
attempt("addresses of the host", interfaces)
attempt("interfaces of the host", lambda: fcntl.ioctl(pair[0], 0x8910, struct.pack("16si20x", b"", 1)))
"#;
    let port = tcp.local_addr().unwrap().port().to_string();
    let args = [place.text(), &port, &hidden];
    let control = outside(code, &args, place.root());
    for (name, (result, detail)) in &control {
        assert_eq!(result, "ok", "{name}: {detail}");
    }
    let seen = attempts(&run(&[], code, &args));
    assert_eq!(seen["stream pair"].0, "ok", "asyncio and multiprocessing use pairs");
    for name in seen.keys().filter(|name| *name != "stream pair") {
        assert_ne!(seen[name].0, "ok", "{name}");
    }
    assert_eq!(seen.len(), control.len());
    drop((named, datagrams, unnamed));
}

#[test]
fn shared_kernel_objects_are_refused() {
    if unavailable() {
        return;
    }
    let code = r#"
attempt("shm", lambda: call("shmget", 0x77617264, 4096, 0o1600))
attempt("sem", lambda: call("semget", 0x77617264, 1, 0o1600))
attempt("msg", lambda: call("msgget", 0x77617264, 0o1600))
attempt("inotify", lambda: call("inotify_init1", 0))
"#;
    let place = Place::new("ipc");
    let clean = "call('shmctl', call('shmget', 0x77617264, 4096, 0), 0, 0); call('semctl', call('semget', 0x77617264, 1, 0), 0, 0); call('msgctl', call('msgget', 0x77617264, 0), 0, 0)";
    for (name, (result, detail)) in outside(&format!("{code}{clean}"), &[], place.root()) {
        assert_eq!(result, "ok", "{name}: {detail}");
    }
    for (name, (result, _)) in attempts(&run(&[], code, &[])) {
        assert_eq!(result, "EPERM", "{name}");
    }
}

#[test]
fn a_directory_is_given_where_it_is() {
    if unavailable() {
        return;
    }
    let place = with_files("mount");
    std::fs::set_permissions(place.path("file"), PermissionsExt::from_mode(0o666)).unwrap();
    let mount = format!("src={0},dst={0}", place.text());
    let code = "attempt('read', lambda: open(sys.argv[1] + '/file').read())\nattempt('write', lambda: open(sys.argv[1] + '/file', 'a').write('!'))";
    let seen = attempts(&run(&["--mount", &mount], code, &[place.text()]));
    assert_eq!((&*seen["read"].0, &*seen["write"].0), ("ok", "EACCES"));
    let seen = attempts(&run(&["--mount", &format!("{mount},rw")], code, &[place.text()]));
    assert_eq!((&*seen["read"].0, &*seen["write"].0), ("ok", "ok"));
    assert_eq!(std::fs::read_to_string(place.path("file")).unwrap(), "secret!");
}

#[test]
fn programs_work_and_the_report_says_at_which_level() {
    if unavailable() {
        return;
    }
    let code = "import subprocess, tempfile, threading, asyncio, sqlite3\nasync def f(): await asyncio.sleep(0)\nasyncio.run(f())\nt = threading.Thread(target=lambda: None); t.start(); t.join()\ntempfile.mkdtemp()\nsubprocess.run([sys.executable, '-c', 'pass'], check=True)\nopen('out.txt', 'w').write('out')\nprint(os.getcwd() == os.path.dirname(__file__), os.path.expanduser('~') != '/')";
    let out = Place::new("out");
    let report = run(&["--collect", "*.txt", "--out", out.text()], code, &[]);
    assert_eq!(
        (&report["verdict"], &report["stdout"]["text"]),
        (&"ok".into(), &"True True\n".into()),
        "{report:#}"
    );
    assert_eq!(std::fs::read_to_string(out.path("out.txt")).unwrap(), "out");
    assert_eq!(report["level"], "landlock");
    let by = |what: &str, field: &str| report["enforced_by"][what][field].as_str().unwrap_or("").to_owned();
    assert_eq!((by("files", "layer"), by("files", "level")), ("landlock".into(), "enforced".into()));
    assert_eq!(by("processes_visible", "level"), "absent");
    assert_eq!(by("disk", "level"), "watched");
    assert!(
        report["enforced_by"]
            .as_object()
            .unwrap()
            .values()
            .all(|by| !by["layer"].as_str().unwrap().ends_with("-ns"))
    );
    for policy in ["strict", "judge", "codejail"] {
        let report = run(&["--policy", policy], "print('hello')", &[]);
        assert_eq!(
            (&report["verdict"], &report["stdout"]["text"]),
            (&"ok".into(), &"hello\n".into()),
            "{policy}: {report:#}"
        );
    }
}

#[test]
fn numpy_computes() {
    if unavailable() {
        return;
    }
    let report = run(&[], "import numpy\nprint(numpy.ones((300, 300)).dot(numpy.ones(300)).sum())", &[]);
    if report["stderr"]["text"].as_str().unwrap().contains("No module named 'numpy'") {
        return harness::skip("numpy is not installed");
    }
    assert_eq!(report["stdout"]["text"], "90000.0\n", "{report:#}");
}

#[test]
fn what_the_level_cannot_do_is_refused_with_a_reason() {
    if unavailable() {
        return;
    }
    for (options, reason) in [
        (&["--network", "loopback"][..], "loopback"),
        (&["--mount", "src=/etc,dst=/data"], "stay where they are"),
        (&["--require", "proc"], "/proc"),
    ] {
        let (report, stderr) = harness::refused(options, &[]);
        assert!(stderr.contains(reason) && stderr.contains("hint:"), "{stderr}");
        assert_eq!(report["verdict"], "sandbox_error");
    }
    let (_, stderr) = harness::refused(&[], &[("WARDIAN_TEST_CAP", "landlock:5")]);
    assert!(stderr.contains("ABI 6") && stderr.contains("Linux 6.12"), "{stderr}");
    let (_, stderr) = harness::refused(&[], &[("TMPDIR", "/no/such")]);
    assert!(stderr.contains("/no/such") && stderr.contains("hint: TMPDIR"), "{stderr}");
}
