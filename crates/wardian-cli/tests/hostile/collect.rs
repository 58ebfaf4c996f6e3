//! Files brought out: only what is a regular file of the program's own, and only below the directory named.

use crate::guest;
use crate::harness::{Directory, Outcome, Run};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const GUEST: &str = guest!("collect.py");
const SECRET: &str = "the host's secret";

/// A run whose program leaves all kinds of things; the files that came out, by path.
fn collected(code: &str, glob: &str) -> (Outcome, Directory, BTreeMap<Vec<u8>, Vec<u8>>) {
    let directory = Directory::new();
    let planted = directory.path.join("planted.txt");
    std::fs::write(&planted, SECRET).unwrap();
    let out = directory.path.join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
    let run = Run::new(code).wall("20s").option("--collect", glob).option("--out", out.to_str().unwrap());
    let outcome = run.arg(planted.to_str().unwrap()).run();
    let mut files = BTreeMap::new();
    walk(&out, &out, &mut files);
    let mut beside: Vec<_> =
        std::fs::read_dir(&directory.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["out", "planted.txt", "tmp"], "something was written beside the directory named");
    (outcome, directory, files)
}

fn walk(top: &Path, at: &Path, files: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(top, &entry.path(), files);
            continue;
        }
        assert!(kind.is_file(), "{:?} came out and is no regular file", entry.path());
        let metadata = entry.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o6000, 0, "{:?} came out set-id", entry.path());
        assert_eq!(metadata.nlink(), 1, "{:?} came out with links", entry.path());
        let path = entry.path().strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        files.insert(
            path,
            if metadata.len() < 1 << 20 { std::fs::read(entry.path()).unwrap() } else { vec![] },
        );
    }
}

#[test]
fn links_devices_and_closed_directories_stay_inside() {
    let (outcome, _directory, files) = collected(GUEST, "**");
    let outcome = outcome.expect("ok");
    assert_eq!(files[b"good.txt".as_slice()], b"good");
    assert_eq!(files[b"sub/deeper/good.txt".as_slice()], b"deep");
    for (path, content) in &files {
        let name = String::from_utf8_lossy(path);
        assert!(
            !name.contains("link") && !name.contains("fifo") && !name.contains("socket"),
            "{name} came out"
        );
        assert!(
            !content.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()),
            "{name} has the secret"
        );
        assert!(!content.windows(5).any(|part| part == b"root:"), "{name} has users");
    }
    let omitted = outcome.get("files_omitted").as_array().unwrap();
    for name in ["link-passwd", "fifo"] {
        let entry = omitted.iter().find(|entry| entry["path"] == name);
        let reason =
            entry.unwrap_or_else(|| panic!("{name} is not told of: {}", outcome.summary()))["reason"]
                .as_str()
                .unwrap();
        assert!(!reason.is_empty());
    }
}

#[test]
fn hostile_names_do_not_leave_the_directory_nor_break_the_report() {
    let (outcome, _directory, files) = collected(GUEST, "*.txt");
    let outcome = outcome.expect("ok");
    assert!(files.keys().all(|path| !path.starts_with(b"/") && !path.windows(3).any(|part| part == b"../")));
    let listed = outcome.get("files").as_array().unwrap();
    for entry in listed {
        let path = entry["path"].as_str().unwrap();
        assert!(path.chars().all(|letter| !letter.is_control() && letter != '\u{202e}'), "{path:?}");
    }
    assert!(listed.iter().any(|entry| entry["path"] == "good.txt"), "{}", outcome.summary());
}

#[test]
fn a_directory_swapped_for_a_link_at_the_end_stays_inside() {
    // A daemon swaps a directory and a link to the host for ever; it is dead before anything is collected.
    let code = "import os, sys\nfor number in range(20):\n    os.makedirs('d%d' % number); open('d%d/f.txt' % number, 'w').write('x')\nif os.fork(): os._exit(0)\nos.setsid()\ntop = os.path.dirname(sys.argv[1])\nos.mkdir('spare')\nwhile True:\n    for number in range(20):\n        try: os.rename('d%d' % number, 'spare/d'); os.symlink(top, 'd%d' % number); os.unlink('d%d' % number); os.rename('spare/d', 'd%d' % number)\n        except OSError: pass";
    let (outcome, _directory, files) = collected(code, "**/*.txt");
    outcome.expect("ok");
    assert!(files.values().all(|content| content == b"x"), "{files:?}");
}

#[test]
fn many_files_are_bounded() {
    let code = "try:\n    for n in range(100_000): open('f%d.txt' % n, 'w').close()\nexcept OSError: pass";
    let (outcome, _directory, files) = collected(code, "*.txt");
    let outcome = outcome.expect("ok");
    let listed = outcome.get("files").as_array().unwrap().len();
    assert_eq!(listed, files.len());
    assert!(listed > 0 && listed <= 16_384);
    assert!(outcome.elapsed.as_secs() < 15, "{:?}", outcome.elapsed);
}

#[test]
fn ten_thousand_nested_directories_do_not_overflow_the_collector() {
    let code = "import os\nopen('top.txt', 'w').write('top')\nos.mkdir('d')\nfor _ in range(10_000):\n    os.mkdir('n'); os.rename('d', 'n/d'); os.rename('n', 'd')\nfor _ in range(2000): os.chdir('d')\nopen('deep.txt', 'w').write('x')";
    let (outcome, _directory, files) = collected(code, "**/*.txt");
    let outcome = outcome.expect("ok");
    assert_eq!(
        files.get(b"top.txt".as_slice()).map(Vec::as_slice),
        Some(b"top".as_slice()),
        "{}",
        outcome.summary()
    );
}

#[test]
fn files_are_collected_after_a_limit_ended_the_run() {
    let code = "open('partial.txt', 'w').write('so far')\nwhile True: pass";
    let directory = Directory::new();
    let out = directory.path.to_str().unwrap();
    let outcome = Run::new(code)
        .wall("1s")
        .option("--collect", "*.txt")
        .option("--out", out)
        .run()
        .expect("time_limit");
    assert_eq!(
        std::fs::read_to_string(directory.path.join("partial.txt")).unwrap(),
        "so far",
        "{}",
        outcome.summary()
    );
}

#[test]
fn a_link_in_the_callers_directory_is_not_written_through() {
    let directory = Directory::new();
    let victim = directory.path.join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o666)).unwrap();
    let out = directory.path.join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::set_permissions(&out, PermissionsExt::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(&victim, out.join("result.txt")).unwrap();
    std::os::unix::fs::symlink(&directory.path, out.join("sub")).unwrap();
    let code = "import os\nopen('result.txt', 'w').write('from inside')\nos.mkdir('sub')\nopen('sub/victim', 'w').write('from inside')";
    let _ = Run::new(code).option("--collect", "**").option("--out", out.to_str().unwrap()).run();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
}
