//! The memory limit holds for the whole tree, however the memory is taken.

use crate::harness::{OWN_MEMORY, Outcome, Run, skip};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: u64 = 128 << 20;

/// One at a time: together they would take more than the machine may have.
static ALONE: Mutex<()> = Mutex::new(());

fn eats(code: &str) -> Outcome {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Run::with_library(code).memory("128M", "64M").wall("8s").run()
}

/// How far watched memory may overrun, where no cgroup holds it: sockets count as if they were full, and on a busy machine a
/// look at thousands of them takes its time.
fn check_peak(outcome: &Outcome) {
    let enforced = outcome.text("enforced_by.memory.level") == "enforced";
    let bound = if enforced { LIMIT + (4 << 20) } else { 8 * LIMIT };
    let peak = outcome.number("usage.memory_peak_bytes");
    assert!(peak <= bound, "{peak}: {}", outcome.summary());
}

fn ends_by_memory(code: &str) -> Outcome {
    let outcome = eats(code).expect("memory_limit");
    let reason = outcome.text("reason").to_owned();
    assert!(["oom_kill", "memory_watch"].contains(&reason.as_str()), "{}", outcome.summary());
    check_peak(&outcome);
    let peak = outcome.number("usage.memory_peak_bytes");
    assert!(peak >= LIMIT - (16 << 20), "the peak shows that the limit was reached: {}", outcome.summary());
    assert!(outcome.text("message").to_lowercase().contains("memory"), "{}", outcome.text("message"));
    outcome
}

#[test]
fn touched_memory() {
    ends_by_memory("held = []\nwhile True: held.append(b'x' * (1 << 20))");
}

#[test]
fn one_huge_request_is_a_memory_error_or_a_limit_but_never_a_crash() {
    let outcome = eats("try: x = 'x' * 10**13\nexcept MemoryError: print('MemoryError')").expect("ok");
    assert_eq!(outcome.stdout(), "MemoryError\n");
    let outcome = eats("x = 'x' * 10**10");
    let seen = (outcome.text("verdict"), outcome.text("stderr.text").contains("MemoryError"));
    assert!(seen == ("memory_limit", false) || seen == ("nonzero_exit", true), "{}", outcome.summary());
}

#[test]
fn untouched_address_space_is_free() {
    let outcome = eats(
        "import mmap\nm = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\nm[0] = 1\nprint('fine')",
    );
    assert_eq!(outcome.expect("ok").stdout(), "fine\n");
}

#[test]
fn shared_anonymous_mappings() {
    // Pages that a process discards stay in the memory that it shares.
    for touch in [": m[at] = 1", ": m[at] = 1; m.madvise(4, at, 4096)"] {
        let outcome = eats(&format!(
            "import mmap\nm = mmap.mmap(-1, 2 << 30)\nfor at in range(0, 2 << 30, 4096){touch}"
        ));
        if outcome.text("enforced_by.memory.level") == "enforced" {
            outcome.expect_for("memory_limit", "oom_kill");
        } else {
            assert_eq!(outcome.denied("mmap"), 1, "{}", outcome.summary());
        }
    }
}

#[test]
fn memory_files() {
    let outcome = eats(
        "fds = []\ntry:\n    while True:\n        fd = os.memfd_create('x'); fds.append(fd)\n        for _ in range(20): os.write(fd, b'x' * (1 << 20))\nexcept OSError as error: print(error.errno)",
    );
    check_peak(&outcome);
    assert_ne!(outcome.text("verdict"), "sandbox_error");
    if outcome.text("verdict") == "ok" {
        assert!(["1\n", "13\n", "38\n", "28\n", "12\n"].contains(&outcome.stdout()), "{}", outcome.summary());
    }
}

#[test]
fn scratch_files_count_as_memory_and_stop_at_the_disk_limit() {
    for directory in ["/box", "/tmp", "/dev/shm", "/home/guest"] {
        let code = format!(
            "fd = os.open('{directory}/big', os.O_CREAT | os.O_WRONLY)\ntotal = 0\ntry:\n    while True: total += os.write(fd, b'x' * (1 << 20))\nexcept OSError as error: print(error.errno, total)"
        );
        let outcome = eats(&code).expect("ok");
        let (error, total) = outcome.stdout().trim().split_once(' ').unwrap();
        assert!(["28", "27"].contains(&error), "{}", outcome.summary());
        assert!(total.parse::<u64>().unwrap() <= 64 << 20, "{}", outcome.summary());
        check_peak(&outcome);
    }
}

#[test]
fn scratch_and_heap_together() {
    ends_by_memory(
        "fd = os.open('/tmp/big', os.O_CREAT | os.O_WRONLY)\nfor _ in range(60): os.write(fd, b'x' * (1 << 20))\nheld = []\nwhile True: held.append(b'x' * (1 << 20))",
    );
}

#[test]
fn many_small_processes() {
    ends_by_memory(
        "import time\nfor _ in range(40):\n    if not os.fork():\n        held = bytearray(os.urandom(6 << 20))\n        time.sleep(30)\n        os._exit(0)\ntime.sleep(30)",
    );
}

#[test]
fn a_forked_copy_that_diverges() {
    ends_by_memory(
        "held = bytearray(80 << 20)\nfor at in range(0, 80 << 20, 4096): held[at] = 1\nos.fork()\nfor at in range(0, 80 << 20, 4096): held[at] = 2\nimport time\ntime.sleep(20)",
    );
}

#[test]
fn pipes_full_of_data() {
    let outcome = eats(
        "import fcntl\nheld = []\ntry:\n    while True:\n        near, far = os.pipe(); held.append((near, far))\n        os.set_blocking(far, False)\n        try: fcntl.fcntl(far, 1031, 1 << 20)\n        except OSError: pass\n        try:\n            while True: os.write(far, b'x' * 65536)\n        except BlockingIOError: pass\nexcept OSError as error: print(error.errno)",
    );
    check_peak(&outcome);
    assert_ne!(outcome.text("verdict"), "sandbox_error");
}

#[test]
fn sockets_full_of_data_and_descriptors_in_flight() {
    let outcome = eats(
        "import array, socket\nheld = []\ntry:\n    while True:\n        a, b = socket.socketpair(); held.append((a, b)); a.setblocking(False)\n        try: a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)\n        except OSError: pass\n        try:\n            while True: a.sendmsg([b'x' * 60000], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [b.fileno()]))])\n        except BlockingIOError: pass\nexcept OSError as error: print(error.errno)",
    );
    check_peak(&outcome);
    assert_ne!(outcome.text("verdict"), "sandbox_error");
}

#[test]
fn system_v_memory_without_a_process() {
    // Segments live on without anybody attached: only the namespace's end frees them.
    let outcome = eats(
        "import ctypes\nlibc.shmat.restype = ctypes.c_void_p\nfor _ in range(200):\n    id = libc.shmget(0, 4 << 20, 0o1600)\n    if id < 0: print('refused'); break\n    address = libc.shmat(id, None, 0)\n    ctypes.memset(address, 1, 4 << 20)\n    libc.shmdt(ctypes.c_void_p(address))\nelse: print('all')",
    );
    check_peak(&outcome);
    assert!(
        outcome.text("verdict") == "memory_limit" || outcome.stdout() == "refused\n",
        "{}",
        outcome.summary()
    );
}

#[test]
fn an_attempt_to_save_itself_from_the_oom_killer() {
    ends_by_memory(
        "try: open('/proc/self/oom_score_adj', 'w').write('-1000')\nexcept OSError: pass\nif os.fork():\n    try: open('/proc/self/oom_score_adj', 'w').write('-999')\n    except OSError: pass\nheld = []\nwhile True: held.append(b'x' * (1 << 20))",
    );
}

#[test]
fn a_handler_of_every_signal_around_the_oom_kill() {
    let outcome = ends_by_memory(
        "import signal, time\npid = os.fork()\nif pid:\n    # The parent survives its child and exits with a lie.\n    os.waitpid(pid, 0)\n    os._exit(0)\nheld = []\nwhile True: held.append(b'x' * (1 << 20))",
    );
    assert!(outcome.get("exit_code").is_null(), "{}", outcome.summary());
}

#[test]
fn locked_memory_is_refused_or_counted() {
    let outcome = eats(
        "import mmap, ctypes\nm = mmap.mmap(-1, 512 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\naddress = ctypes.addressof(ctypes.c_char.from_buffer(m))\nprint(libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(512 << 20)))",
    );
    check_peak(&outcome);
    assert!(outcome.stdout() != "0\n", "{}", outcome.summary());
}

#[test]
fn page_tables_of_sparse_mappings() {
    // Reading maps one page of zeroes again and again: nothing of it but the tables takes memory.
    ends_by_memory(
        "import mmap\nm = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\nm.madvise(15)\nfor at in range(0, 1 << 40, 1 << 21): m[at]",
    );
}

#[test]
fn sockets_of_many_processes_full_of_data() {
    ends_by_memory(
        "import socket, time\nfor _ in range(20):\n    if os.fork(): continue\n    held = []\n    try:\n        while True:\n            pair = socket.socketpair(); held.append(pair)\n            for end in pair:\n                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)\n                end.setblocking(False)\n                try:\n                    while True: end.send(b'x' * 65536)\n                except BlockingIOError: pass\n    except OSError: time.sleep(20)\ntime.sleep(20)",
    );
}

/// They belong to no cgroup.
#[test]
fn access_control_lists_are_short() {
    let outcome = eats(
        "import struct\nentries = [(1, 6, 0xffffffff), *((2, 6, 1000) for _ in range(8000)), (4, 4, 0xffffffff), (16, 7, 0xffffffff), (32, 4, 0xffffffff)]\nacl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)\nos.mkdir('/tmp/d')\nfor size in 200, 256, 65000:\n    try: os.setxattr('/tmp/d', 'user.x', b'x' * size); print(size)\n    except OSError as error: print(size, error.errno)\ntry: os.setxattr('/tmp/d', 'system.posix_acl_default', acl)\nexcept OSError as error: print(error.errno)\nprint(libc.syscall(463, -100, b'/tmp/d', 0, b'user.y', None, 0), ctypes.get_errno())",
    )
    .expect("ok");
    // Before Linux 6.6 a tmpfs has no attributes of users.
    let lines: Vec<&str> = outcome.stdout().lines().collect();
    let [short, beyond, long, list, at] = lines[..] else { panic!("{}", outcome.summary()) };
    assert!(short == "200" || short == "200 95", "{}", outcome.summary());
    assert_eq!([beyond, long, list, at], ["256 95", "65000 95", "95", "-1 38"], "{}", outcome.summary());
}

/// What the sockets of the whole machine hold: the kernel counts that in one pool (proc_net(5), `sockstat`).
fn socket_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    line.rsplit(' ').next().and_then(|pages| pages.parse::<u64>().ok()).expect("pages of TCP") * 4096
}

#[test]
fn buffers_of_internet_sockets_are_bounded() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let run = Run::with_library(
        "import socket, time\nheld = []\ntry:\n    for _ in range(110):\n        s = socket.create_server(('127.0.0.1', 0)); a = socket.create_connection(s.getsockname()); b = s.accept()[0]; held += [s, a, b]\n        for end in a, b:\n            end.setblocking(False)\n            for option in socket.SO_SNDBUF, socket.SO_RCVBUF: end.setsockopt(socket.SOL_SOCKET, option, 1 << 30)\n            try:\n                while True: end.send(b'x' * 65536)\n            except OSError: pass\nexcept OSError: pass\ntime.sleep(0.5)",
    );
    let before = socket_bytes();
    let ended = AtomicBool::new(false);
    let (outcome, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(socket_bytes().saturating_sub(before));
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let outcome = run.memory("128M", "64M").wall("20s").option("--network", "loopback").run();
        ended.store(true, Ordering::Relaxed);
        (outcome, watch.join().unwrap())
    });
    assert_ne!(outcome.text("verdict"), "sandbox_error", "{}", outcome.summary());
    if outcome.text("enforced_by.memory.level") == "enforced" {
        assert!(most > 1 << 20, "they were seen: {most}, {}", outcome.summary());
        assert!(most <= LIMIT + (16 << 20), "{most}: {}", outcome.summary());
    }
}

#[test]
fn kernel_memory_by_many_files_and_timers() {
    let outcome = eats(
        "import select, time\nheld = []\ntry:\n    for number in range(100_000):\n        os.mkdir('/tmp/d%d' % number)\nexcept OSError: pass\nfor _ in range(200_000):\n    if libc.syscall(NR['timer_create'], 1, None, ctypes.create_string_buffer(8)) < 0: break\ntry:\n    while True: held.append(select.epoll())\nexcept OSError: pass\nprint('end')",
    );
    check_peak(&outcome);
    assert_ne!(outcome.text("verdict"), "sandbox_error");
}

#[test]
fn wardian_itself_needs_little() {
    let outcome = eats("import time\ntime.sleep(0.3)").expect("ok");
    if outcome.own_memory == 0 {
        return skip("wardian's own memory cannot be read");
    }
    assert!(outcome.own_memory <= OWN_MEMORY, "{} KiB", outcome.own_memory >> 10);
}
