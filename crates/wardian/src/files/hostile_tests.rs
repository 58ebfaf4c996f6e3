//! Collecting from trees that a hostile guest could leave behind, each with a file beside it that must come out.

use super::*;
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

/// What a sink would get, and nothing else.
#[derive(Default)]
struct Names(Vec<String>);

impl Sink for Names {
    fn take(&mut self, found: &Found<'_>) -> Result<(), SinkError> {
        self.0.push(found.shown.to_owned());
        Ok(())
    }
}

fn directory(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn into(root: &Path, patterns: &[&str], limits: &CollectLimits, sink: &mut dyn Sink) -> Collected {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    collect(directory(root).as_fd(), &Globs::new(&patterns).unwrap(), limits, &[], sink)
}

fn names(root: &Path, patterns: &[&str], limits: &CollectLimits) -> (Vec<String>, Collected) {
    let mut names = Names::default();
    let collected = into(root, patterns, limits, &mut names);
    assert_eq!(collected.files, names.0.len());
    (names.0, collected)
}

fn omitted(collected: &Collected) -> Vec<(&str, &str)> {
    collected.omitted.iter().map(|file| (file.path.as_str(), file.reason.as_str())).collect()
}

/// Without an end in time: the machine may be busy.
fn usual() -> CollectLimits {
    CollectLimits { time: Duration::MAX, ..CollectLimits::default() }
}

#[test]
fn takes_regular_files_sorted_and_says_what_the_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("sub/.git")).unwrap();
    for name in ["b", "a", "sub/c", "sub/.git/config", ".hidden"] {
        fs::write(at(name), name).unwrap();
    }
    fs::hard_link(at("a"), at("z-hard")).unwrap();
    symlink("/etc/passwd", at("passwd")).unwrap();
    symlink("/etc", at("etc")).unwrap();
    symlink(".", at("sub/loop")).unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();

    let (taken, collected) = names(dir.path(), &["**"], &usual());
    assert_eq!(taken, ["a", "b", "sub/c", "z-hard"]);
    let expected = [
        ("etc", "a symbolic link, not a regular file"),
        ("fifo", "a FIFO, not a regular file"),
        ("passwd", "a symbolic link, not a regular file"),
        ("socket", "a socket, not a regular file"),
        ("sub/loop", "a symbolic link, not a regular file"),
    ];
    assert_eq!(omitted(&collected), expected);

    // Through a link nothing is found, and not even said: no name below it matched.
    let unmatched = vec!["etc/*".to_owned(), "etc/**".to_owned()];
    let nothing = Collected { unmatched, ..Collected::default() };
    assert_eq!(names(dir.path(), &["etc/*", "etc/**"], &usual()), (Vec::new(), nothing));
    assert_eq!(names(dir.path(), &[".hidden", "sub/.*/*"], &usual()).0, [".hidden", "sub/.git/config"]);
}

#[test]
fn links_are_followed_within_the_root_where_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("file"), "x").unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    for (name, target) in [
        ("absolute", "/etc/passwd"),
        ("good", "sub/up"),
        ("nowhere", "none"),
        ("out", "../../../../../../etc/passwd"),
        ("self", "self"),
        ("sub/magic", "/proc/self/exe"),
        ("sub/up", "../file"),
        ("tofifo", "fifo"),
        ("tosub", "sub"),
    ] {
        symlink(target, at(name)).unwrap();
    }

    let (taken, collected) = names(dir.path(), &["**"], &CollectLimits { links: true, ..usual() });
    assert_eq!(taken, ["file", "good", "sub/up"]);
    let out = "a symbolic link that leads out of the directory, not a regular file";
    let expected = [
        ("absolute", out),
        ("fifo", "a FIFO, not a regular file"),
        ("nowhere", "a symbolic link that leads nowhere, not a regular file"),
        ("out", out),
        ("self", "a symbolic link, not a regular file"),
        ("sub/magic", out),
        ("tofifo", "a FIFO, not a regular file"),
        ("tosub", "a directory, not a regular file"),
    ];
    assert_eq!(omitted(&collected), expected);
}

#[test]
fn no_other_file_system_is_entered() {
    let (taken, collected) = names(Path::new("/"), &["proc/version", "proc/self/status"], &usual());
    assert_eq!(taken, Vec::<String>::new());
    assert_eq!(omitted(&collected), [("proc", "on another file system")]);
    let (taken, _) = names(Path::new("/proc"), &["version"], &usual());
    assert_eq!(taken, ["version"]);
}

#[test]
fn names_of_any_bytes_are_escaped_in_reports_and_kept_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let raw = OsStr::from_bytes(b"a\n\xff%\x1b[2J");
    fs::write(dir.path().join(raw), "x").unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut sink = OutDir::open(out.path()).unwrap();
    assert_eq!(into(dir.path(), &["*"], &usual(), &mut sink).files, 1);
    assert_eq!(sink.into_entries()[0].path, "a%0A%FF%25%1B[2J");
    assert_eq!(fs::read(out.path().join(raw)).unwrap(), b"x");
}

/// Takes a chain of directories `d` below `base` down from above, as removing it from below would need as many
/// descriptors or bytes of path.
fn remove_chain(base: &Path) {
    let (top, below) = (base.join("d"), base.join("below"));
    while top.exists() {
        let _ = fs::remove_file(top.join("f"));
        let deeper = fs::rename(top.join("d"), &below).is_ok();
        fs::remove_dir(&top).unwrap();
        if deeper {
            fs::rename(&below, &top).unwrap();
        }
    }
}

#[test]
fn ten_thousand_directories_are_not_followed_down() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    let mut at = directory(dir.path());
    for depth in 1..=10_000 {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", OFlags::PATH, Mode::empty()).unwrap();
        if depth == 64 || depth == 65 {
            mknodat(&at, "f", FileType::RegularFile, Mode::RUSR, 0).unwrap();
        }
    }
    let (taken, collected) = names(dir.path(), &["**"], &usual());
    remove_chain(dir.path());
    assert_eq!(taken, ["d/".repeat(64) + "f", "f".into()]);
    let deepest = ["d"; 65].join("/");
    assert_eq!(omitted(&collected), [(deepest.as_str(), "deeper than 64 directories")]);
}

#[test]
fn a_hundred_thousand_files_are_counted() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let root = directory(dir.path());
    for number in 0..100_000 {
        mknodat(&root, format!("{number:05}"), FileType::RegularFile, Mode::RUSR, 0).unwrap();
    }
    let limits = CollectLimits { time: Duration::MAX, ..usual() };
    let (taken, collected) = names(dir.path(), &["*"], &limits);
    assert_eq!((taken.len(), taken[0].as_str(), taken[999].as_str()), (1000, "00000", "00999"));
    assert_eq!((collected.omitted.len(), collected.omitted_more), (100, 98_900));
    assert_eq!(omitted(&collected)[0], ("01000", "more than 1000 files"));
}

/// The paths alone would be 49 MB: 64 names of 255 bytes, each three characters in a report, for every file.
#[test]
fn long_paths_do_not_fill_the_report() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let long = OsStr::from_bytes(&[0xff; 255]);
    let mut at = directory(dir.path());
    for _ in 0..64 {
        mkdirat(&at, long, Mode::RWXU).unwrap();
        at = openat(&at, long, OFlags::PATH, Mode::empty()).unwrap();
    }
    for number in 0..1100 {
        mknodat(&at, format!("{number:04}"), FileType::RegularFile, Mode::RUSR, 0).unwrap();
    }
    let (taken, collected) = names(dir.path(), &["**"], &usual());
    assert_eq!(taken.len(), 21);
    assert_eq!((collected.omitted.len(), collected.omitted_more), (100, 979));
    assert!(taken.iter().map(String::len).sum::<usize>() as u64 <= usual().path_bytes);
    let first = &collected.omitted[0];
    assert_eq!(first.reason, "its path is longer than what is left of the 1048576 bytes for all paths");
    assert!(first.path.ends_with('…') && first.path.len() < 1100, "{}", first.path.len());
    // What has a short path is still taken.
    mknodat(directory(dir.path()), "z", FileType::RegularFile, Mode::RUSR, 0).unwrap();
    assert_eq!(names(dir.path(), &["z"], &usual()).0, ["z"]);
}

#[test]
fn every_limit_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("z")).unwrap();
    for (name, bytes) in [("a", 10), ("b", 20), ("c", 5), ("z/d", 1)] {
        fs::write(dir.path().join(name), vec![b'x'; bytes]).unwrap();
    }
    let run = |limits: CollectLimits| names(dir.path(), &["**"], &limits);
    assert_eq!(run(usual()).0, ["a", "b", "c", "z/d"]);

    let (taken, collected) = run(CollectLimits { file_bytes: 10, ..usual() });
    assert_eq!(taken, ["a", "c", "z/d"]);
    assert_eq!(omitted(&collected), [("b", "20 bytes, more than the 10 a file may have")]);

    let (taken, collected) = run(CollectLimits { total_bytes: 16, ..usual() });
    assert_eq!(taken, ["a", "c", "z/d"]);
    assert_eq!(omitted(&collected), [("b", "20 bytes, more than is left of the 16 for all files")]);

    let (taken, collected) = run(CollectLimits { files: 1, omitted: 2, ..usual() });
    assert_eq!(taken, ["a"]);
    assert_eq!(omitted(&collected), [("b", "more than 1 files"), ("c", "more than 1 files")]);
    assert_eq!(collected.omitted_more, 1);

    let (taken, collected) = run(CollectLimits { entries: 4, ..usual() });
    assert_eq!(taken, ["a", "b", "c"]);
    assert_eq!(omitted(&collected), [("z", "not searched further: more than 4 directory entries")]);

    let (taken, collected) = run(CollectLimits { name_bytes: 4, ..usual() });
    assert_eq!(taken, ["a", "b", "c"]);
    assert_eq!(omitted(&collected), [("z", "not searched further: names of more than 4 bytes")]);

    let (taken, collected) = run(CollectLimits { time: Duration::ZERO, ..usual() });
    assert_eq!(taken, Vec::<String>::new());
    assert_eq!(omitted(&collected), [(".", "not searched further: collecting took longer than 0ns")]);
}

#[test]
fn modes_that_refuse_us_are_no_hiding_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("closed/unsearchable")).unwrap();
    fs::write(root.join("closed/unsearchable/f"), "").unwrap();
    for (name, mode) in [("closed/unsearchable/f", 0), ("closed/unsearchable", 0o400), ("closed", 0), ("", 0)]
    {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(names(&root, &["**"], &usual()).0, ["closed/unsearchable/f"]);
    // As root the file would be had anyway; that the modes changed shows how an ordinary user gets it.
    let mode = |name: &str| fs::symlink_metadata(root.join(name)).unwrap().mode() & 0o7777;
    assert_eq!([mode(""), mode("closed"), mode("closed/unsearchable")], [0o700; 3]);
    assert_eq!(mode("closed/unsearchable/f"), 0o600);
}

#[test]
fn a_tebibyte_of_hole_costs_nothing() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 1 << 39).unwrap();
    fs::write(dir.path().join("small"), "s").unwrap();

    let (taken, collected) = names(dir.path(), &["*"], &usual());
    assert_eq!(taken, ["small"]);
    let reason = "1099511627776 bytes, more than the 1073741824 a file may have";
    assert_eq!(omitted(&collected), [("sparse", reason)]);

    let limits = CollectLimits { file_bytes: u64::MAX, total_bytes: u64::MAX, ..usual() };
    let out = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut sink = OutDir::open(out.path()).unwrap();
    assert_eq!(into(dir.path(), &["*"], &limits, &mut sink).files, 2);
    let copy = File::open(out.path().join("sparse")).unwrap();
    let stat = copy.metadata().unwrap();
    assert_eq!(stat.len(), 1 << 40);
    assert!(stat.blocks() * 512 < 1 << 24, "{} blocks", stat.blocks());
    let mut middle = [0; 6];
    std::os::unix::fs::FileExt::read_exact_at(&copy, &mut middle, 1 << 39).unwrap();
    assert_eq!(&middle, b"middle");

    let mut report = ReportSink::new(8 << 20);
    let collected = into(dir.path(), &["*"], &limits, &mut report);
    assert_eq!(omitted(&collected), [("sparse", "larger than what a report holds; use --out")]);
    assert_eq!(report.into_entries()[0].base64.as_deref(), Some("cw=="));
}

#[test]
fn reports_hold_so_many_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("a.txt", "hello"), ("b", "123456"), ("c", "12345")] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let mut report = ReportSink::new(10);
    let collected = into(dir.path(), &["*"], &usual(), &mut report);
    assert_eq!(omitted(&collected), [("b", "larger than what a report holds; use --out")]);
    let entries = report.into_entries();
    let shown: Vec<_> =
        entries.iter().map(|entry| (entry.path.as_str(), entry.bytes, entry.mime.as_str())).collect();
    assert_eq!(shown, [("a.txt", 5, "text/plain"), ("c", 5, "application/octet-stream")]);
    assert_eq!(entries[0].base64.as_deref(), Some("aGVsbG8="));
}

#[test]
fn traps_in_the_output_directory_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("new/deep")).unwrap();
    fs::create_dir(dir.path().join("linked")).unwrap();
    for name in ["file", "new/deep/f", "linked/f", "taken", "old"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    fs::set_permissions(dir.path().join("file"), Permissions::from_mode(0o6755)).unwrap();

    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("precious"), "precious").unwrap();
    let out = host.path().join("out");
    let mut sink = OutDir::open(&out).unwrap();
    symlink(host.path().join("precious"), out.join("file")).unwrap();
    symlink(host.path(), out.join("linked")).unwrap();
    fs::create_dir(out.join("taken")).unwrap();
    fs::write(out.join("old"), "a longer old content").unwrap();

    let collected = into(dir.path(), &["**"], &usual(), &mut sink);
    assert_eq!(collected.files, 3);
    let paths: Vec<_> = collected.omitted.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["linked/f", "taken"]);
    assert!(collected.omitted[0].reason.starts_with("cannot open a directory in the output directory: "));
    assert!(collected.omitted[1].reason.starts_with("cannot put a file in place in the output directory: "));

    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!([read("file"), read("new/deep/f"), read("old")], ["file", "new/deep/f", "old"]);
    assert_eq!(fs::read_to_string(host.path().join("precious")).unwrap(), "precious");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 2, "nothing beside the directory");
    let stat = fs::symlink_metadata(out.join("file")).unwrap();
    assert!(stat.is_file());
    assert_eq!(stat.mode() & 0o7000, 0, "no set-id bits");
    assert_eq!(stat.mode() & 0o100, 0o100, "executable as it was");
    let left = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.as_bytes().starts_with(b".wardian-")), "no temporary file");
}

#[test]
fn an_output_directory_must_be_one() {
    let host = tempfile::tempdir().unwrap();
    let error = |path: &Path| OutDir::open(path).unwrap_err();
    fs::write(host.path().join("file"), "").unwrap();
    assert!(matches!(error(&host.path().join("file")), OutDirError::NotDirectory(_)));
    let missing = error(&host.path().join("none/out"));
    assert!(matches!(missing, OutDirError::Create { .. }));
    assert_eq!(missing.hint(), Some(format!("create {} first", host.path().join("none").display())));
    assert!(matches!(error(Path::new("/proc")), OutDirError::NotWritable { .. }));
    OutDir::open(&host.path().join("fresh")).unwrap();
    assert!(host.path().join("fresh").is_dir());
}

#[test]
fn leaves_out_what_was_given_and_is_as_it_was() {
    let given = |name: &str, content: &[u8]| Input::from_bytes(name.parse().unwrap(), content).unwrap();
    let large = vec![7; 200_000];
    let inputs =
        [given("same", b"abc"), given("other", b"abc"), given("sub/large", &large), given("longer", b"abc")];
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    for input in &inputs {
        let mut content = Vec::new();
        File::from(input.reopen().unwrap()).read_to_end(&mut content).unwrap();
        fs::write(dir.path().join(input.name()), content).unwrap();
    }
    let patterns = ["**".to_owned()];
    let taken = || {
        let mut sink = ReportSink::new(8 << 20);
        let globs = Globs::new(&patterns).unwrap();
        let collected = collect(directory(dir.path()).as_fd(), &globs, &usual(), &inputs, &mut sink);
        assert_eq!((&collected.omitted[..], &collected.unmatched[..]), (&[][..], &[][..]));
        sink.into_entries().into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    assert!(taken().is_empty());

    // The times say nothing: a program sets them as it likes.
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, content).unwrap();
        File::open(&path).unwrap().set_modified(modified).unwrap();
    };
    write("other", b"abd");
    write("longer", b"abcd");
    let mut changed = large.clone();
    changed[199_999] = 8;
    write("sub/large", &changed);
    assert_eq!(taken(), ["longer", "other", "sub/large"]);
}
