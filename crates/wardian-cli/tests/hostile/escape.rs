//! Ways out of the namespaces and to more rights.

use crate::control::{allowed, outside, refused, succeeds};
use crate::guest;
use crate::harness::{Run, is_root};

const GUEST: &str = guest!("escape.py");

#[test]
fn no_namespace_mount_trace_or_privilege() {
    let control = outside(GUEST, &[]);
    for name in ["plain clone", "unshare nothing"] {
        succeeds(&control, name);
    }
    if is_root() {
        for space in ["NEWNS", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET", "NEWCGROUP"] {
            succeeds(&control, &format!("unshare {space}"));
            succeeds(&control, &format!("clone {space}"));
        }
    }
    let seen = Run::new(GUEST).wall("20s").run().expect("ok").attempts();
    allowed(&seen, "plain clone");
    let fine = ["plain clone", "unshare nothing", "seccomp mode", "prctl keep capabilities"];
    let escaped: Vec<_> =
        seen.iter().filter(|(name, (result, _))| result == "ok" && !fine.contains(&name.as_str())).collect();
    // A signal to init counts as refused when init did not take it: the report below says that it lived.
    let escaped: Vec<_> = escaped
        .into_iter()
        .filter(|(name, _)| !["kill init", "stop init"].contains(&name.as_str()))
        .collect();
    assert!(escaped.is_empty(), "{escaped:#?}");
    assert!(seen["seccomp mode"].1.contains("Seccomp:\\t2"), "{:?}", seen["seccomp mode"]);
    for name in
        ["mount tmpfs", "chroot", "ptrace init", "setuid 0", "capabilities", "new privileges", "TIOCSTI"]
    {
        refused(&seen, name);
    }
}

#[test]
fn strict_and_codejail_refuse_the_same() {
    let names = ["mount tmpfs", "chroot", "ptrace init", "setuid 0", "unshare NEWUSER"];
    let code = format!(
        "{}\nattempt('mount tmpfs', lambda: syscall('mount', b'x', b'/tmp', b'tmpfs', 0, None))\nattempt('chroot', os.chroot, '/')\nattempt('ptrace init', lambda: syscall('ptrace', 16, 1, 0, 0))\nattempt('setuid 0', os.setuid, 0)\nattempt('unshare NEWUSER', lambda: syscall('unshare', 0x10000000))",
        crate::harness::LIBRARY
    );
    for policy in ["strict", "judge", "codejail"] {
        let outcome = Run::new(&*code).policy(policy).times("20s").run().expect("ok");
        for name in names {
            refused(&outcome.attempts(), name);
        }
    }
}

#[test]
fn init_survives_every_signal() {
    let code = "import os, time\nfor n in range(1, 65):\n    try: os.kill(1, n)\n    except OSError: pass\ntime.sleep(0.2)\nprint('end')";
    let outcome = Run::new(code).run().expect_for("ok", "exit");
    assert_eq!(outcome.stdout(), "end\n");
}

#[test]
fn killing_everybody_kills_only_itself() {
    let code = "import os, signal, time\nfor _ in range(3):\n    if not os.fork(): time.sleep(60)\nos.kill(-1, signal.SIGKILL)\nprint('alive')";
    let outcome = Run::new(code).wall("10s").run().expect_for("ok", "exit");
    assert_eq!(outcome.stdout(), "alive\n");
    assert!(outcome.elapsed.as_secs() < 5, "{}", outcome.summary());
}

#[test]
fn signals_to_host_processes_by_number_miss() {
    let mut victim = crate::control::python().args(["-c", "import time; time.sleep(30)"]).spawn().unwrap();
    let code = "import os, sys\nfor pid in range(2, 70000):\n    if pid != os.getpid():\n        try: os.kill(pid, 9)\n        except OSError: pass\nprint('tried')";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.stdout(), "tried\n");
    assert!(victim.try_wait().unwrap().is_none(), "a host process was killed");
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn set_id_programs_of_the_interpreters_trees_gain_nothing() {
    let code = "import os\nfound = []\nfor top in ('/usr', '/lib', '/bin', '/opt', '/lib64'):\n    for directory, _, names in os.walk(top):\n        flags = os.statvfs(directory).f_flag\n        if not flags & os.ST_NOSUID: found.append(directory)\nfor directory in ('/', '/box', '/tmp', '/dev/shm', '/proc', '/etc'):\n    if not os.statvfs(directory).f_flag & os.ST_NOSUID: found.append(directory)\nprint(found[:5])\nprint([d for d in ('/box', '/tmp', '/usr', '/etc') if not os.statvfs(d).f_flag & os.ST_NODEV])";
    let outcome = Run::new(code).wall("20s").run().expect("ok");
    assert_eq!(outcome.stdout(), "[]\n[]\n");
}

#[test]
fn the_limits_of_init_are_its_own() {
    // As an ordinary user init and program have one id, and prlimit asks for no more.
    let code = "import struct, time\nfor kind in range(16):\n    for limits in ((0, 0), (1, 1)):\n        try: syscall('prlimit64', 1, kind, ctypes.create_string_buffer(struct.pack('QQ', *limits)), 0); print('set', kind, flush=True)\n        except OSError: pass\ntime.sleep(1.5)\nos._exit(7)";
    let outcome = Run::with_library(code).wall("10s").run();
    assert_eq!(outcome.stdout(), "", "{}", outcome.summary());
    assert_eq!(outcome.expect_for("nonzero_exit", "exit").number("exit_code"), 7);
}

#[test]
fn init_cannot_be_slowed_moved_or_starved() {
    let code = "attempt('affinity', os.sched_setaffinity, 1, [0])\nattempt('priority', os.setpriority, os.PRIO_PROCESS, 1, 19)\nattempt('scheduler', os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))\nattempt('io priority', lambda: syscall('ioprio_set', 1, 1, 3 << 13))\nattempt('group', os.setpgid, 1, 0)\nfor name in ('oom_score_adj', 'timerslack_ns', 'comm', 'clear_refs'):\n    attempt(name, lambda: os.write(os.open('/proc/1/' + name, os.O_WRONLY), b'1'))";
    let seen = Run::with_library(code).run().expect("ok").attempts();
    let through: Vec<_> = seen.iter().filter(|(_, (result, _))| result == "ok").collect();
    assert!(through.is_empty(), "{through:#?}");
}
