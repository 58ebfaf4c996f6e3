//! Real groups on this machine, whichever version it has; as root, or inside a delegated unit.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use wardian::limits::cgroup::{Cap, Cgroup, CgroupHost, CgroupLimits, Counts, Oom, Swap, Version, gc};

const MIB: u64 = 1 << 20;

/// The host that these tests run on, or nothing, loudly.
fn host() -> Option<CgroupHost> {
    let host = CgroupHost::locate(Cap::Any);
    if let Some(reason) = host.reason() {
        println!("SKIP: {reason}; {}", reason.hint().unwrap_or_default());
        return None;
    }
    Some(host)
}

fn tight() -> CgroupLimits {
    CgroupLimits { memory_bytes: Some(48 * MIB), processes: Some(16), ..CgroupLimits::default() }
}

/// A shell that joins the group before anything else. (A real sandbox is born into it on version 2.)
/// Runs a script in a cgroup; it is in all of it when this returns.
fn start(cgroup: &Cgroup, script: &str) -> Child {
    let join = if cgroup.join_files().is_empty() {
        format!("echo 0 > {}/cgroup.procs", cgroup.path().display())
    } else {
        let files = cgroup.join_files().iter().map(|file| {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            format!("echo 0 > {}", path.display())
        });
        files.collect::<Vec<_>>().join(" && ")
    };
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("{join} || exit 99\necho\n{script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

fn end(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8_lossy(&text).into_owned())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Doubles a string until it has 2^26 bytes or memory ends, with nothing but a shell.
const EAT: &str = "x=aaaaaaaaaaaaaaaa; while [ ${#x} -lt 67108864 ]; do x=$x$x; done; echo whole";

#[test]
fn memory_is_limited_and_the_kill_is_counted() {
    let Some(host) = host() else { return };
    let cgroup = host.create(&tight()).unwrap();
    let mut watch = cgroup.oom_watch().unwrap();
    assert_eq!(cgroup.oom_kills().unwrap(), 0);
    assert!(!is_ready(&mut watch, 0), "nothing has happened yet");

    // The inner shell is the victim; on version 2 the whole group goes with it.
    let (status, said) = end(start(&cgroup, &format!("/bin/sh -c '{EAT}'; echo survived")));
    assert!(!said.contains("whole"), "{said}");
    assert_eq!(said.contains("survived"), host.version() == Some(Version::V1), "{status} {said}");

    assert!(is_ready(&mut watch, 1000), "running out of memory is told");
    assert!(watch.drain().unwrap() >= 1);
    // Version 2 puts off a notification that follows another within 10 ms: it may come yet.
    wait_until("the news is taken", || watch.drain().is_ok() && !is_ready(&mut watch, 50));
    assert!(cgroup.oom_kills().unwrap() >= 1);
    if let Some(peak) = cgroup.memory_peak_bytes().unwrap() {
        assert!((40 * MIB..=48 * MIB).contains(&peak), "{peak}");
    }
}

fn is_ready(watch: &mut wardian::limits::cgroup::OomWatch, milliseconds: u32) -> bool {
    let interest = PollFlags::from_bits_truncate(u16::try_from(watch.interest().bits()).unwrap());
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(milliseconds) * 999_999 };
    let mut fds = [PollFd::from_borrowed_fd(watch.as_fd(), interest)];
    poll(&mut fds, Some(&timeout)).unwrap();
    fds[0].revents().intersects(interest)
}

#[test]
fn without_a_limit_the_same_program_goes_through() {
    let Some(host) = host() else { return };
    let cgroup = host.create(&CgroupLimits { oom: Oom::One, ..CgroupLimits::default() }).unwrap();
    let (status, said) = end(start(&cgroup, EAT));
    assert!(status.success() && said.contains("whole"), "{status} {said}");
    assert_eq!(cgroup.oom_kills().unwrap(), 0);
    assert_eq!(cgroup.swap(), Swap::Unavailable);
}

#[test]
fn with_oom_one_the_rest_lives_on() {
    let Some(host) = host() else { return };
    let cgroup = host.create(&CgroupLimits { oom: Oom::One, ..tight() }).unwrap();
    let (_, said) = end(start(&cgroup, &format!("/bin/sh -c '{EAT}'; echo survived")));
    assert!(said.contains("survived") && !said.contains("whole"), "{said}");
    assert!(cgroup.oom_kills().unwrap() >= 1);
}

#[test]
fn processes_are_limited_and_refusals_are_counted() {
    let Some(host) = host() else { return };
    let cgroup = host.create(&CgroupLimits { processes: Some(4), ..tight() }).unwrap();
    let (_, said) = end(start(&cgroup, "for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait"));
    assert!(said.to_lowercase().contains("fork"), "{said}");
    assert!(cgroup.process_limit_hits().unwrap() >= 1);
    assert!(cgroup.processes_peak().unwrap().is_none_or(|peak| peak == 4));

    let roomy = host.create(&CgroupLimits { processes: Some(10), ..tight() }).unwrap();
    let (status, said) = end(start(&roomy, "for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait"));
    assert!(status.success(), "{said}");
    assert_eq!(roomy.process_limit_hits().unwrap(), 0);
}

#[test]
fn a_group_is_used_again_only_if_it_tells_nothing_of_its_past() {
    let Some(host) = host() else { return };
    let lived = |script: &str| {
        let cgroup = host.create(&tight()).unwrap();
        end(start(&cgroup, script));
        wait_until("everybody leaves", || !cgroup.is_populated().unwrap());
        cgroup
    };
    let Some(mut again) = renew(lived(":")) else {
        // Version 2 before Linux 6.12 cannot forget a peak.
        assert_eq!(host.version(), Some(Version::V2));
        println!("SKIP: this kernel's groups cannot be used again");
        return;
    };
    let used = again.cpu_total_us().unwrap();
    let (status, said) = end(start(&again, "x=a; while [ ${#x} -lt 4194304 ]; do x=$x$x; done"));
    assert!(status.success(), "{said}");
    let peak = again.memory_peak_bytes().unwrap().unwrap();
    assert!(peak > 4 * MIB && again.cpu_total_us().unwrap() > used, "{peak}");
    assert_eq!(again.processes_peak().unwrap().unwrap_or(1), 1);
    wait_until("it leaves", || !again.is_populated().unwrap());
    again = renew(again).unwrap();
    let peak = again.memory_peak_bytes().unwrap().unwrap();
    assert!(peak <= wardian::limits::cgroup::CHARGED_BYTES, "{peak}");
    let (_, said) = end(start(&again, &format!("/bin/sh -c '{EAT}'; echo")));
    assert!(!said.contains("whole") && again.oom_kills().unwrap() > 0, "its limit holds: {said}");
    assert!(renew(again).is_none(), "one was killed");

    assert!(renew(lived("/bin/true & wait")).is_none() || host_counts_no_peak(&host), "there were two");
    assert!(renew(lived("i=0; while [ $i -lt 30 ]; do sleep 0.1 & i=$((i+1)); done; wait")).is_none());
    // The kernel remembers what is not there, and charges for it; but not on a tmpfs.
    let in_vain = "i=0; while [ $i -lt 3000 ]; do [ -e /sys/$$-$i ]; i=$((i+1)); done";
    let searched = lived(in_vain);
    assert!(searched.memory_left_bytes().unwrap() > wardian::limits::cgroup::LEFT_BYTES);
    assert!(renew(searched).is_none(), "it has less room");
    let limited = lived(":");
    limited.kill().unwrap();
    assert!(renew(limited).is_none(), "it lets nobody fork");
    let mut limited = lived(":");
    limited.limit(&CgroupLimits { processes: Some(3), ..tight() }).unwrap();
    assert!(renew(limited).is_none(), "it has other limits");
    let alive = host.create(&tight()).unwrap();
    let child = start(&alive, "read line");
    assert!(renew(alive).is_none(), "it is not empty");
    drop(end(child));
}

fn renew(cgroup: Cgroup) -> Option<Cgroup> {
    let counts = Counts::of(&cgroup);
    cgroup.renew(&counts)
}

/// Before Linux 6.1 nobody knows how many processes there were.
fn host_counts_no_peak(host: &CgroupHost) -> bool {
    host.create(&tight()).unwrap().processes_peak().unwrap().is_none()
}

#[test]
fn cpu_time_is_counted_when_everybody_is_dead() {
    let Some(host) = host() else { return };
    let cgroup = host.create(&tight()).unwrap();
    assert_eq!(cgroup.cpu_total_us().unwrap(), 0);
    // `times` tells the shell's own and its children's user and system time.
    let count = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let (status, said) = end(start(&cgroup, &format!("sh -c '{count}'; {count}; times")));
    assert!(status.success(), "{said}");
    let told: f64 = said.split_whitespace().map(seconds).sum();
    let usage = cgroup.cpu_usage().unwrap();
    let counted = Duration::from_micros(usage.total_us).as_secs_f64();
    assert!((counted - told).abs() < 0.05 + told * 0.1, "{counted} {said}");
    assert_eq!(cgroup.cpu_total_us().unwrap(), usage.total_us);
    // Version 2 rounds each of the three down.
    assert!(usage.total_us - (usage.user_us + usage.system_us) <= 2, "{usage:?}");
    assert!(usage.user_us > usage.system_us, "{usage:?}");
}

/// `0m0.120s`
fn seconds(text: &str) -> f64 {
    let (minutes, seconds) = text.trim_end_matches('s').split_once('m').unwrap();
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
}

#[test]
fn cores_are_limited() {
    let Some(host) = host() else { return };
    if !host.controllers().cpu {
        println!("SKIP: no cpu controller in {:?}", host.directories());
        return;
    }
    let cgroup = host.create(&CgroupLimits { cpus: Some(0.2), ..tight() }).unwrap();
    let started = Instant::now();
    let mut child = start(&cgroup, "while :; do :; done");
    std::thread::sleep(Duration::from_millis(600));
    cgroup.kill().unwrap();
    child.wait().unwrap();
    let share =
        Duration::from_micros(cgroup.cpu_total_us().unwrap()).as_secs_f64() / started.elapsed().as_secs_f64();
    assert!(share < 0.3, "{share}");
    assert!(cgroup.cpu_throttled().unwrap().unwrap().periods >= 1);

    let free = host.create(&CgroupLimits { cpus: Some(100_000.0), ..tight() }).unwrap();
    assert_eq!(free.cpu_throttled().unwrap().unwrap_or_default().periods, 0);
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let limits = CgroupLimits { cpus: Some(wrong), ..tight() };
        assert!(host.create(&limits).unwrap_err().to_string().starts_with("cannot limit cores to "));
    }
}

#[test]
fn two_groups_know_nothing_of_each_other() {
    let Some(host) = host() else { return };
    let (busy, idle) = (host.create(&tight()).unwrap(), host.create(&tight()).unwrap());
    assert_ne!(busy.name(), idle.name());
    let mut one = start(&busy, "while :; do :; done");
    let two = start(&idle, "read line");
    wait_until("it runs", || busy.cpu_total_us().unwrap() > 100_000);
    assert!(idle.cpu_total_us().unwrap() < 50_000);
    assert!(busy.is_populated().unwrap() && idle.is_populated().unwrap());
    busy.kill().unwrap();
    one.wait().unwrap();
    wait_until("it is empty", || !busy.is_populated().unwrap());
    assert!(idle.is_populated().unwrap());
    let (status, _) = end(two);
    assert_eq!(status.code(), Some(1), "the other one was not killed: it saw the end of its input");
}

#[test]
fn removal_takes_the_last_process_along() {
    let Some(host) = host() else { return };
    let cgroup = host.create(&tight()).unwrap();
    let places = places(&host, cgroup.name());
    assert!(!places.is_empty());
    let mut child = start(&cgroup, "sleep 100 & sleep 100");
    wait_until("it runs", || cgroup.is_populated().unwrap());
    drop(cgroup);
    assert_eq!(child.wait().unwrap().code(), None);
    assert!(places.iter().all(|place| !place.exists()), "{places:?}");
}

fn places(host: &CgroupHost, name: &str) -> Vec<PathBuf> {
    host.directories().iter().map(|dir| dir.join(name)).filter(|place| place.exists()).collect()
}

/// Held by a test that sweeps: another's sweep would hold a lock that this one needs, or remove what it looks for.
static SWEEPING: Mutex<()> = Mutex::new(());

/// What the process started by the next test does when it finds this in its environment.
const ROLE: &str = "WARDIAN_TEST_CGROUP_OWNER";

#[test]
fn the_groups_of_the_dead_are_removed_and_those_of_the_living_kept() {
    let Some(host) = host() else { return };
    if std::env::var_os(ROLE).is_some() {
        return own_a_group_until_killed(&host);
    }
    let _alone = SWEEPING.lock().unwrap();
    let mine = host.create(&tight()).unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_groups_of_the_dead_are_removed_and_those_of_the_living_kept", "--nocapture"])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let name = told_name(&mut other);
    let theirs = places(&host, &name);
    assert!(!theirs.is_empty(), "{name}");

    let report = gc(&host);
    assert!(report.kept >= 2, "{report:?}");
    assert!(theirs.iter().all(|place| place.exists()), "its owner lives");

    other.kill().unwrap();
    other.wait().unwrap();
    let report = gc(&host);
    assert!(report.failed.is_empty(), "{report:?}");
    assert!(report.removed.iter().any(|path| path.ends_with(&name)), "{report:?}");
    assert!(theirs.iter().all(|place| !place.exists()));
    assert!(!places(&host, mine.name()).is_empty(), "ours is kept");
    mine.remove().unwrap();
}

fn own_a_group_until_killed(host: &CgroupHost) {
    let cgroup = host.create(&tight()).unwrap();
    // A process that outlives its supervisor: the sweep ends it.
    let mut sleeper = start(&cgroup, "sleep 100");
    wait_until("it runs", || cgroup.is_populated().unwrap());
    println!("\nowner of {}", cgroup.name());
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

fn told_name(child: &mut Child) -> String {
    let mut said = String::new();
    let out = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while out.read(&mut byte).unwrap() == 1 {
        said.push(char::from(byte[0]));
        if let Some((_, name)) = said.split_once("owner of ")
            && let Some(name) = name.strip_suffix('\n')
        {
            return name.to_owned();
        }
    }
    panic!("{said}");
}

#[test]
fn a_lock_keeps_what_seems_dead() {
    let Some(host) = host() else { return };
    let _alone = SWEEPING.lock().unwrap();
    let dir = host.directories()[0].to_owned();
    // Pid and start time of nobody: as an owner looks from another pid namespace.
    let place = dir.join("wardian-4194305-1-4026531836-0");
    std::fs::create_dir(&place).unwrap();
    let held = std::fs::File::open(&place).unwrap();
    held.lock().unwrap();
    assert!(!gc(&host).removed.contains(&place));
    assert!(place.exists());
    drop(held);
    // A process that another test is starting has a copy of the lock until it executes its program.
    wait_until("it is removed", || {
        gc(&host);
        !place.exists()
    });
}

#[test]
fn what_the_first_hierarchy_has_no_more_goes_from_the_others() {
    let Some(host) = host() else { return };
    if host.version() != Some(Version::V1) {
        println!("SKIP: version 2 has one hierarchy");
        return;
    }
    let _alone = SWEEPING.lock().unwrap();
    let own = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    // Nobody has this pid: it is above what the kernel gives.
    let of = |namespace: u64| format!("wardian-4194305-1-{namespace}-1");
    for dir in &host.directories()[1..] {
        let (ours, elsewhere) = (dir.join(of(own)), dir.join(of(own + 1)));
        std::fs::create_dir(&ours).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        let report = gc(&host);
        assert!(report.removed.contains(&ours) && !ours.exists(), "{report:?}");
        let kept = elsewhere.exists();
        std::fs::remove_dir(&elsewhere).unwrap();
        assert!(kept, "its owner may live in another pid namespace");
    }
}

#[test]
fn what_probing_says_holds_and_leaves_nothing() {
    let host = CgroupHost::probe(Cap::Any);
    let Some(version) = host.version() else {
        println!("SKIP: {}", host.reason().unwrap());
        return;
    };
    assert!(host.controllers().memory && host.controllers().pids && host.controllers().cpu_usage);
    let cgroup = host.create(&tight()).unwrap();
    assert_eq!(cgroup.clone_into().is_some(), version == Version::V2);
    assert_eq!(cgroup.join_files().is_empty(), version == Version::V2);
    let capped = CgroupHost::probe(if version == Version::V1 { Cap::V2Only } else { Cap::V1Only });
    assert!(capped.version() != Some(version));
    let none = CgroupHost::locate(Cap::None);
    assert_eq!(none.create(&tight()).unwrap_err().to_string(), none.reason().unwrap().to_string());
    assert!(!is_anything_left(&host), "of pid {}", std::process::id());
}

/// Whether a group of this process exists that no test holds: names are counted up, so none is below the
/// lowest one that lives.
fn is_anything_left(host: &CgroupHost) -> bool {
    let ours = format!("wardian-{}-", std::process::id());
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&ours)).collect()
    };
    // A group lives in every hierarchy or is being made or removed; what stays in one alone was forgotten.
    let started = Instant::now();
    loop {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for name in host.directories().iter().flat_map(|dir| names(dir)) {
            *seen.entry(name).or_default() += 1;
        }
        let partial = seen.values().any(|count| *count + 1 < host.directories().len());
        if !partial || started.elapsed() > Duration::from_secs(2) {
            return partial;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
