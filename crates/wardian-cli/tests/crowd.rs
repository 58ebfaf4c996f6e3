//! Many sandboxes at once: from many processes, from many threads of one large program, and killed in any phase.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wardian::host::Host;
use wardian::plan::{Plan, Program, Request};
use wardian::policy;
use wardian::sandbox::{self, Connections, HeadStart, Running};

/// The tests count processes, memory and time of their own: one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn wardian(arguments: &[&str]) -> Command {
    let binary =
        std::env::var_os("WARDIAN_BIN").map_or_else(|| env!("CARGO_BIN_EXE_wardian").into(), PathBuf::from);
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn two_hundred_processes_start_one_each() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let echo = |number: usize| {
        let number = number.to_string();
        wardian(&["run", "--wall", "120s", "--exec", "/bin/echo", &number]).spawn().unwrap()
    };
    let children: Vec<Child> = (0..200).map(echo).collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{number}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
    }
}

/// However late the supervisor gets a core, what happened first is told to have happened first.
#[test]
fn short_programs_start_before_they_end() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in 0..8 {
        let run = || wardian(&["run", "--json", "--exec", "/bin/true"]).spawn().unwrap();
        let children: Vec<Child> = (0..16).map(|_| run()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let at = |name: &str| report["timeline_us"][name].as_u64();
            assert!(at("started").is_some() && at("started") <= at("ended"), "{report}");
        }
    }
}

/// A copy of this program's memory for each sandbox would take many times the time and the memory.
#[test]
fn forty_threads_of_a_large_program_start_five_each() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ballast = vec![1u8; 1 << 30];
    let host = Host::detect();
    std::thread::scope(|threads| {
        for thread in 0..40 {
            let host = &host;
            threads.spawn(move || {
                for round in 0..5 {
                    let word = format!("{thread}-{round}");
                    let mut request =
                        Request::new(policy::preset("python").unwrap(), Program::Exec("/bin/echo".into()));
                    request.policy.limits.wall = "120s".parse().unwrap();
                    request.args.push(word.clone().into());
                    // Without a head start; with namespaces that are made meanwhile; with a root, too.
                    let mut head_start = (round % 3 > 0).then(|| HeadStart::begin(host));
                    let plan = match &mut head_start {
                        Some(head_start) if round % 3 == 2 => head_start.plan(request, host),
                        _ => Plan::build(request, host),
                    };
                    let plan = plan.unwrap();
                    let running = sandbox::launch(plan, Connections::capture(), head_start);
                    let report = running.and_then(Running::wait).unwrap();
                    assert_eq!((report.exit_code, report.stdout.text), (Some(0), word + "\n"));
                }
            });
        }
    });
    assert!(ballast.iter().step_by(4096).all(|byte| *byte == 1));
    assert_eq!(children(), BTreeSet::new(), "every init has been waited for");
}

/// Orphans come to this process, which adopts them: what is left of a killed wardian cannot hide.
#[test]
fn a_kill_in_any_phase_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let out = tempfile::tempdir().unwrap();
    let out_dir = out.path().to_str().unwrap();
    let busy: &[&str] = &["run", "--wall", "20s", "--exec", "/bin/sh", "-c", "while :; do sleep 0.01 & done"];
    let brief: &[&str] = &["run", "--exec", "/bin/true"];
    let many = "i=0; while [ $i -lt 800 ]; do : >$i; i=$((i+1)); done";
    let collects: &[&str] = &["run", "--collect", "*", "--out", out_dir, "--exec", "/bin/sh", "-c", many];
    let mut killed = Vec::new();
    // Delays from before the first clone to after the last step, in steps of which no two phases share one.
    for (what, most_us) in [(busy, 30_000), (brief, 8_000), (collects, 40_000)] {
        for step in 0..20u64 {
            let mut child = wardian(what).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(most_us * step / 20));
            let _ = child.kill();
            let at = Instant::now();
            let _ = child.wait();
            adopt_the_end(what, at);
            killed.push(child.id());
        }
    }
    assert!(wardian(&["gc"]).output().unwrap().status.success());
    for pid in killed {
        assert_eq!(groups_of(pid), Vec::<PathBuf>::new());
    }
}

/// An interpreter is asked where its files are outside any sandbox.
#[test]
fn a_kill_while_an_interpreter_is_asked_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let home = tempfile::tempdir().unwrap();
    let real = fs::canonicalize("/usr/bin/python3").unwrap();
    let python = home.path().join("bin/python3");
    let library = home.path().join("lib").join(real.file_name().unwrap());
    for directory in [python.parent().unwrap(), &library.join("encodings")] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::copy(&real, &python).unwrap();
    // By this file it knows its library; the other it needs before anything else.
    fs::write(library.join("os.py"), "").unwrap();
    fs::write(library.join("encodings/__init__.py"), "while True: pass\n").unwrap();
    let what: &[&str] = &["run", "--python", python.to_str().unwrap(), "-c", "0"];
    let mut child = wardian(what).spawn().unwrap();
    let own = |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let started = Instant::now();
    while !own(child.id())
        .split(' ')
        .any(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == python))
    {
        assert!(started.elapsed().as_secs() < 5, "it is not asked");
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let at = Instant::now();
    let _ = child.wait();
    adopt_the_end(what, at);
}

/// Waits until no adopted process lives; the promise is 100 ms.
fn adopt_the_end(what: &[&str], killed: Instant) {
    const PROMISE: Duration = Duration::from_millis(100);
    loop {
        // __WALL: a sandbox's init sends no signal at its end, and only such a wait sees it.
        let any = WaitOptions::NOHANG | WaitOptions::from_bits_retain(0x4000_0000);
        while let Ok(Some(_)) = wait(any) {}
        let left = children();
        if left.is_empty() {
            return;
        }
        if killed.elapsed() > PROMISE * patience() {
            let names: Vec<_> =
                left.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/stat"))).collect();
            for pid in left {
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            panic!("{what:?} left {names:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The promise is for an idle machine; a loaded one is measured by its load.
fn patience() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    if load < 2.0 { 2 } else { 10 }
}

/// The children of all threads of this process.
fn children() -> BTreeSet<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<_>>()).collect()
}

/// The cgroups that a process made, wherever they are.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    fn look(directory: &Path, depth: u32, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(name) {
                found.push(entry.path());
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                look(&entry.path(), depth - 1, name, found);
            }
        }
    }
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), 6, &format!("wardian-{pid}-"), &mut found);
    found
}
