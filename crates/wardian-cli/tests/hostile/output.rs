//! Floods of output: the rest is dropped and counted, and wardian's own memory stays what it is.

use crate::harness::{OWN_MEMORY, Outcome, Run};
use std::io::{Read as _, Write as _};

const CAP: u64 = 1 << 20;

fn flood(code: &str) -> Outcome {
    let outcome = Run::new(code).wall("2s").option("--output", "1M").run();
    let kept = outcome.stdout().len() as u64;
    // Base64 takes four bytes for three.
    assert!(kept <= CAP * 4 / 3 + 8, "{kept}");
    let bound = OWN_MEMORY + 2 * CAP;
    assert!(outcome.own_memory <= bound, "{} KiB: {}", outcome.own_memory >> 10, outcome.text("verdict"));
    outcome
}

fn check_truncated(outcome: &Outcome, stream: &str) {
    assert_eq!(outcome.get(&format!("{stream}.truncated")), true, "{}", outcome.get("usage"));
    let bytes = outcome.number(&format!("{stream}.bytes"));
    let omitted = outcome.number(&format!("{stream}.omitted_bytes"));
    assert!(
        omitted > 0 && omitted < bytes && bytes - omitted <= CAP + 4096,
        "{bytes} bytes, {omitted} omitted"
    );
}

#[test]
fn lines_without_end() {
    let outcome = flood("while True: print('x' * 50)").expect_for("time_limit", "wall_time");
    check_truncated(&outcome, "stdout");
    assert!(outcome.number("usage.wall_us") < 2_500_000);
}

#[test]
fn a_line_without_end() {
    let outcome =
        flood("import os\nwhile True: os.write(1, b'x' * 65536)").expect_for("time_limit", "wall_time");
    check_truncated(&outcome, "stdout");
}

#[test]
fn both_streams_at_once_from_many_processes() {
    let code = "import os\nfor _ in range(10):\n    if not os.fork(): break\nwhile True: os.write(1, b'x' * 4096); os.write(2, b'y' * 4096)";
    let outcome = flood(code).expect_for("time_limit", "wall_time");
    check_truncated(&outcome, "stdout");
    check_truncated(&outcome, "stderr");
    assert!(!outcome.stdout().contains('y'));
}

#[test]
fn binary_garbage() {
    let outcome = flood("import os\nblock = bytes(range(256)) * 256\nwhile True: os.write(1, block)")
        .expect("time_limit");
    assert_eq!(outcome.text("stdout.encoding"), "base64");
    check_truncated(&outcome, "stdout");
}

#[test]
fn garbage_after_text_is_cut_on_character_boundaries() {
    let code = "import os\nfor _ in range(40): os.write(1, ('\\u20ac' * 33331).encode())";
    let outcome = flood(code).expect("ok");
    check_truncated(&outcome, "stdout");
    assert_eq!(outcome.text("stdout.encoding"), "utf-8");
    assert!(outcome.stdout().chars().all(|letter| letter == '€'));
    assert!(outcome.text("stdout.tail").chars().all(|letter| letter == '€'));
}

#[test]
fn a_gigabyte_is_counted_to_the_byte() {
    let code = "import os\nleft = 1 << 30\nblock = b'x' * (1 << 20)\nwhile left: left -= os.write(1, block[:left])\nos.write(1, b'end')";
    let outcome = Run::new(code).times("120s").option("--output", "1M").run().expect("ok");
    assert_eq!(outcome.number("stdout.bytes"), (1 << 30) + 3);
    assert!(outcome.text("stdout.tail").ends_with("end"));
    assert!(outcome.own_memory <= OWN_MEMORY + 2 * CAP, "{} KiB", outcome.own_memory >> 10);
}

#[test]
fn what_takes_more_room_in_the_report_takes_no_more_in_memory() {
    // As JSON a NUL byte takes six; what is no text takes four bytes for three.
    for (byte, bound) in [("\\0", 2 * 8), ("\\xff", 2 * 8 * 4 / 3 + 1)] {
        let code = format!(
            "import os, threading\nblock = b'{byte}' * 65536\ndef flood(fd):\n    for _ in range(200): os.write(fd, block)\nother = threading.Thread(target=flood, args=(2,))\nother.start()\nflood(1)\nother.join()"
        );
        let outcome = Run::new(code).option("--output", "8M").run().expect("ok");
        assert!(outcome.own_memory <= OWN_MEMORY + (bound << 20), "{byte}: {} KiB", outcome.own_memory >> 10);
        assert_eq!(outcome.get("stdout.truncated"), true);
    }
}

#[test]
fn a_report_larger_than_a_file_may_be_is_an_error_and_no_death() {
    let directory = crate::harness::Directory::new();
    let program = crate::harness::wardian().get_program().to_owned();
    // In units of 512 bytes or 1 KiB, as the shell has it.
    let limited =
        "ulimit -f 200; exec \"$0\" run --report report -c \"import os; os.write(1, bytes(60000))\"";
    let mut command = std::process::Command::new("sh");
    let output = command.args(["-c", limited]).arg(program).current_dir(&directory.path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 60000), "{stderr}");
    assert!(stderr.contains("cannot write the report: File too large"), "{stderr}");
}

#[test]
fn exactly_the_limit_is_not_truncated() {
    let outcome =
        flood("import os\nleft = 1 << 20\nwhile left: left -= os.write(1, b'x' * left)").expect("ok");
    assert_eq!(outcome.get("stdout.truncated"), false);
    assert_eq!(outcome.stdout().len(), 1 << 20);
}

#[test]
fn the_judge_ends_a_flood() {
    let run = Run::new("while True: print('x' * 50)").policy("judge").option("--output", "1M");
    let outcome = run.run().expect("output_limit");
    assert_eq!(outcome.text("reason"), "output");
}

#[test]
fn wardian_ends_when_its_own_reader_has_gone() {
    let mut command = crate::harness::wardian();
    let code = "import os\nwhile True: os.write(1, b'x' * 65536)";
    command.args(["run", "--wall", "2s", "-c", code]).stdin(std::process::Stdio::null());
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    let started = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed().as_secs() > 10 {
            child.kill().unwrap();
            panic!("wardian did not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(status.code().is_some(), "wardian itself died: {status}");
}

/// Now, when nobody has read for longer than the program may run; only then what it wrote is read.
fn was_ended_in_time(mut child: std::process::Child, mut unread: impl std::io::Read) {
    let mut left = crate::leftovers::children(child.id());
    left.retain(|pid| crate::leftovers::is_alive(*pid));
    let _ = std::io::copy(&mut unread, &mut std::io::sink());
    let status = child.wait().unwrap();
    assert!(left.is_empty(), "after the limit its program still runs: {left:?}");
    assert_eq!(status.code(), Some(124));
}

#[test]
fn a_reader_that_reads_nothing_does_not_hold_the_wall_limit() {
    let mut command = crate::harness::wardian();
    command.args(["run", "--wall", "1s", "-c", "import os\nwhile True: os.write(1, b'x' * 65536)"]);
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let unread = child.stdout.take().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(
        !crate::leftovers::children(child.id()).is_empty() || child.try_wait().unwrap().is_some(),
        "it runs"
    );
    std::thread::sleep(std::time::Duration::from_millis(2500));
    was_ended_in_time(child, unread);
}

/// A pipe for both streams: when there is room for one of them, both are told so.
#[test]
fn one_full_pipe_for_both_streams_does_not_hold_the_wall_limit() {
    let code = "import os\nfor fd in (1, 2): os.write(fd, b'x' * 4096)\nimport time\ntime.sleep(60)";
    let (mut unread, mut target) = std::io::pipe().unwrap();
    target.write_all(&[b'.'; 16 * 4096]).unwrap();
    let mut command = crate::harness::wardian();
    command.args(["run", "--wall", "2s", "-c", code]).stdin(std::process::Stdio::null());
    command.stdout(target.try_clone().unwrap()).stderr(target);
    let child = command.spawn().unwrap();
    drop(command);
    std::thread::sleep(std::time::Duration::from_secs(1));
    unread.read_exact(&mut [0; 4096]).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    was_ended_in_time(child, unread);
}

/// The program is long over when nobody takes what it wrote: that is said, and whoever waits can end it.
#[test]
fn output_that_nobody_takes_is_lost_loudly() {
    let mut command = crate::harness::wardian();
    command.args(["run", "-c", "print('x' * 300_000)"]).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let unread = child.stdout.take().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let waiting = child.try_wait().unwrap().is_none();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ordered = std::time::Instant::now();
    let output = child.wait_with_output().unwrap();
    let took = ordered.elapsed();
    drop(unread);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(waiting, "it ended before anybody took its output: {stderr}");
    assert!(took.as_secs() < 5, "{took:?}");
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("cannot write the program's standard output"), "{stderr}");
}
