//! A machine with the paths that a config names, made of this one.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A root directory to be entered; gone when dropped.
pub struct Machine {
    root: tempfile::TempDir,
}

/// Binds this machine's parts into the root, makes it the root, and runs what follows.
const ENTER: &str = r#"
set -e
root=$1 wardian=$2 python=$(readlink -f /usr/bin/python3)
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
for directory in usr/lib usr/lib64 usr/local/lib dev proc sys run; do
    [ ! -d "/$directory" ] || mount --rbind "/$directory" "$root/$directory"
done
file() {
    : >"$root/$2"
    mount --bind "$1" "$root/$2"
}
file "$wardian" wardian
file "$(readlink -f /bin/sh)" usr/bin/sh
file /usr/bin/umount umount
file /etc/ld.so.cache etc/ld.so.cache
for name in python python3 python3.8; do file "$python" "usr/bin/$name"; done
file "$python" snekbin/python/default/bin/python
cd "$root"
pivot_root . .
/umount -l .
cd /
exec "$@"
"#;

/// Whether this machine cannot make another: said, not hidden.
pub fn skip() -> bool {
    let root = rustix::process::geteuid().is_root();
    let python = Path::new("/usr/bin/python3").exists();
    if !root {
        let _ = writeln!(std::io::stderr(), "SKIP: making a root directory of a test's own needs root");
    } else if !python {
        let _ = writeln!(std::io::stderr(), "SKIP: there is no /usr/bin/python3");
    }
    !(root && python)
}

impl Machine {
    pub fn new() -> Machine {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine { root };
        fs::set_permissions(machine.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for directory in [
            "etc",
            "usr/bin",
            "usr/lib",
            "usr/lib64",
            "usr/local/lib",
            "dev",
            "proc",
            "sys",
            "run",
            "tmp",
            "var",
            "sandbox",
            "snekbox",
            "snekbin/python/default/bin",
            "files",
        ] {
            fs::create_dir_all(machine.root.path().join(directory)).unwrap();
        }
        for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
            symlink(target, machine.root.path().join(link)).unwrap();
        }
        machine
    }

    pub fn write(&self, path: &str, content: &str) {
        fs::write(self.root.path().join(path), content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap()
    }

    pub fn open_to_all(&self, path: &str) {
        fs::set_permissions(self.root.path().join(path), fs::Permissions::from_mode(0o777)).unwrap();
    }

    /// Runs wardian there.
    pub fn wardian(&self, words: &[&str]) -> Output {
        self.run(&[&["/wardian"], words].concat())
    }

    /// Runs a shell there.
    pub fn shell(&self, script: &str) -> Output {
        self.run(&["/bin/sh", "-c", script])
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new("unshare")
            .args(["--mount", "sh", "-c", ENTER, "sh"])
            .arg(self.root.path())
            .arg(env!("CARGO_BIN_EXE_wardian"))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}
