//! Zygotes, supervisors and sandboxes that end, whenever that is.

use crate::case::{code, options, pool, preset};
use std::path::Path;
use wardian::host::Host;
use wardian::warm::{Pool, PoolOptions, Rotation};

#[test]
fn a_zygote_is_replaced_when_it_is_old() {
    let options = PoolOptions {
        rotation: Rotation { sandboxes: 3, ..Rotation::default() },
        ..options(&preset("python"), Path::new("/usr/bin/python3"))
    };
    let pool = Pool::start(options, &Host::detect()).unwrap();
    let first = pool.levels().generation;
    // Runs go on while the next one starts.
    let mut runs = 0;
    while pool.levels().generation <= first + 1 {
        assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
        runs += 1;
        assert!(runs < 1000, "{:?}", pool.levels());
    }
    assert!(runs >= 4);
}

/// What makes its successor impossible may be over soon; runs need not fail meanwhile.
#[test]
fn an_old_zygote_goes_on_if_the_next_cannot_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let python = directory.path().join("python3");
    let link = || std::os::unix::fs::symlink(std::fs::canonicalize("/usr/bin/python3").unwrap(), &python);
    link().unwrap();
    let rotation = Rotation { sandboxes: 2, ..Rotation::default() };
    let pool = Pool::start(PoolOptions { rotation, ..options(&preset("python"), &python) }, &Host::detect());
    let pool = pool.unwrap();
    std::fs::remove_file(&python).unwrap();
    let mut first = None;
    for _ in 0..20 {
        assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
        // One that had been begun may have come yet.
        first = first.or_else(|| pool.overdue().map(|_| pool.levels().generation));
    }
    let (why, first) = (pool.overdue().unwrap(), first.unwrap());
    assert!(why.contains("python3"), "{why}");
    assert_eq!(pool.levels().generation, first);
    link().unwrap();
    let started = std::time::Instant::now();
    while pool.overdue().is_some() {
        assert!(started.elapsed().as_secs() < 20);
        code("").warm(&pool);
    }
    assert!(pool.levels().generation > first);
}

/// Not a test: a process for `a_killed_supervisor_leaves_nothing` to kill.
#[test]
#[ignore = "started by another test"]
fn hold_a_pool() {
    let pool = pool(&preset("python"), 2, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| code("import os, time\nos.fork()\ntime.sleep(60)").warm(&pool));
        while pool.levels().running < 1 || pool.levels().ready < 2 {
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        println!("holding");
    });
}

/// Every process below `pid`, however it comes to be there.
fn below(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let all = || std::fs::read_dir("/proc").unwrap().flatten();
    let pids: Vec<u32> = all().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut next = 0;
    while next < found.len() {
        let above = found[next];
        found.extend(pids.iter().filter(|pid| parent(**pid) == Some(above)));
        next += 1;
    }
    found.remove(0);
    found
}

#[test]
fn a_killed_supervisor_leaves_nothing() {
    use std::io::BufRead;
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lives::hold_a_pool", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")));
    let below = below(holder.id());
    // Init, zygote; three slots of an init and a guest each; the guest's child.
    assert!(below.len() >= 9, "{below:?}");
    let owner = format!("wardian-{}-", holder.id());
    holder.kill().unwrap();
    let killed = std::time::Instant::now();
    let lives = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
    while below.iter().any(|pid| lives(&pid)) {
        let left: Vec<_> = below.iter().filter(lives).collect();
        assert!(killed.elapsed().as_millis() < 3000, "{left:?} of {below:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    holder.wait().unwrap();
    // Directories of cgroups stay until somebody sweeps: a pool does when it starts.
    let cgroups = Host::detect();
    let left = || {
        let above = cgroups.cgroups().directories().into_iter();
        let entries = above.filter_map(|path| std::fs::read_dir(path).ok()).flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&owner)).count()
    };
    let _sweeper = pool(&preset("python"), 1, 1);
    let swept = std::time::Instant::now();
    while left() > 0 {
        assert!(swept.elapsed().as_secs() < 5, "{} groups are left", left());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The zygote of a pool that is at rest, then its ready sandboxes; no other test may have some in this process.
fn zygote_and_ready(pool: &Pool) -> (u32, Vec<u32>) {
    // One that is made meanwhile would not be among them.
    while pool.levels().ready == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let is_interpreter = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("-m\0wardian"))
    };
    let mut found: Vec<u32> = below(std::process::id()).into_iter().filter(is_interpreter).collect();
    // The zygote is the first of them; its children look the same.
    found.sort_unstable();
    (found.remove(0), found)
}

fn signal(name: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Starts a test that needs a process of its own.
fn in_a_process(name: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A name that no test has would be well, too.
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{name}");
}

#[test]
#[ignore = "started by another test"]
fn end_a_sandbox_before_its_program() {
    let pool = pool(&preset("python"), 1, 1);
    let (_, ready) = zygote_and_ready(&pool);
    let [guest] = ready[..] else { panic!("{ready:?}") };
    // It cannot begin, and ends before it does.
    signal("-STOP", guest);
    let status = || std::fs::read_to_string(format!("/proc/{guest}/status")).unwrap();
    while !status().contains("State:\tT") {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    std::thread::scope(|scope| {
        let job = scope.spawn(|| code("print(1)").warm(&pool).stdout.text);
        while pool.levels().ready > 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!job.is_finished());
        signal("-KILL", guest);
        assert_eq!(job.join().unwrap(), "1\n");
    });
}

#[test]
fn a_run_that_had_not_begun_takes_another_sandbox() {
    in_a_process("lives::end_a_sandbox_before_its_program");
}

#[test]
#[ignore = "started by another test"]
fn replace_a_zygote() {
    let pool = pool(&preset("python"), 1, 1);
    assert_eq!(code("print(1)").warm(&pool).stdout.text, "1\n");
    let generation = pool.levels().generation;
    let (zygote, ready) = zygote_and_ready(&pool);
    let old = [&[zygote][..], &ready].concat();
    signal("-KILL", zygote);
    let gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
    while !old.iter().all(gone) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // Jobs that come meanwhile wait for the next one.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..3).for_each(|_| assert_eq!(code("print(2)").warm(&pool).stdout.text, "2\n")));
        }
    });
    assert!(pool.levels().generation > generation);
}

#[test]
fn a_zygote_that_dies_is_replaced() {
    in_a_process("lives::replace_a_zygote");
}
