//! Kernel objects of the host, and what the caller's process knows.

use crate::control::{outside, python, succeeds};
use crate::guest;
use crate::harness::{Directory, Run, skip};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

const GUEST: &str = guest!("secrets.py");

/// A process of the host that holds sockets, shared memory, semaphores and messages that everybody may use.
struct Planted {
    holder: Child,
    args: Vec<String>,
    _directory: Directory,
}

impl Planted {
    fn new() -> Planted {
        let directory = Directory::new();
        // Several tests of one process plant at once.
        static PLANTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = PLANTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pid = std::process::id() * 16 + number;
        let args = vec![
            format!("unix={}/socket", directory.path.display()),
            format!("abstract=wardian-hostile-{pid}"),
            format!("shm={}", 0x5741_0000 + pid % 60_000),
            format!("sem={}", 0x5742_0000 + pid % 60_000),
            format!("msg={}", 0x5743_0000 + pid % 60_000),
            format!("posix=hostile-{pid}"),
        ];
        let mut command = python();
        command.args(["-c", include_str!("guests/plant.py")]).args(&args);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "planted\n");
        Planted { holder, args, _directory: directory }
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

#[test]
fn kernel_objects_of_the_host_are_out_of_reach() {
    let planted = Planted::new();
    let args: Vec<_> = planted.args.iter().map(String::as_str).collect();
    let control = outside(GUEST, &args);
    let names = [
        "unix socket",
        "abstract socket",
        "System V memory",
        "System V semaphore",
        "System V messages",
        "POSIX memory",
    ];
    for name in names {
        succeeds(&control, name);
    }
    for policy in ["python", "strict", "codejail"] {
        let run = planted
            .args
            .iter()
            .fold(Run::new(GUEST).policy(policy).times("20s"), |run, arg| run.arg(arg.as_str()));
        let seen = run.run().expect("ok").attempts();
        for name in names {
            crate::control::refused(&seen, name);
        }
        let (result, names) = &seen["names in /dev/shm"];
        assert!(result != "ok" || names == "[]", "{policy}: {names}");
    }
}

#[test]
fn a_unix_socket_mounted_read_only_is_still_out_of_reach() {
    let planted = Planted::new();
    let socket = planted.args[0].strip_prefix("unix=").unwrap();
    let directory = std::path::Path::new(socket).parent().unwrap().display().to_string();
    let code = "import os, socket\nassert 'socket' in os.listdir('/given')\ntry: socket.socket(socket.AF_UNIX).connect('/given/socket'); print('connected')\nexcept OSError as error: print('refused', error.errno)";
    let outcome = Run::new(code).option("--mount", &format!("src={directory},dst=/given")).run().expect("ok");
    assert!(outcome.stdout().starts_with("refused"), "{}", outcome.summary());
}

#[test]
fn the_callers_environment_stays_outside() {
    let code = "import os\nprint(sorted(os.environ.items()))\ntry: print(open('/proc/self/environ').read())\nexcept OSError: pass\ntry: print(open('/proc/1/environ').read())\nexcept OSError: pass";
    let mut control = python();
    let control = control.args(["-c", code]).env("SECRET", "of the caller").output().unwrap();
    assert!(String::from_utf8_lossy(&control.stdout).contains("of the caller"));
    for policy in ["python", "strict", "judge", "codejail"] {
        let run = Run::new(code).policy(policy).times("20s").env("SECRET", "of the caller");
        let outcome = run.env("LD_PRELOAD_HINT", "of the caller").env("PYTHONPATH", "/of the caller").run();
        let outcome = outcome.expect("ok");
        assert!(!outcome.stdout().contains("of the caller"), "{policy}: {}", outcome.stdout());
        for name in ["'USER', 'root'", "'HOME', '/root'", "SSH_", "CARGO", "SUDO", "OLDPWD'", "hostile-"] {
            assert!(!outcome.stdout().contains(name), "{policy}: {name} in {}", outcome.stdout());
        }
    }
}

#[test]
fn host_name_user_and_directory_stay_outside() {
    let code = "import getpass, os, socket, sys\nprint(socket.gethostname(), os.uname().nodename, os.getcwd(), getpass.getuser(), os.getuid(), os.getgid(), os.getpid(), os.getppid(), sys.argv, sys.path, os.getgroups(), os.path.expanduser('~'))\ntry: print(os.getlogin())\nexcept OSError: pass";
    let outcome = Run::new(code).run().expect("ok");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let seen = outcome.stdout();
    assert!(seen.starts_with("wardian wardian /box guest 1000 1000 "), "{seen}");
    assert!(host.trim() == "wardian" || !seen.contains(host.trim()), "{seen}");
    assert!(!seen.contains("hostile-"), "{seen}");
    let pid: u32 = seen.split(' ').nth(6).unwrap().parse().unwrap();
    assert!(pid > 1 && pid < 100, "its process id comes from a namespace of its own: {seen}");
}

#[test]
fn mounts_show_no_more_of_the_host_than_the_interpreter_implies() {
    let code = "import os\nfor name in ('mountinfo', 'mounts', 'mountstats'):\n    for who in ('self', '1', str(os.getpid())):\n        try: print(open('/proc/%s/%s' % (who, name)).read())\n        except OSError: pass";
    let outcome = Run::new(code).run().expect("ok");
    let seen = outcome.stdout();
    if seen.is_empty() {
        return skip("no mountinfo inside");
    }
    for leak in
        ["hostile-", "/sys/fs/cgroup", "/var/", "/run", "lowerdir", "workdir", "docker", "overlay2", "memfd"]
    {
        assert!(!seen.contains(leak), "{leak} in {seen}");
    }
    for line in seen.lines().filter(|line| line.contains(" - ")) {
        let words: Vec<_> = line.split(' ').collect();
        let (root, target) = (words[3], words[4]);
        let synthetic = root == "/"
            || target.starts_with("/box")
            || target.starts_with("/dev/")
            || target == "/tmp"
            || target == "/home/guest";
        assert!(synthetic || target.ends_with(root) || root.ends_with(target), "{line}");
    }
}

#[test]
fn the_cgroup_of_the_caller_stays_outside() {
    let code = "for name in ('cgroup', 'cpuset'):\n    try: print(open('/proc/self/' + name).read())\n    except OSError: pass";
    let paths = |text: &str| -> Vec<String> {
        text.split_whitespace().filter_map(|line| line.rsplit(':').next()).map(str::to_owned).collect()
    };
    let control = python().args(["-c", code]).output().unwrap();
    if paths(&String::from_utf8_lossy(&control.stdout)).iter().all(|path| path == "/") {
        skip("this test runs in the root of every cgroup hierarchy: there is nothing to hide");
    }
    for line in Run::new(code).run().expect("ok").stdout().split_whitespace() {
        let path = line.rsplit(':').next().unwrap();
        // Without a cpuset controller of its own the group has an ancestor's, and of one outside the namespace the
        // kernel shows how far up it is, and no name.
        let ancestor = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| part == ".."));
        assert!(path == "/" || (ancestor && !line.contains(':')), "{line}");
    }
}

#[test]
fn nothing_persists_between_runs() {
    let write = "import os\nfor directory in ('/box', '/tmp', '/home/guest', '/dev/shm'):\n    open(directory + '/left', 'w').write('x')\nimport ctypes\nprint(ctypes.CDLL(None).shmget(0x5744, 4096, 0o1666) >= 0)";
    Run::new(write).run().expect("ok");
    let look = "import os\nfor directory in ('/box', '/tmp', '/home/guest', '/dev/shm'):\n    print(os.path.exists(directory + '/left'))\nimport ctypes\nprint(ctypes.CDLL(None).shmget(0x5744, 0, 0) >= 0)";
    let outcome = Run::new(look).run().expect("ok");
    assert_eq!(outcome.stdout(), "False\n".repeat(5));
}

#[test]
fn two_sandboxes_at_once_share_nothing() {
    let planter = "import os, time, ctypes, socket\nopen('/dev/shm/shared', 'w').write('x'); open('/tmp/shared', 'w').write('x')\nctypes.CDLL(None).shmget(0x5745, 4096, 0o1666)\ntry:\n    s = socket.socket(socket.AF_UNIX); s.bind('\\0shared-by-two'); s.listen()\nexcept OSError: pass\ntime.sleep(3)";
    let looker = "import os, ctypes, socket\nprint(os.path.exists('/dev/shm/shared'), os.path.exists('/tmp/shared'), ctypes.CDLL(None).shmget(0x5745, 0, 0) >= 0)\ntry:\n    s = socket.socket(socket.AF_UNIX); s.connect('\\0shared-by-two'); print('connected')\nexcept OSError: print('refused')\ncount = 0\nfor pid in range(2, 5000):\n    if pid in (os.getpid(),): continue\n    try: os.kill(pid, 0); count += 1\n    except ProcessLookupError: pass\n    except PermissionError: count += 1\nprint(count)";
    let first = Run::new(planter).wall("10s").start();
    std::thread::sleep(std::time::Duration::from_millis(800));
    let second = Run::new(looker).run().expect("ok");
    assert_eq!(second.stdout(), "False False False\nrefused\n0\n");
    first.finish().expect("ok");
}
