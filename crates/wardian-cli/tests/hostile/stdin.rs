//! What the program reads.

use crate::harness::{Input, OWN_MEMORY, Run};

const COUNT: &str = "import sys\nprint(len(sys.stdin.buffer.read()))";

#[test]
fn all_of_it_arrives() {
    let outcome = Run::new(COUNT).stdin(Input::Bytes(vec![b'x'; 20_000_000])).run().expect("ok");
    assert_eq!(outcome.stdout(), "20000000\n");
    assert!(outcome.own_memory <= OWN_MEMORY, "{} KiB", outcome.own_memory >> 10);
}

#[test]
fn nothing_is_an_end_of_file() {
    let outcome = Run::new(COUNT).run().expect("ok");
    assert_eq!(outcome.stdout(), "0\n");
    let outcome = Run::new(COUNT).stdin(Input::Bytes(vec![])).run().expect("ok");
    assert_eq!(outcome.stdout(), "0\n");
}

#[test]
fn a_program_that_does_not_read_is_not_held_up() {
    let outcome = Run::new("print('fine')").stdin(Input::Bytes(vec![b'x'; 20_000_000])).run().expect("ok");
    assert_eq!(outcome.stdout(), "fine\n");
    let outcome =
        Run::new("import os\nos.close(0)\nprint('fine')").stdin(Input::Bytes(vec![0; 5_000_000])).run();
    assert_eq!(outcome.expect("ok").stdout(), "fine\n");
}

#[test]
fn an_open_and_silent_input_does_not_hold_the_end() {
    let outcome = Run::new("print('fine')").stdin(Input::Silent).run().expect("ok");
    assert!(outcome.elapsed.as_secs() < 5);
}

#[test]
fn the_callers_file_is_not_the_programs() {
    // A program that got the caller's own descriptor could reopen it for writing through /proc/self/fd.
    let code = "import os\nfor fd in (0, 1, 2):\n    for flags in (os.O_WRONLY, os.O_RDWR):\n        try:\n            opened = os.open('/proc/self/fd/%d' % fd, flags | os.O_NONBLOCK)\n            if os.path.isfile('/proc/self/fd/%d' % fd): os.write(opened, b'overwritten')\n        except OSError: pass\nos._exit(0)";
    let directory = crate::harness::Directory::new();
    let input = directory.path.join("input");
    std::fs::write(&input, "the caller's file").unwrap();
    let mut permissions = std::fs::metadata(&input).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o666);
    std::fs::set_permissions(&input, permissions).unwrap();
    let mut command = crate::harness::wardian();
    command.args(["run", "-c", code]).stdin(std::fs::File::open(&input).unwrap());
    assert!(command.status().unwrap().success());
    assert_eq!(std::fs::read_to_string(&input).unwrap(), "the caller's file");
}

#[test]
fn a_file_named_as_input_is_read_and_not_written() {
    let directory = crate::harness::Directory::new();
    let input = directory.path.join("input");
    std::fs::write(&input, "12345").unwrap();
    let outcome = Run::new(COUNT).option("--stdin", input.to_str().unwrap()).run().expect("ok");
    assert_eq!(outcome.stdout(), "5\n");
}
