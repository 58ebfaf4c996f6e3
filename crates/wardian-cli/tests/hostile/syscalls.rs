//! The kernel's attack surface.

use crate::control::{outside, refused, succeeds};
use crate::guest;
use crate::harness::{Run, is_root, skip};

const GUEST: &str = guest!("syscalls.py");

#[test]
fn calls_that_no_program_needs_are_refused() {
    let control = outside(GUEST, &[]);
    if cfg!(target_arch = "x86_64") {
        succeeds(&control, "modify_ldt");
    }
    succeeds(&control, "socket AF_NETLINK 3");
    if is_root() {
        succeeds(&control, "socket AF_NETLINK by high bits");
        succeeds(&control, "raw socket");
    }
    for policy in ["python", "strict", "codejail"] {
        let seen = Run::new(GUEST).policy(policy).times("20s").run().expect("ok").attempts();
        // Nothing is read or changed by these, whatever they answer.
        let harmless = [
            "raw personality",
            "raw seccomp",
            "raw set_mempolicy",
            "raw splice",
            "raw tee",
            "personality",
            "raw landlock_create_ruleset",
        ];
        let through: Vec<_> = seen
            .iter()
            .filter(|(name, (result, _))| result == "ok" && !harmless.contains(&name.as_str()))
            .collect();
        assert!(through.is_empty(), "{policy}: {through:#?}");
        for name in
            ["bpf", "io_uring_setup", "userfaultfd", "perf_event_open", "add_key", "keyctl", "modify_ldt"]
        {
            refused(&seen, name);
        }
        for (name, (result, _)) in seen.iter().filter(|(name, _)| name.starts_with("raw ")) {
            // EFAULT and EINVAL come from the call itself: it was let through to code that nobody needs.
            let inside = ["EFAULT", "EBADF", "EINVAL"].contains(&result.as_str());
            let harmless = harmless.contains(&name.as_str()) || name == "raw pidfd_getfd";
            assert!(!inside || harmless, "{policy}: {name} reached the kernel: {result}");
        }
    }
}

#[test]
fn numbers_of_the_x32_interface_are_not_served() {
    if !cfg!(target_arch = "x86_64") {
        return skip("x86_64 only: x32");
    }
    for number in [39, 41, 0, 59, 165, 520, 321] {
        let code = format!("print(syscall(0x40000000 + {number}, 0, 0, 0, 0, 0))");
        let outcome = Run::with_library(&code).run();
        let verdict = outcome.text("verdict").to_owned();
        assert!(["policy_violation", "signaled"].contains(&verdict.as_str()), "{}", outcome.summary());
        assert_eq!(outcome.stdout(), "");
    }
}

/// Machine code that makes the i386 call `getpid` by `int 0x80`, and returns what it answers.
const INT_80: &str = "import mmap\ncode = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\ncode.write(bytes.fromhex('53b814000000cd805bc3'))\nfunction = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\nprint('answer', function())";

#[test]
fn the_i386_entry_is_not_served() {
    if !cfg!(target_arch = "x86_64") {
        return skip("x86_64 only: int 0x80");
    }
    let control = crate::control::python()
        .args(["-c", &format!("{}\n{INT_80}", crate::harness::LIBRARY)])
        .output()
        .unwrap();
    if !String::from_utf8_lossy(&control.stdout).contains("answer") {
        skip("this kernel has no i386 entry: int 0x80 faults by itself");
    }
    let outcome = Run::with_library(INT_80).run();
    let seen = outcome.stdout();
    assert!(seen.is_empty() || seen == "answer -38\n" || seen == "answer -1\n", "{}", outcome.summary());
    let verdict = outcome.text("verdict").to_owned();
    assert!(["policy_violation", "ok", "signaled"].contains(&verdict.as_str()), "{}", outcome.summary());
}

#[test]
fn under_strict_nothing_is_executed_again() {
    let code = "attempt('exec', lambda: os.execv(sys.executable, [sys.executable, '-c', 'print(\"again\")']))\n\
        attempt('exec by path', lambda: os.execv('/proc/self/exe', ['x', '-c', 'print(\"again\")']))\n\
        def memory():\n    fd = os.memfd_create('x')\n    os.write(fd, open(sys.executable, 'rb').read())\n    os.execve(fd, ['x', '-c', 'print(\"again\")'], {})\n\
        attempt('exec from memory', memory)\n\
        def every_descriptor():\n    for fd in [*range(0, 60), 255, 257, 1023, 1024, 65535, -100]:\n        try: syscall('execveat', fd, b'', 0, 0, 4096)\n        except OSError: pass\n    raise OSError(1, 'none')\n\
        attempt('exec by descriptor', every_descriptor)\n\
        def moved():\n    fd = os.open(os.path.realpath(sys.executable), os.O_RDONLY)\n    for target in (255, 511, 512, 1023, 1024, 65535):\n        try: os.dup2(fd, target)\n        except OSError: continue\n        try: syscall('execveat', target, b'', 0, 0, 4096)\n        except OSError: pass\n    raise OSError(1, 'none')\n\
        attempt('exec by a moved descriptor', moved)\n\
        attempt('fork', os.fork)\n\
        import _thread\n\
        attempt('thread', _thread.start_new_thread, print, ('again',))\n\
        attempt('spawn', lambda: os.posix_spawn(sys.executable, [sys.executable, '-c', 'print(\"again\")'], {}))";
    let control = crate::control::python()
        .args(["-c", "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(\"again\")'])"])
        .output()
        .unwrap();
    assert_eq!(control.stdout, b"again\n");
    let outcome = Run::with_library(code).policy("strict").run();
    assert!(!outcome.stdout().contains("\nagain"), "{}", outcome.summary());
    let outcome = outcome.expect("ok");
    let seen = outcome.attempts();
    for name in [
        "exec",
        "exec by path",
        "exec from memory",
        "exec by descriptor",
        "exec by a moved descriptor",
        "fork",
        "thread",
        "spawn",
    ] {
        refused(&seen, name);
    }
}

#[test]
fn the_descriptor_of_the_interpreter_serves_no_second_exec() {
    // The interpreter was executed from a descriptor above the limit of open files; whoever tries it again is refused or ended.
    let code = "for fd in range(250, 260):\n    for path in (b'', b'/bin/sh'):\n        buffer = ctypes.create_string_buffer(path)\n        try: syscall('execveat', fd, buffer, 0, 0, 4096)\n        except OSError: pass\nos._exit(0)";
    for policy in ["strict", "codejail"] {
        let outcome = Run::with_library(code).policy(policy).times("20s").run();
        let verdict = outcome.text("verdict").to_owned();
        assert!(["ok", "signaled", "policy_violation"].contains(&verdict.as_str()), "{}", outcome.summary());
        if verdict == "signaled" {
            assert_eq!(outcome.text("signal.name"), "SIGSYS");
        }
        assert_eq!((outcome.stdout(), outcome.text("stderr.text")), ("", ""));
    }
}

#[test]
fn codejail_executes_nothing_again() {
    let code = "attempt('exec', lambda: os.execv(sys.executable, [sys.executable, '-c', 'print(\"again\")']))\nimport subprocess\nattempt('subprocess', lambda: subprocess.run([sys.executable, '-c', 'print(\"again\")'], check=True))";
    let seen = Run::with_library(code).policy("codejail").times("20s").run().expect("ok").attempts();
    refused(&seen, "exec");
    refused(&seen, "subprocess");
}

#[test]
fn pages_written_at_random_numbers_do_not_upset_wardian() {
    // Every call number there is, with arguments that make no sense; what could end the program itself is left out.
    let code = "skip = {NR[name] for name in 'rt_sigreturn pause nanosleep clone fork vfork exit wait4 kill rt_sigsuspend tkill exit_group tgkill restart_syscall read write close fstat poll munmap mmap mprotect brk select futex clock_nanosleep epoll_wait pselect6 ppoll epoll_pwait waitid rt_sigtimedwait rt_sigpending alarm setitimer getitimer dup2 dup3 dup close_range clone3 epoll_pwait2 mremap recvfrom recvmsg pread64 readv accept accept4 recvmmsg gettid futex_waitv map_shadow_stack'.split()}\nimport random\nrandom.seed(2)\nfor number in range(0, 470):\n    if number in skip: continue\n    for _ in range(2):\n        try: syscall(number, *[random.choice([0, -1, 1 << 63 >> 1, 4096, 2, 100000]) for _ in range(6)])\n        except OSError: pass\nos.write(1, b'end')\nos._exit(0)";
    let outcome = Run::with_library(code).wall("5s").run();
    assert_ne!(outcome.text("verdict"), "sandbox_error", "{}", outcome.summary());
}
