//! Limits that are only watched, because there is no cgroup: what a look at processes does not see is refused, or counted
//! in another way.

use crate::harness::{Directory, Outcome, Run, attempts, skip};

/// Without a cgroup, whoever runs it.
fn watched(code: &str) -> Run {
    Run::with_library(code).env("WARDIAN_TEST_CAP", "cgroup:none")
}

#[track_caller]
fn ends_by_memory(code: &str) {
    let outcome = watched(code).memory("64M", "16M").wall("20s").run();
    let held = outcome.stdout().to_owned();
    let outcome = outcome.expect_for("memory_limit", "memory_watch");
    assert!(held.is_empty(), "it got all that it wanted: {}", outcome.summary());
}

fn used_cpu_us(outcome: &Outcome) -> u64 {
    outcome.number("usage.cpu_user_us") + outcome.number("usage.cpu_system_us")
}

const SHARED: &str = r#"
import mmap
def zero(flags):
    fd = os.open("/dev/zero", os.O_RDWR)
    mmap.mmap(fd, 1 << 20, flags)[0] = 1
attempt("shared", lambda: mmap.mmap(-1, 1 << 20))
attempt("shared, validated", lambda: mmap.mmap(-1, 1 << 20, 3 | mmap.MAP_ANONYMOUS))
attempt("private", lambda: mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
attempt("zero, shared", lambda: zero(mmap.MAP_SHARED))
attempt("zero to be written", lambda: open("/dev/zero", "wb").write(b"x"))
attempt("zero to be read", lambda: open("/dev/zero", "rb").read(10))
def file():
    with open("/tmp/file", "w+b") as f:
        f.truncate(1 << 20)
        mmap.mmap(f.fileno(), 1 << 20)[0] = 1
attempt("a file, shared", file)
"#;

#[test]
fn shared_memory_without_a_name_is_refused() {
    let control = Run::with_library(SHARED).run().expect("ok");
    let is_enforced = control.text("enforced_by.memory.level") == "enforced";
    let refused = ["shared", "zero, shared", "zero to be written"];
    let outcome = watched(SHARED).run().expect("ok");
    let seen = outcome.attempts();
    for name in refused {
        assert_ne!(seen[name].0, "ok", "{name}: {}", outcome.summary());
        if is_enforced {
            assert_eq!(control.attempts()[name].0, "ok", "{name}: {}", control.summary());
        }
    }
    assert_eq!(seen["shared, validated"].0, "EPERM", "{}", outcome.summary());
    for name in ["private", "zero to be read", "a file, shared"] {
        assert_eq!(seen[name].0, "ok", "{name}: {}", outcome.summary());
    }
    assert_eq!(outcome.denied("mmap"), 2, "{}", outcome.summary());
}

#[test]
fn multiprocessing_shares_memory_by_files() {
    let code = r#"
import multiprocessing
from multiprocessing import shared_memory
def square(x): return x * x
value, array = multiprocessing.Value("i", 3), multiprocessing.Array("d", range(3))
block = shared_memory.SharedMemory(create=True, size=4096)
block.buf[0] = 7
with multiprocessing.Pool(2) as pool: print(pool.map(square, range(4)), value.value, list(array), block.buf[0])
block.close(); block.unlink()
"#;
    let outcome = watched(code).run().expect("ok");
    assert_eq!(outcome.stdout(), "[0, 1, 4, 9] 3 [0.0, 1.0, 2.0] 7\n");
}

/// Without Landlock nothing can keep a device from being written to.
#[test]
fn without_landlock_there_is_no_device_of_zeroes() {
    let list = "print(sorted(os.listdir('/dev')))";
    let with = Run::with_library(list).env("WARDIAN_TEST_CAP", "cgroup:none").run().expect("ok");
    let without =
        Run::with_library(list).env("WARDIAN_TEST_CAP", "cgroup:none,landlock:0").run().expect("ok");
    assert!(with.stdout().contains("'zero'"), "{}", with.summary());
    assert!(!without.stdout().contains("'zero'"), "{}", without.summary());
    assert!(without.stdout().contains("'null'"), "{}", without.summary());
}

#[test]
fn a_device_of_zeroes_is_not_mounted_where_it_could_be_written_to() {
    let directory = Directory::new();
    let policy = directory.path.join("policy.toml");
    for (mounts, verdict) in [
        ("[[files.mounts]]\nsrc = '/dev/zero'\ndst = '/dev/zero'\ntype = 'bind'\nwritable = true\n", "ok"),
        ("[[files.mounts]]\nsrc = '/dev/zero'\ndst = '/zero'\ntype = 'bind'\nwritable = true\n", "ok"),
        (
            "[[files.mounts]]\ndst = '/d'\ntype = 'tmpfs'\nwritable = true\n[[files.mounts]]\nsrc = '/dev/zero'\ndst = '/d/zero'\ntype = 'bind'\n",
            "sandbox_error",
        ),
        ("[[files.mounts]]\nsrc = '/dev/zero'\ndst = '/tmp/zero'\ntype = 'bind'\n", "sandbox_error"),
    ] {
        let dev = if mounts.contains("'/dev/zero'\ntype") { "dev = false\n" } else { "" };
        std::fs::write(&policy, format!("extends = 'python'\nname = 'zero'\n[files]\n{dev}{mounts}"))
            .unwrap();
        let code = "import mmap\nfor path in '/dev/zero', '/zero':\n    if os.path.exists(path):\n        try: mmap.mmap(os.open(path, os.O_RDWR), 4096)\n        except OSError as error: print(error.errno)";
        let outcome = watched(code).policy(policy.to_str().unwrap()).run().expect(verdict);
        if verdict == "ok" {
            let lines: Vec<_> = outcome.stdout().lines().collect();
            assert!(!lines.is_empty() && lines.iter().all(|line| *line == "13"), "{}", outcome.summary());
        }
    }
}

/// Descriptors are shown to who may look into a process: not after it has executed what it may not read.
#[test]
fn sockets_of_who_cannot_be_looked_into_count() {
    let hidden = r#"
import shutil, sys
code = '''
import os, socket, time
for _ in range(9): os.fork() if os.getpid() == FIRST else None
held = []
try:
    while True:
        pair = socket.socketpair(); held.append(pair)
        for end in pair:
            end.setblocking(False)
            try:
                while True: end.send(b'x' * 32768)
            except BlockingIOError: pass
except OSError: pass
time.sleep(3)
print('held', flush=True)
'''.replace('FIRST', str(os.getpid()))
program = os.open('/tmp/program', os.O_WRONLY | os.O_CREAT, 0o111)
os.write(program, open(os.path.realpath(sys.executable), 'rb').read())
os.close(program)
os.execv('/tmp/program', [sys.executable, '-c', code])
"#;
    ends_by_memory(hidden);
}

#[test]
fn sockets_that_nobody_has_accepted_count() {
    ends_by_memory(
        "import socket, time\nlistener = socket.socket(socket.AF_UNIX); listener.bind('/tmp/l'); listener.listen(4000)\nfor _ in range(2000):\n    client = socket.socket(socket.AF_UNIX); client.setblocking(False); client.connect('/tmp/l')\n    try:\n        while True: client.send(b'x' * 32768)\n    except BlockingIOError: pass\n    client.close()\ntime.sleep(3)\nprint('held')",
    );
}

/// A byte that is spliced keeps its page, which the file has lost since.
#[test]
fn pages_do_not_hide_in_sockets() {
    let code = r#"
import socket
a, b = socket.socketpair()
near, far = os.pipe()
with open("/tmp/page", "w+b") as file:
    file.write(b"x" * 4096); file.flush()
    attempt("splice", lambda: libc.syscall(NR["splice"], file.fileno(), None, far, None, 1, 0) == 1 or 1 / 0)
    attempt("sendfile", lambda: os.sendfile(a.fileno(), file.fileno(), 0, 1))
    file.seek(0)
    attempt("socket.sendfile", lambda: a.sendfile(file) == 4096 or 1 / 0)
import shutil
attempt("copy", lambda: os.path.getsize(shutil.copyfile("/tmp/page", "/tmp/copy")) == 4096 or 1 / 0)
"#;
    let outcome = watched(code).run().expect("ok");
    let seen = attempts(outcome.stdout());
    assert_ne!(seen["splice"].0, "ok", "{}", outcome.summary());
    assert_eq!(seen["sendfile"].0, "EINVAL", "{}", outcome.summary());
    for name in ["socket.sendfile", "copy"] {
        assert_eq!(seen[name].0, "ok", "{name}: {}", outcome.summary());
    }
}

#[test]
fn files_in_every_file_system_in_memory_count() {
    let directory = Directory::new();
    let policy = directory.path.join("policy.toml");
    let text = "extends = 'python'\nname = 'tm'\n[limits]\nmemory = '64M'\ndisk = '16M'\n[[files.mounts]]\ndst = '/one'\ntype = 'tmpfs'\nwritable = true\nsize = '600M'\n[[files.mounts]]\ndst = '/two'\ntype = 'tmpfs'\nwritable = true\nsize = '600M'\n";
    std::fs::write(&policy, text).unwrap();
    let write = |counts: &str| {
        let code = format!(
            "import time\nfor place, count in zip(('/one', '/two'), ({counts})):\n    for number in range(count):\n        open(f'{{place}}/{{number}}', 'wb').write(bytes(1 << 20))\ntime.sleep(0.5)\nprint('wrote')"
        );
        watched(&code).policy(policy.to_str().unwrap()).run()
    };
    assert_eq!(write("10, 10").expect("ok").stdout(), "wrote\n");
    for counts in ["300, 0", "0, 300", "40, 40"] {
        write(counts).expect_for("memory_limit", "memory_watch");
    }
}

/// Children that live shorter than two looks are apart, and whose time their parent does not inherit.
#[test]
fn short_children_that_nobody_waits_for_are_charged() {
    let code = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nuntil = float(sys.argv[1])\nwhile True:\n    if not os.fork():\n        while time.process_time() < until: pass\n        os._exit(0)\n    try: os.wait()\n    except OSError: pass";
    for life in ["0.002", "0.015"] {
        let run =
            watched(&format!("import sys, time\n{code}")).arg(life).option("--cpu-time", "1s").wall("30s");
        let outcome = run.run().expect_for("time_limit", "cpu_time");
        assert!(outcome.number("usage.wall_us") < 12_000_000, "{life}: {}", outcome.summary());
        assert_eq!(outcome.text("usage_source.cpu_user_us"), "sampled", "{}", outcome.summary());
    }
}

/// The same children, waited for: they are charged what they use.
#[test]
fn short_children_that_are_waited_for_may_use_all_there_is() {
    let code = "import resource, sys, time\nuntil = float(sys.argv[1])\nused = 0\nwhile used < 1.7:\n    for _ in range(2):\n        if not os.fork():\n            while time.process_time() < until: pass\n            os._exit(0)\n    for _ in range(2): os.wait()\n    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) + time.process_time()\nprint('done')";
    for life in ["0.002", "0.015", "0.06"] {
        let outcome = watched(code).arg(life).option("--cpu-time", "2s").wall("30s").run().expect("ok");
        assert_eq!(outcome.stdout(), "done\n");
        assert!(used_cpu_us(&outcome) < 2_000_000, "{}", outcome.summary());
    }
}

/// Exact memory is asked for under a lock that a program can hold: what limits time does not wait for it.
#[test]
fn mappings_that_change_all_the_time_do_not_move_the_limit_of_time() {
    let code = r#"
import ctypes, mmap, threading
libc = ctypes.CDLL(None)
shared = mmap.mmap(-1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, 40 << 20, 4096): shared[at] = 1
for _ in range(5):
    if not os.fork(): break
PAGES = 40000
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
many = libc.mmap(None, PAGES * 4096, 1, 0x4022, -1, 0)
def change():
    while True:
        libc.mprotect(many, PAGES * 4096, 1)
        for page in range(0, PAGES, 2): libc.mprotect(many + page * 4096, 4096, 3)
def fork():
    while True:
        child = libc.fork()
        if child == 0: libc._exit(0)
        libc.waitpid(child, None, 0)
for _ in range(2): threading.Thread(target=fork).start()
change()
"#;
    let outcome = watched(code).memory("64M", "16M").wall("3s").option("--cpu-time", "30s").run();
    let reason = outcome.text("reason").to_owned();
    let wall = outcome.number("usage.wall_us");
    // It may as well be told that its memory cannot be counted.
    assert!(["wall_time", "memory_watch"].contains(&reason.as_str()), "{}", outcome.summary());
    assert!(wall < 3_150_000, "{}", outcome.summary());
}

/// Others that share pages keep a walk of page tables busy, while one process grows.
#[test]
fn one_process_alone_cannot_grow_beyond_the_limit_while_the_rest_is_counted() {
    let code = r#"
import ctypes, mmap, threading, time
libc = ctypes.CDLL(None)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
shared = mmap.mmap(-1, 60 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, 60 << 20, 4096): shared[at] = 1
place = ctypes.addressof(ctypes.c_char.from_buffer(shared))
for _ in range(12):
    if not os.fork():
        os.nice(15)
        def change():
            while True:
                for access in (1, 3): libc.mprotect(place, 60 << 20, access)
        threading.Thread(target=change, daemon=True).start()
        time.sleep(20); os._exit(0)
time.sleep(0.3)
held = [b"x" * (8 << 20) for _ in range(100)]
print("held")
"#;
    let run = watched(code).memory("128M", "16M").wall("10s").option("--cpu-time", "60s");
    let outcome = run.run().expect_for("memory_limit", "memory_watch");
    assert_eq!(outcome.stdout(), "", "{}", outcome.summary());
    let peak = outcome.number("usage.memory_peak_bytes");
    assert!(peak < 400 << 20, "{peak}: {}", outcome.summary());
}

/// A child of `vfork` has its parent's memory, of those that end together each is for a moment the last, and a mapped file
/// is in memory once.
#[test]
fn what_shows_more_than_once_counts_once() {
    let vfork = r#"
import subprocess, time
from concurrent.futures import ThreadPoolExecutor
held = bytearray(90 << 20)
end = time.monotonic() + 2
with ThreadPoolExecutor(4) as pool:
    while time.monotonic() < end:
        assert not any(pool.map(lambda _: subprocess.run([sys.executable, "-S", "-c", ""]).returncode, range(8)))
print("done")
"#;
    let ending = r#"
import multiprocessing, time
held = bytearray(90 << 20)
fork = multiprocessing.get_context("fork")
for _ in range(3):
    workers = [fork.Process(target=time.sleep, args=(0.2,)) for _ in range(10)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
print("done")
"#;
    let mapped = r#"
import mmap, time
with open("/tmp/file", "w+b") as file:
    file.truncate(90 << 20)
    held = mmap.mmap(file.fileno(), 0)
for at in range(0, 90 << 20, 4096): held[at] = 1
time.sleep(0.3)
print("done")
"#;
    for code in [vfork, ending, mapped] {
        let outcome = watched(code).memory("160M", "120M").wall("20s").option("--cpu-time", "60s").run();
        assert_eq!(outcome.expect("ok").stdout(), "done\n");
    }
}

/// Level `landlock` shows nothing of the host's processes.
#[test]
fn the_same_at_level_landlock() {
    let python = "/usr/bin/python3.11";
    let abi = wardian::host::Host::detect().landlock_abi;
    if abi < 6 || !std::path::Path::new(python).exists() {
        return skip("level landlock needs Landlock ABI 6 and /usr/bin/python3.11");
    }
    let at_level = |code: &str| {
        watched(code).option("--level", "landlock").option("--python", python).option("--wall", "20s")
    };
    let outcome = at_level(SHARED).run().expect("ok");
    let seen = outcome.attempts();
    for name in ["shared", "shared, validated"] {
        assert_eq!(seen[name].0, "EPERM", "{}", outcome.summary());
    }
    for name in ["zero, shared", "zero to be written"] {
        assert_eq!(seen[name].0, "EACCES", "{}", outcome.summary());
    }
    assert_eq!(seen["zero to be read"].0, "ok", "{}", outcome.summary());
    let clocks = "import time\nfor name, clock in ('process', ((~PID) << 3) | 2), ('itself', ((~0) << 3) | 2), ('thread', time.CLOCK_THREAD_CPUTIME_ID):\n    attempt(name, lambda: time.clock_gettime(clock))";
    let of_us = clocks.replace("PID", &std::process::id().to_string());
    let seen = at_level(&of_us).run().expect("ok").attempts();
    assert_eq!(seen["process"].0, "EINVAL");
    assert_eq!((seen["itself"].0.as_str(), seen["thread"].0.as_str()), ("ok", "ok"));
    let outside = std::process::Command::new(python)
        .args(["-c", &format!("{}\n{of_us}", crate::harness::LIBRARY)])
        .output()
        .unwrap();
    let outside = attempts(&String::from_utf8_lossy(&outside.stdout));
    assert_eq!(outside["process"].0, "ok", "{outside:?}");
}
