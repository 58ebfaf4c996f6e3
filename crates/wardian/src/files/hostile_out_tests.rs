//! Writing to an output directory that others change, or have prepared, while we write.

use super::*;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn collect_all(root: &Path, limits: &CollectLimits, sink: &mut dyn Sink) -> Collected {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    collect(root.as_fd(), &Globs::new(&["**".into()]).unwrap(), limits, &[], sink)
}

fn usual() -> CollectLimits {
    CollectLimits::default()
}

#[test]
fn a_planted_link_leads_a_plain_read_to_the_secret_and_us_nowhere() {
    let host = tempfile::tempdir().unwrap();
    let tree = host.path().join("box");
    fs::create_dir(&tree).unwrap();
    fs::write(host.path().join("secret"), "secret").unwrap();
    symlink("../secret", tree.join("relative")).unwrap();
    symlink(host.path().join("secret"), tree.join("absolute")).unwrap();
    symlink("..", tree.join("up")).unwrap();

    for planted in ["relative", "absolute", "up/secret"] {
        assert_eq!(fs::read(tree.join(planted)).unwrap(), b"secret", "the control reaches it");
    }
    let mut report = ReportSink::new(8 << 20);
    assert_eq!(collect_all(&tree, &usual(), &mut report).omitted.len(), 3);
    assert!(report.into_entries().is_empty());
}

/// Exchanges `one` and `other` (`renameat2(2)`) until told to stop.
fn exchange(one: &Path, other: &Path, stop: &AtomicBool) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
    }
}

#[test]
fn directories_that_are_exchanged_while_we_write_lead_nowhere() {
    let host = tempfile::tempdir().unwrap();
    let at = |name: &str| host.path().join(name);
    fs::create_dir_all(at("box/sub")).unwrap();
    fs::write(at("box/sub/f"), "x").unwrap();
    for name in ["out", "out/sub", "outside"] {
        fs::create_dir(at(name)).unwrap();
    }
    symlink(at("outside"), at("out/link")).unwrap();

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(&at("out/sub"), &at("out/link"), &stop));
        let end = Instant::now() + Duration::from_secs(20);
        let (mut tries, mut refused) = (0, 0);
        while (tries < 300 || refused == 0) && Instant::now() < end {
            tries += 1;
            refused +=
                collect_all(&at("box"), &usual(), &mut OutDir::open(&at("out")).unwrap()).omitted.len();
        }
        let escaped = at("outside/f").exists();
        // The control loses the very same race.
        while !at("outside/f").exists() && Instant::now() < end {
            let _ = fs::write(at("out/sub/f"), "x");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(!escaped);
        assert!(at("outside/f").exists(), "the control was never led out");
        assert!(refused > 0, "never met the link");
    });
}

#[test]
fn runs_that_write_to_one_directory_at_once_make_the_same_parents() {
    let host = tempfile::tempdir().unwrap();
    let at = |name: &str| host.path().join(name);
    for directory in 0..200 {
        let below = at("box").join(format!("{directory}/a/b"));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("f"), "x").unwrap();
    }
    let barrier = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        let run = || {
            let mut out = OutDir::open(&at("out")).unwrap();
            barrier.wait();
            collect_all(&at("box"), &usual(), &mut out)
        };
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for run in runs {
            let collected = run.join().unwrap();
            assert_eq!((collected.files, collected.omitted), (200, Vec::new()));
        }
    });
}

#[test]
fn what_a_closed_file_loses_is_not_that_it_is_executable() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, out) = (dir.path().join("box"), dir.path().join("out"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("f"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tree.join("f"), Permissions::from_mode(0o111)).unwrap();
    assert_eq!(collect_all(&tree, &usual(), &mut OutDir::open(&out).unwrap()).files, 1);
    assert_eq!(fs::metadata(out.join("f")).unwrap().permissions().mode() & 0o100, 0o100);
}

/// Exceeding `RLIMIT_FSIZE` is a signal that kills (`setrlimit(2)`), and it would be us. The limit belongs to the
/// whole process, other tests included, and so is far above what they write.
#[test]
fn a_hole_beyond_the_callers_file_size_limit_does_not_kill_us() {
    const LIMIT: u64 = 1 << 41;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let (tree, out) = (dir.path().join("box"), dir.path().join("out"));
    fs::create_dir(&tree).unwrap();
    fs::File::create(tree.join("f")).unwrap().set_len(LIMIT + 1).unwrap();
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(LIMIT), ..before }).unwrap();
    let limits = CollectLimits { file_bytes: u64::MAX, total_bytes: u64::MAX, ..usual() };
    let collected = collect_all(&tree, &limits, &mut OutDir::open(&out).unwrap());
    setrlimit(Resource::Fsize, before).unwrap();
    assert_eq!(collected.omitted.len(), 1);
    assert!(collected.omitted[0].reason.contains("File too large"), "{}", collected.omitted[0].reason);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}
