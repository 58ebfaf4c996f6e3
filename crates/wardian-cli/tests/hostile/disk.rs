//! Scratch space: bytes, inodes, depth, file size; and the limits of descriptors and stack.

use crate::harness::{Outcome, Run};

fn small(code: &str) -> Outcome {
    Run::new(code).memory("256M", "16M").wall("20s").run()
}

#[test]
fn bytes_are_limited_over_all_directories_together() {
    let code = "import os\ntotal = 0\nfor directory in ('/box', '/tmp', '/home/guest', '/dev/shm'):\n    try:\n        with open(directory + '/big', 'wb', 0) as file:\n            while True: total += file.write(b'x' * 65536)\n    except OSError as error: assert error.errno in (27, 28), error\nprint(total)";
    let outcome = small(code).expect("ok");
    let total: u64 = outcome.stdout().trim().parse().unwrap();
    assert!((8 << 20..=16 << 20).contains(&total), "{total}");
}

#[test]
fn unlinked_files_still_count() {
    let code = "import os\ntotal = 0\nheld = []\ntry:\n    for number in range(1000):\n        file = open('/tmp/f', 'wb', 0); held.append(file); os.unlink('/tmp/f')\n        total += file.write(b'x' * (1 << 20))\nexcept OSError as error: assert error.errno == 28, error\nprint(total)";
    let outcome = small(code).expect("ok");
    assert!(outcome.stdout().trim().parse::<u64>().unwrap() <= 16 << 20, "{}", outcome.summary());
}

#[test]
fn inodes_are_limited() {
    let code = "import os\ncount = 0\ntry:\n    while True: os.close(os.open('/tmp/%d' % count, os.O_CREAT)); count += 1\nexcept OSError as error: print(error.errno)\nprint(count)";
    let outcome = Run::new(code).wall("20s").run().expect("ok");
    let (error, count) = outcome.stdout().trim().split_once('\n').unwrap();
    assert_eq!(error, "28");
    assert!((16_000..=16_384).contains(&count.parse::<u64>().unwrap()), "{count}");
}

#[test]
fn links_and_names_and_empty_directories_are_limited() {
    let code = "import os\ncount = 0\nopen('/tmp/f', 'w').close()\nfor make in (lambda n: os.link('/tmp/f', '/tmp/l%d' % n), lambda n: os.symlink('x' * 4000, '/tmp/s%d' % n), lambda n: os.mkdir('/tmp/d%d' % n), lambda n: os.mkfifo('/tmp/p%d' % n)):\n    try:\n        for n in range(100_000): make(n); count += 1\n    except OSError as error: pass\nprint(count)";
    let outcome = Run::new(code).wall("20s").run();
    let count: u64 = outcome.expect("ok").stdout().trim().parse().unwrap();
    assert!(count <= 16_384 * 2, "{count}");
}

#[test]
fn ten_thousand_nested_directories_are_left_without_a_trace() {
    // Built from the bottom, as Landlock walks up to the root for each name that is made.
    let code = "import os\nos.mkdir('d')\nfor _ in range(10_000):\n    os.mkdir('n'); os.rename('d', 'n/d'); os.rename('n', 'd')\nfor _ in range(2000): os.chdir('d')\nopen('deep', 'w').write('x')\nprint('deep')";
    let outcome = Run::new(code).wall("20s").run().expect("ok");
    assert_eq!(outcome.stdout(), "deep\n");
}

#[test]
fn sparse_files_do_not_pass_the_file_size() {
    let code = "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nfd = os.open('sparse', os.O_CREAT | os.O_RDWR)\nfor size in (1 << 40, 1 << 62):\n    try: os.ftruncate(fd, size); print('truncated')\n    except OSError as error: print(error.errno)\ntry: os.posix_fallocate(fd, 0, 1 << 40); print('allocated')\nexcept OSError as error: print(error.errno)";
    let outcome = small(code).expect("ok");
    assert!(!outcome.stdout().contains("ed"), "{}", outcome.stdout());
}

#[test]
fn the_file_size_is_exact_and_dying_of_it_is_told() {
    let code = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nfile = open('big', 'wb', 0)\nfile.write(b'x' * 1_000_000)\nfile.write(b'x')";
    let outcome = Run::new(code).option("--file-size", "1000000").run().expect_for("disk_limit", "file_size");
    assert_eq!(outcome.text("signal.name"), "SIGXFSZ");
    assert!(outcome.get("exit_code").is_null());
    assert!(
        outcome.text("message").contains("1000000 bytes that one may have (`limits.file_size`)"),
        "{}",
        outcome.summary()
    );
    Run::new(code).option("--file-size", "1000001").run().expect("ok");
    let code = "import os\nprint(os.write(os.open('big', os.O_CREAT | os.O_WRONLY), b'x' * 2_000_000))";
    let outcome = Run::new(code).option("--file-size", "1000000").run().expect("ok");
    assert_eq!(outcome.stdout(), "1000000\n");
}

#[test]
fn an_exception_at_the_file_size_is_the_programs_own_end() {
    // Python ignores the signal: from outside this is an exit code like any other.
    let code = "open('big', 'wb', 0).write(b'x' * 1_000_000)\nopen('big', 'ab', 0).write(b'x')";
    let outcome = Run::new(code).option("--file-size", "1000000").run().expect_for("nonzero_exit", "exit");
    assert!(outcome.text("stderr.text").contains("File too large"), "{}", outcome.summary());
}

// In two files, neither of which reaches the file size limit.
const FILL: &str = "def fill():\n    while True:\n        for name in 'ab': open('/tmp/' + name, 'ab', 0).write(b'x' * 65536)\n";

#[test]
fn a_program_that_fails_with_its_disk_full_failed_of_the_limit() {
    let outcome = small(&format!("{FILL}fill()")).expect_for("disk_limit", "disk_bytes");
    assert_eq!(outcome.number("exit_code"), 1);
    assert!(outcome.text("stderr.text").contains("No space left on device"), "{}", outcome.summary());
    let message = outcome.text("message");
    assert!(message.contains("16M") && message.contains("`limits.disk`"), "{message}");
    assert!(message.contains("exit code 1"), "{message}");
    let code = format!("import os\n{FILL}try: fill()\nexcept OSError: os.abort()");
    let outcome = small(&code).expect_for("disk_limit", "disk_bytes");
    assert_eq!(outcome.text("signal.name"), "SIGABRT");
    // One that copes with it has not failed, and one that failed with room left did so of something else.
    small(&format!("{FILL}try: fill()\nexcept OSError: pass")).expect("ok");
    let code = format!("import os\n{FILL}try: fill()\nexcept OSError: os.unlink('/tmp/a')\nos._exit(1)");
    small(&code).expect_for("nonzero_exit", "exit");
}

#[test]
fn a_program_that_fails_with_no_files_left_failed_of_the_limit() {
    let code =
        "import os\ncount = 0\nwhile True: os.close(os.open('/tmp/%d' % count, os.O_CREAT)); count += 1";
    let outcome = Run::new(code).wall("20s").run().expect_for("disk_limit", "disk_inodes");
    assert_eq!(outcome.number("exit_code"), 1);
    let message = outcome.text("message");
    assert!(message.contains("16384") && message.contains("limits.inodes"), "{message}");
}

#[test]
fn a_full_disk_does_not_hide_what_ended_the_run() {
    let code = format!("import time\n{FILL}try: fill()\nexcept OSError: time.sleep(60)");
    Run::new(code).memory("256M", "16M").wall("2s").run().expect_for("time_limit", "wall_time");
}

#[test]
fn a_full_disk_shows_as_a_denial() {
    let code = "try: open('/tmp/big', 'wb', 0).write(b'x' * (64 << 20))\nexcept OSError: pass\ntry:\n    while True: open('/tmp/more', 'ab', 0).write(b'x' * 65536)\nexcept OSError as error: print(error.errno)";
    let outcome = small(code).expect("ok");
    assert!(outcome.number("usage.disk_bytes") > 15 << 20, "{}", outcome.summary());
    let denials = outcome.get("denials").as_array().unwrap();
    assert!(denials.iter().any(|denial| denial["errno"] == "ENOSPC"), "{}", outcome.summary());
}

#[test]
fn open_files_are_limited() {
    let code = "import os\nheld = []\ntry:\n    while True: held.append(os.open('/dev/null', os.O_RDONLY))\nexcept OSError as error: print(error.errno)\nprint(max(held) + 1)";
    let outcome = Run::new(code).option("--open-files", "50").run().expect("ok");
    assert_eq!(outcome.stdout(), "24\n50\n");
}

#[test]
fn deep_recursion_of_python_is_an_exception() {
    let outcome = Run::new("def f(n): return f(n + 1)\nf(0)").run().expect_for("nonzero_exit", "exit");
    assert!(outcome.text("stderr.text").contains("RecursionError"));
}

#[test]
fn deep_recursion_of_c_is_a_crash_of_the_program() {
    let code = "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __repr__(self): return repr(self)\nx = []\nfor _ in range(300_000): x = [x]\nprint(len(repr(x)))";
    let outcome = Run::new(code).wall("30s").run();
    let verdict = outcome.text("verdict").to_owned();
    assert!(
        ["signaled", "nonzero_exit", "memory_limit"].contains(&verdict.as_str()),
        "{}",
        outcome.summary()
    );
}

#[test]
fn the_stack_is_as_large_as_granted() {
    let code = "import resource\nprint(resource.getrlimit(resource.RLIMIT_STACK)[0])";
    let outcome = Run::new(code).option("--stack", "4M").run().expect("ok");
    assert_eq!(outcome.stdout(), format!("{}\n", 4 << 20));
}

/// At a limit of 1 no handler of the host's is started for it either (core(5)); so nobody changes that.
#[test]
fn core_files_are_not_written() {
    let code = "import os, resource, signal\npid = os.fork()\nif not pid:\n    for limit in (1 << 20, 0): resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))\n    print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)\n    os.kill(os.getpid(), signal.SIGSEGV)\n_, status = os.waitpid(pid, 0)\nprint(os.WCOREDUMP(status), os.listdir('.') == ['guest.py'])";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.stdout(), "(1, 1)\nFalse True\n");
}
