//! What of the host's files a program can reach.

use crate::control::{allowed, outside, refused, succeeds};
use crate::guest;
use crate::harness::{Attempts, Directory, Run, is_root, skip};
use std::os::unix::fs::PermissionsExt;

const GUEST: &str = guest!("files.py");

fn value<'a>(attempts: &'a Attempts, name: &str) -> &'a str {
    allowed(attempts, name);
    &attempts[name].1
}

/// A secret of the host, readable by everybody, in a directory that everybody may enter.
fn plant() -> (Directory, String) {
    let directory = Directory::new();
    let secret = directory.path.join("secret.txt");
    std::fs::write(&secret, "the host's secret").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o666)).unwrap();
    let path = secret.display().to_string();
    (directory, path)
}

fn inside(policy: &str, path: &str) -> Attempts {
    let run = Run::new(GUEST).policy(policy).times("20s").arg(format!("secret={path}"));
    run.run().expect("ok").attempts()
}

#[test]
fn a_planted_secret_is_out_of_reach_by_every_path() {
    let (_directory, path) = plant();
    let control = outside(GUEST, &[&format!("secret={path}")]);
    succeeds(&control, "read planted secret");
    succeeds(&control, "read planted secret through the root of self");
    for policy in ["python", "strict", "codejail"] {
        let seen = inside(policy, &path);
        for (name, (result, detail)) in seen.iter().filter(|(name, _)| name.contains("planted")) {
            assert_ne!(result, "ok", "{policy}: {name}: {detail}");
        }
        for (name, (_, detail)) in &seen {
            assert!(!detail.contains("the host's secret"), "{policy}: {name}: {detail}");
        }
    }
}

#[test]
fn nothing_is_writable_but_scratch() {
    let (_directory, path) = plant();
    for policy in ["python", "strict"] {
        let seen = inside(policy, &path);
        for (name, (result, detail)) in &seen {
            let scratch = name.contains("scratch") && policy == "python";
            let write = ["create", "write", "chmod", "touch", "rename", "remove", "set"];
            if write.iter().any(|word| name.starts_with(word)) {
                assert_eq!(result == "ok", scratch, "{policy}: {name}: {result} {detail}");
            }
        }
    }
}

#[test]
fn the_root_contains_what_was_given_and_nothing_else() {
    let (_directory, path) = plant();
    let seen = inside("python", &path);
    let known = [
        "bin", "box", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root", "tmp",
        "usr",
    ];
    for name in words(value(&seen, "list /")) {
        assert!(known.contains(&name.as_str()), "/{name}");
    }
    for name in words(value(&seen, "list /dev")) {
        let known = ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"];
        assert!(known.contains(&name.as_str()), "/dev/{name}");
    }
    assert_eq!(words(value(&seen, "list /home")), ["guest"]);
    assert_eq!(words(value(&seen, "list descriptors")).len(), 0);
    for path in [
        "/etc/shadow",
        "/etc/ssh",
        "/root/.ssh",
        "/var",
        "/run",
        "/sys",
        "/boot",
        "/usr/bin/mount",
        "/etc/machine-id",
    ] {
        refused(&seen, &format!("stat {path}"));
    }
}

/// The quoted words of a list as Python writes it.
fn words(list: &str) -> Vec<String> {
    list.split('\'').skip(1).step_by(2).map(String::from).collect()
}

#[test]
fn only_three_descriptors_are_open() {
    let code = "import os\ndef is_open(fd):\n    try: os.fstat(fd); return True\n    except OSError: return False\nprint([fd for fd in range(70000) if is_open(fd)])";
    for policy in ["python", "strict", "codejail"] {
        let run = Run::new(code).policy(policy).times("20s");
        assert_eq!(run.run().expect("ok").stdout(), "[0, 1, 2]\n", "{policy}");
    }
}

#[test]
fn streams_are_pipes_of_ours_and_cannot_be_reopened_with_more_rights() {
    let code = "import os, stat\nfor fd in (1, 2):\n    assert stat.S_ISFIFO(os.fstat(fd).st_mode), fd\nfor fd in (0, 1, 2):\n    print(os.readlink('/proc/self/fd/%d' % fd).split(':')[0])";
    let outcome = Run::new(code).stdin(crate::harness::Input::Silent).run().expect("ok");
    assert_eq!(outcome.stdout(), "pipe\npipe\npipe\n");
}

#[test]
fn users_are_synthetic() {
    let (_directory, path) = plant();
    let seen = inside("python", &path);
    let passwd = value(&seen, "passwd");
    assert!(passwd.contains("guest"), "{passwd}");
    let host = std::fs::read_to_string("/etc/passwd").unwrap();
    let names = host.lines().filter_map(|line| line.split(':').next());
    let hidden: Vec<_> = names.filter(|name| !["", "root", "nobody", "guest"].contains(name)).collect();
    if hidden.is_empty() {
        return skip("the host has no user that must not show");
    }
    // As Python quotes it: a line ends with a backslash and an n.
    let shown: Vec<_> = passwd[1..].split("\\n").filter_map(|line| line.split(':').next()).collect();
    assert!(shown.contains(&"guest") && !hidden.iter().any(|name| shown.contains(name)), "{passwd}");
}

#[test]
fn proc_shows_its_own_processes_only_and_no_kernel() {
    let (_directory, path) = plant();
    let control = outside(GUEST, &[&format!("secret={path}")]);
    succeeds(&control, "read /proc/cpuinfo");
    let seen = inside("python", &path);
    for name in words(value(&seen, "list /proc")) {
        let own = ["self", "thread-self"].contains(&name.as_str())
            || name.parse::<u32>().is_ok_and(|pid| pid < 100);
        assert!(own, "/proc/{name}");
    }
    for name in [
        "read /proc/1/environ",
        "read /proc/1/maps",
        "read /proc/1/mem",
        "read /proc/kcore",
        "read /proc/kallsyms",
        "read /proc/keys",
        "read /proc/sys/kernel/core_pattern",
        "read /proc/net/tcp",
        "read /proc/sysvipc/shm",
        "list fds of 1",
        "list the root of 1",
        "open by handle",
    ] {
        if seen.contains_key(name) {
            refused(&seen, name);
        }
    }
    for device in ["kmsg", "mem", "sda", "vda", "fuse", "kvm", "ptmx", "console", "loop0", "net/tun", "tty"] {
        refused(&seen, &format!("read /dev/{device}"));
    }
}

#[test]
fn an_interpreter_in_a_private_home_shows_nothing_beside_it() {
    let home = std::env::var("HOME").unwrap_or_default();
    let pythons = std::fs::read_dir(format!("{home}/.pyenv/versions"));
    let Some(python) = pythons.into_iter().flatten().flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("3.1") && path.join("bin/python3").exists()
    }) else {
        return skip("no pyenv interpreter below the home directory");
    };
    if !is_root() || std::env::var_os("WARDIAN_TEST_USER").is_some() {
        return skip("the home directory of root is not ours");
    }
    let code = format!(
        "import os\nfor path in [{home:?}, {home:?} + '/.pyenv', {home:?} + '/.pyenv/versions']:\n    try: print(os.listdir(path))\n    except OSError as error: print(error.errno)"
    );
    let python = python.join("bin/python3").display().to_string();
    let outcome = Run::new(code).option("--python", &python).run().expect("ok");
    let version = python.split('/').rev().nth(2).unwrap().to_owned();
    let expected = format!("['.pyenv']\n['versions']\n['{version}']\n");
    let nothing_more =
        outcome.stdout().lines().zip(expected.lines()).all(|(seen, all)| seen == all || seen == "13");
    assert!(nothing_more && outcome.stdout().lines().count() == 3, "{}", outcome.stdout());
}

#[test]
fn bytecode_of_the_shared_tree_cannot_be_poisoned() {
    let code = "import json, os\nfor path in [json.__cached__, os.path.dirname(json.__cached__), json.__file__]:\n    for flags in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC):\n        try: os.open(path, flags); print('opened', path)\n        except OSError: pass\n    try: os.rename(path, path + 'x'); print('renamed', path)\n    except OSError: pass\nprint('end')";
    for policy in ["python", "codejail"] {
        let outcome = Run::new(code).policy(policy).times("20s").run().expect("ok");
        assert_eq!(outcome.stdout(), "end\n", "{policy}");
    }
}
