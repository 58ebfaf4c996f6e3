//! What of the host an interpreter needs: these directories and no more.

use super::elf;
use super::probe::Answer;
use super::start::Start;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// An interpreter, and what of the host must appear read-only, at the same paths, for it to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// The path to execute; not resolved, since a virtual environment is found by it.
    pub executable: PathBuf,
    /// Its version, `3.11.2`.
    pub version: String,
    /// Directories.
    pub directories: Vec<PathBuf>,
    /// Single files.
    pub files: Vec<PathBuf>,
    /// Small files to copy.
    pub copies: Vec<PathBuf>,
    /// Symbolic links: where, and what they say.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Entries of `sys.path` that do not appear inside, and why.
    pub left_out: Vec<(PathBuf, String)>,
    /// How it is best started.
    pub start: Start,
    /// Places whose change makes this stale.
    pub(super) watched: Vec<PathBuf>,
}

impl Interpreter {
    /// Major, minor and patch number; zeros for what is no number.
    pub fn version_numbers(&self) -> (u32, u32, u32) {
        version_numbers(&self.version)
    }
}

/// Major, minor and patch number; zeros for what is no number.
pub(super) fn version_numbers(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Directories that hold far more than an interpreter: never given as a whole.
const WIDE: [&str; 22] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/local",
    "/usr/share",
    "/var",
];

fn is_wide(path: &Path) -> bool {
    let is_home = || {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        // Any direct child of /home is somebody's home.
        path.parent() == Some(Path::new("/home")) || home.is_some_and(|home| home.starts_with(path))
    };
    WIDE.iter().any(|wide| Path::new(wide) == path) || is_home()
}

/// Collects what a program needs.
#[derive(Default)]
pub(crate) struct Needs {
    pub(crate) directories: BTreeSet<PathBuf>,
    pub(crate) files: BTreeSet<PathBuf>,
    pub(crate) copies: BTreeSet<PathBuf>,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    linked: BTreeSet<PathBuf>,
}

impl Needs {
    /// A directory at its own path, whatever links lead to it.
    pub(crate) fn directory(&mut self, path: &Path) {
        let real = self.follow(path);
        if real.is_dir() && !is_wide(&real) {
            self.directories.insert(real);
        }
    }

    /// A file at its own path, whatever links lead to it.
    pub(crate) fn file(&mut self, path: &Path) {
        let real = self.follow(path);
        if real.is_file() {
            self.files.insert(real);
        }
    }

    /// Notes every symbolic link on the way to `path`; returns where it ends. Bounded against loops.
    pub(crate) fn follow(&mut self, path: &Path) -> PathBuf {
        const MOST_LINKS: usize = 40;
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let Some((link, target)) = first_link(&path) else { return path };
            if self.linked.insert(link.clone()) {
                self.links.push((link.clone(), target.clone()));
            }
            let rest = path.strip_prefix(&link).unwrap_or(Path::new("")).to_owned();
            let base = link.parent().unwrap_or(Path::new("/")).join(&target);
            path = normalise(&if rest.as_os_str().is_empty() { base } else { base.join(rest) });
        }
        path
    }

    /// Loader and libraries of an ELF program.
    pub(crate) fn loader(&mut self, program: &Path) {
        if let Some(loader) = elf::interpreter(program) {
            self.library(&loader);
        }
        if Path::new("/etc/ld.so.cache").is_file() {
            self.copies.insert("/etc/ld.so.cache".into());
        }
    }

    /// The directory a library lies in; the link that leads to it alone if it is a link from elsewhere.
    pub(crate) fn library(&mut self, library: &Path) {
        let real = self.follow(library);
        if let Some(parent) = real.parent() {
            if is_wide(parent) {
                self.file(&real);
            } else {
                self.directory(parent);
            }
        }
    }

    /// Without what lies inside something else that is given.
    pub(crate) fn minimal(mut self) -> Needs {
        let all = self.directories.clone();
        let inside = |path: &Path| all.iter().any(|dir| dir != path && path.starts_with(dir));
        self.directories.retain(|path| !inside(path));
        self.files.retain(|path| !inside(path));
        self.copies.retain(|path| !inside(path));
        self.links.retain(|(link, _)| !inside(link));
        self
    }
}

/// The first symbolic link on a path, and what it says.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    ancestors.into_iter().find_map(|part| Some((part.to_owned(), fs::read_link(part).ok()?)))
}

/// Without `.` and `..`; links are followed one at a time, so that `..` means the parent.
fn normalise(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// From an interpreter's answer to what it needs.
pub(super) fn lay_out(executable: &Path, answer: Answer) -> Interpreter {
    let mut needs = Needs::default();
    let mut left_out = Vec::new();
    let real = needs.follow(executable);
    needs.files.insert(real.clone());
    needs.loader(&real);
    for prefix in &answer.prefixes {
        needs.directory(prefix);
    }
    let system = answer.prefixes.iter().any(|prefix| is_wide(prefix));
    for path in &answer.paths {
        needs.directory(path);
    }
    for path in &answer.sys_path {
        if !path.is_absolute() || !path.exists() {
            continue;
        }
        let inside = answer.prefixes.iter().any(|prefix| path.starts_with(prefix));
        if !inside {
            // An editable install or a stray .pth: somebody's project, not the interpreter.
            left_out
                .push((path.clone(), "lies outside the interpreter's prefix; `--mount` can give it".into()));
        } else if path.is_file() {
            needs.file(path);
        } else {
            needs.directory(path);
        }
    }
    for library in &answer.libraries {
        needs.library(library);
    }
    links_beside(&mut needs, executable, &answer.version);
    if system {
        links_out_of(&mut needs, &answer.paths);
    }
    let watched = watched(executable, &real, &answer);
    let needs = needs.minimal();
    Interpreter {
        executable: executable.to_owned(),
        version: answer.version,
        directories: needs.directories.into_iter().collect(),
        files: needs.files.into_iter().collect(),
        copies: needs.copies.into_iter().collect(),
        links: needs.links,
        left_out,
        start: Start::Normal("not tried".into()),
        watched,
    }
}

/// `python3` and `python` beside the executable, if they are links to it.
fn links_beside(needs: &mut Needs, executable: &Path, version: &str) {
    let Some(directory) = executable.parent() else { return };
    let short: Vec<&str> = version.split('.').take(2).collect();
    let real = fs::canonicalize(executable).ok();
    for name in ["python".to_owned(), "python3".to_owned(), format!("python{}", short.join("."))] {
        let beside = directory.join(name);
        if beside.is_symlink() && fs::canonicalize(&beside).ok() == real {
            needs.follow(&beside);
        }
    }
}

/// Single files of the standard library that are links elsewhere: Debian's sitecustomize.py in /etc, and
/// /etc/alternatives, through which it chooses its BLAS.
fn links_out_of(needs: &mut Needs, directories: &[PathBuf]) {
    let directories: BTreeSet<&PathBuf> = directories.iter().collect();
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                && let Ok(target) = fs::canonicalize(entry.path())
                && target.is_file()
                && !target.starts_with(directory)
                && target.starts_with("/etc")
            {
                needs.copies.insert(target);
            }
        }
    }
    needs.directory(Path::new("/etc/alternatives"));
}

fn watched(executable: &Path, real: &Path, answer: &Answer) -> Vec<PathBuf> {
    let mut watched: BTreeSet<PathBuf> = [executable.to_owned(), real.to_owned()].into();
    watched
        .extend(answer.prefixes.iter().map(|prefix| prefix.join("pyvenv.cfg")).filter(|path| path.exists()));
    for path in answer.sys_path.iter().chain(&answer.paths).filter(|path| path.is_absolute()) {
        watched.insert(path.clone());
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "pth") {
                watched.insert(entry.path());
            }
        }
    }
    watched.into_iter().collect()
}
