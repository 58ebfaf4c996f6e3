//! The report says what happened, whatever the program does to make it say something else.

use crate::harness::Run;

fn signals_itself(signal: &str, number: u64) {
    let code = format!("import os, signal\nos.kill(os.getpid(), signal.{signal})\nsignal.pause()");
    let outcome = Run::new(code).wall("5s").run().expect_for("signaled", "signal");
    assert_eq!(outcome.text("signal.name"), signal);
    assert_eq!(outcome.number("signal.number"), number);
    assert!(outcome.get("exit_code").is_null());
}

#[test]
fn a_signal_to_itself_is_its_own() {
    signals_itself("SIGSEGV", 11);
    signals_itself("SIGKILL", 9);
    signals_itself("SIGTERM", 15);
    signals_itself("SIGABRT", 6);
    signals_itself("SIGALRM", 14);
}

#[test]
fn a_sigsys_to_itself_is_no_policy_violation() {
    signals_itself("SIGSYS", 31);
}

#[test]
fn a_sigxcpu_to_itself_is_no_time_limit() {
    signals_itself("SIGXCPU", 24);
}

#[test]
fn a_sigxfsz_to_itself_looks_like_the_kernels() {
    // From outside the two cannot be told apart: all that a program gains is another way to have failed.
    let code = "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nos.kill(os.getpid(), signal.SIGXFSZ)\nsignal.pause()";
    let outcome = Run::new(code).wall("5s").run().expect_for("disk_limit", "file_size");
    assert_eq!(outcome.text("signal.name"), "SIGXFSZ");
}

#[test]
fn a_real_fault_is_a_signal() {
    let code = "import ctypes\nctypes.string_at(0)";
    let outcome = Run::new(code).run().expect_for("signaled", "signal");
    assert_eq!(outcome.text("signal.name"), "SIGSEGV");
}

#[test]
fn a_killed_grandchild_is_not_the_program() {
    let code = "import os, signal\npid = os.fork()\nif not pid: os.kill(os.getpid(), 9)\nos.waitpid(pid, 0)\nprint('fine')";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.stdout(), "fine\n");
}

#[test]
fn exit_codes_are_kept() {
    for code in [0, 1, 2, 77, 124, 125, 126, 127, 128, 137, 139, 143, 153, 154, 159, 255] {
        let outcome = Run::new(format!("import os\nos._exit({code})")).run();
        let outcome = outcome.expect_for(if code == 0 { "ok" } else { "nonzero_exit" }, "exit");
        assert_eq!(outcome.number("exit_code"), code);
    }
}

#[test]
fn exit_256_is_0_as_the_kernel_says() {
    let outcome = Run::new("import os\nos._exit(256)").run().expect_for("ok", "exit");
    assert_eq!(outcome.number("exit_code"), 0);
    let outcome = Run::new("import sys\nsys.exit(257)").run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 1);
}

#[test]
fn an_exit_with_words_is_1() {
    let outcome = Run::new("import sys\nsys.exit('no more')").run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 1);
    assert_eq!(outcome.text("stderr.text"), "no more\n");
}

#[test]
fn a_memory_error_is_an_exception() {
    let outcome = Run::new("raise MemoryError").run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 1);
    assert!(outcome.text("stderr.text").contains("MemoryError"));
}

const FORGED: &str =
    r#"{"schema":"wardian.report/1","verdict":"ok","reason":"exit","exit_code":0,"message":"x"}"#;

#[test]
fn a_forged_report_is_only_output() {
    let code = format!(
        "import os, sys\nfor fd in range(256):\n    try: os.write(fd, {FORGED:?}.encode() + b'\\n')\n    except OSError: pass\nos._exit(9)"
    );
    let outcome = Run::new(code).run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 9);
    assert_eq!(outcome.stdout(), format!("{FORGED}\n"));
    assert_eq!(outcome.text("stderr.text"), format!("{FORGED}\n"));
}

#[test]
fn a_forged_wait_status_on_every_descriptor_is_ignored() {
    let code = "import os\nfor fd in range(256):\n    try: os.write(fd, b'\\0' * 64)\n    except OSError: pass\nos._exit(5)";
    let outcome = Run::new(code).run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 5);
    assert_eq!(outcome.number("stdout.bytes"), 64);
}

#[test]
fn output_that_is_not_utf_8_is_kept_byte_for_byte() {
    let code = "import os\nos.write(1, bytes(range(256)))";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.text("stdout.encoding"), "base64");
    assert_eq!(outcome.number("stdout.bytes"), 256);
    assert!(outcome.stdout().starts_with("AAECAwQFBgcICQ"), "{}", outcome.stdout());
    assert!(outcome.stdout().ends_with("+/w=="), "{}", outcome.stdout());
}

#[test]
fn nul_and_escape_bytes_are_output() {
    let code = "import os\nos.write(1, b'\\0\\x1b[2J\\x07\\r\\xe2\\x80\\xae')";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.text("stdout.encoding"), "utf-8");
    assert_eq!(outcome.stdout(), "\0\u{1b}[2J\u{7}\r\u{202e}");
}

#[test]
fn closed_streams_change_nothing() {
    let code = "import os\nfor fd in (0, 1, 2): os.close(fd)\nos._exit(3)";
    let outcome = Run::new(code).run().expect("nonzero_exit");
    assert_eq!(outcome.number("exit_code"), 3);
    assert_eq!(outcome.number("stdout.bytes"), 0);
}

#[test]
fn a_program_that_goes_on_with_closed_streams_is_waited_for() {
    let code = "import os, time\nfor fd in (0, 1, 2): os.close(fd)\ntime.sleep(1)\nos._exit(4)";
    let outcome = Run::new(code).run().expect("nonzero_exit");
    assert_eq!(outcome.number("exit_code"), 4);
    assert!(outcome.elapsed.as_millis() >= 1000);
}

#[test]
fn zombies_are_reaped_and_counted_for_nothing() {
    // Every child orphans a grandchild; init has to reap hundreds of them.
    let code = "import os\nfor _ in range(300):\n    pid = os.fork()\n    if not pid:\n        if not os.fork(): os._exit(7)\n        os._exit(8)\n    os.waitpid(pid, 0)\nprint('done')";
    let outcome = Run::new(code).run().expect("ok");
    assert_eq!(outcome.stdout(), "done\n");
}

#[test]
fn a_missing_module_is_the_programs_fault_and_a_missing_script_is_not() {
    let outcome = Run::new("import nowhere_to_be_found").run().expect_for("nonzero_exit", "exit");
    assert_eq!(outcome.number("exit_code"), 1);
    let output = crate::harness::wardian().args(["run", "--json", "/nowhere/x.py"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_traceback_shows_the_users_file_and_line_and_no_host_path() {
    let outcome = Run::new("\n\nraise ValueError('x')").run().expect("nonzero_exit");
    let words = outcome.text("stderr.text");
    assert!(words.contains("guest.py\", line 3"), "{words}");
    assert!(!words.contains("hostile-"), "{words}");
}

#[test]
fn usage_is_plausible() {
    let code = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\nx = b'x' * 50_000_000\nprint(len(x))";
    let outcome = Run::new(code).run().expect("ok");
    let cpu = outcome.number("usage.cpu_user_us") + outcome.number("usage.cpu_system_us");
    assert!((450_000..2_000_000).contains(&cpu), "{cpu}");
    assert!(outcome.number("usage.wall_us") >= 450_000);
    let memory = outcome.number("usage.memory_peak_bytes");
    assert!((50_000_000..200_000_000).contains(&memory), "{memory}");
}

#[test]
fn cpu_time_of_killed_and_unreaped_children_counts() {
    let code = "import os, signal, time\npid = os.fork()\nif not pid:\n    while True: pass\ntime.sleep(1)\nos._exit(0)";
    let outcome = Run::new(code).run().expect("ok");
    let cpu = outcome.number("usage.cpu_user_us") + outcome.number("usage.cpu_system_us");
    assert!(cpu > 300_000, "{}", outcome.summary());
}
