//! What of the host an interpreter needs: these directories and no more.

use super::elf;
use super::probe::Answer;
use super::start::Start;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
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

/// Entries of one directory that are looked at.
const MOST_ENTRIES: usize = 20_000;

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

    /// An installation: as a whole if it is nothing else; of a virtual environment that is made in the middle of
    /// somebody's project only what makes it one.
    fn prefix(&mut self, prefix: &Path) {
        const OF_A_VENV: [&str; 11] = [
            "bin",
            "include",
            "lib",
            "lib64",
            "share",
            "etc",
            "man",
            "pyvenv.cfg",
            ".gitignore",
            ".lock",
            "CACHEDIR.TAG",
        ];
        let marker = prefix.join("pyvenv.cfg");
        let mut entries = fs::read_dir(prefix).into_iter().flatten().flatten();
        let mut has_more = || entries.any(|entry| !OF_A_VENV.iter().any(|name| entry.file_name() == *name));
        if marker.is_file() && (is_wide(prefix) || has_more()) {
            self.file(&marker);
            self.directory(&prefix.join("bin"));
            self.directory(&prefix.join("lib"));
            self.directory(&prefix.join("lib64"));
        } else {
            self.directory(prefix);
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

    /// A library: the whole directory if it is one of the system's, where libraries of libraries lie too; else the
    /// file, with the links beside it that lead to it.
    pub(crate) fn library(&mut self, library: &Path) {
        let real = self.follow(library);
        let Some(parent) = real.parent() else { return };
        if is_loader_directory(parent) {
            return self.directory(parent);
        }
        self.file(&real);
        for entry in fs::read_dir(parent).into_iter().flatten().flatten().take(MOST_ENTRIES) {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                && fs::canonicalize(entry.path()).is_ok_and(|target| target == real)
            {
                self.follow(&entry.path());
            }
        }
    }

    /// A program with everything that the loader will look for, or what the first line of a script names.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn program(&mut self, program: &Path) -> io::Result<()> {
        const MOST_INTERPRETERS: usize = 4;
        let mut program = program.to_owned();
        for _ in 0..MOST_INTERPRETERS {
            self.file(&program);
            let Some(named) = interpreter_of_script(&program)? else { break };
            program = named;
        }
        self.loader(&program);
        for library in elf::closure(&program) {
            self.library(&library);
        }
        Ok(())
    }

    /// Debian chooses among libraries by links through /etc/alternatives: the links that given directories use.
    fn alternatives(&mut self) {
        let alternatives = Path::new("/etc/alternatives");
        let directories: Vec<PathBuf> =
            self.directories.iter().filter(|path| is_loader_directory(path)).cloned().collect();
        for directory in directories {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten().take(MOST_ENTRIES) {
                if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                    && fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(alternatives))
                {
                    self.follow(&entry.path());
                }
            }
        }
    }

    /// Without what lies inside something else that is given.
    pub(crate) fn minimal(mut self) -> Needs {
        self.alternatives();
        let all = self.directories.clone();
        let inside = |path: &Path| all.iter().any(|dir| dir != path && path.starts_with(dir));
        self.directories.retain(|path| !inside(path));
        self.files.retain(|path| !inside(path));
        self.copies.retain(|path| !inside(path));
        self.links.retain(|(link, _)| !inside(link));
        self
    }
}

/// What `#!` names in the first line, if the program is a script.
fn interpreter_of_script(program: &Path) -> io::Result<Option<PathBuf>> {
    // As much as the kernel reads (BINPRM_BUF_SIZE).
    let mut start = Vec::new();
    fs::File::open(program)?.take(256).read_to_end(&mut start)?;
    let Some(line) = start.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).find(|word| !word.is_empty());
    Ok(name.map(|name| PathBuf::from(OsStr::from_bytes(name))))
}

/// Whether the loader searches it on any machine, or a package of the distribution keeps its libraries there.
fn is_loader_directory(path: &Path) -> bool {
    let system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"];
    !is_wide(path) && system.iter().any(|directory| path.starts_with(directory))
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
        needs.prefix(prefix);
    }
    let system = answer.prefixes.iter().any(|prefix| is_wide(prefix));
    for path in &answer.paths {
        needs.directory(path);
    }
    for path in &answer.sys_path {
        if !path.is_absolute() || !path.exists() {
            continue;
        }
        let root = Path::new("/");
        let inside = answer.prefixes.iter().any(|prefix| prefix != root && path.starts_with(prefix));
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
}

fn watched(executable: &Path, real: &Path, answer: &Answer) -> Vec<PathBuf> {
    let mut watched: BTreeSet<PathBuf> = [executable.to_owned(), real.to_owned()].into();
    watched.insert("/etc/alternatives".into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree in a directory of its own; `->` makes a link, a final `/` a directory.
    fn tree(entries: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        for entry in entries {
            let (path, target) =
                entry.split_once(" -> ").map_or((*entry, None), |(path, to)| (path, Some(to)));
            let full = root.join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            match target {
                Some(target) if target.starts_with('/') => symlink(root.join(&target[1..]), full).unwrap(),
                Some(target) => symlink(target, full).unwrap(),
                None if path.ends_with('/') => fs::create_dir_all(full).unwrap(),
                None => fs::write(full, "").unwrap(),
            }
        }
        (dir, root)
    }

    fn answer(
        root: &Path,
        prefixes: &[&str],
        paths: &[&str],
        sys_path: &[&str],
        libraries: &[&str],
    ) -> Answer {
        let all = |list: &[&str]| list.iter().map(|path| root.join(path)).collect::<Vec<_>>();
        Answer {
            implementation: "cpython".into(),
            version: "3.12.1".into(),
            prefixes: all(prefixes),
            paths: all(paths),
            sys_path: all(sys_path),
            libraries: all(libraries),
        }
    }

    fn below(root: &Path, paths: &[PathBuf]) -> Vec<String> {
        let inside = paths.iter().filter_map(|path| path.strip_prefix(root).ok());
        inside.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_virtual_environment_needs_its_base_as_well() {
        let (_dir, root) = tree(&[
            "base/bin/python3.12",
            "base/lib/python3.12/os.py",
            "venv/pyvenv.cfg",
            "venv/bin/python3 -> /base/bin/python3.12",
            "venv/bin/python -> python3",
            "venv/lib/python3.12/site-packages/",
        ]);
        let said = answer(&root, &["venv", "base"], &["base/lib/python3.12"], &["base/lib/python3.12"], &[]);
        let found = lay_out(&root.join("venv/bin/python"), said);
        assert_eq!(below(&root, &found.directories), ["base", "venv"]);
        assert_eq!(found.executable, root.join("venv/bin/python"));
        assert_eq!(below(&root, &found.files), [""; 0]);
        assert!(found.left_out.is_empty() && found.watched.contains(&root.join("venv/pyvenv.cfg")));
    }

    #[test]
    fn of_a_virtual_environment_in_a_project_the_project_is_not_given() {
        let (_dir, root) = tree(&[
            "project/secret.env",
            "project/pyvenv.cfg",
            "project/bin/python",
            "project/lib/python3.12/site-packages/",
            "project/lib64 -> lib",
        ]);
        let found = lay_out(&root.join("project/bin/python"), answer(&root, &["project"], &[], &[], &[]));
        assert_eq!(below(&root, &found.directories), ["project/bin", "project/lib"]);
        assert_eq!(below(&root, &found.files), ["project/pyvenv.cfg"]);
        assert!(found.links.contains(&(root.join("project/lib64"), "lib".into())), "{:?}", found.links);
    }

    #[test]
    fn an_editable_install_is_left_out_with_a_reason() {
        let (_dir, root) =
            tree(&["p/bin/python", "p/lib/python3.12/", "p/lib/x.zip", "home/project/module.py"]);
        let said =
            answer(&root, &["p"], &[], &["p/lib/python3.12", "p/lib/x.zip", "home/project", "p/gone"], &[]);
        let found = lay_out(&root.join("p/bin/python"), said);
        assert_eq!(below(&root, &found.directories), ["p"]);
        let left_out: Vec<_> = found.left_out.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(below(&root, &left_out), ["home/project"]);
    }

    #[test]
    fn a_prefix_that_is_everything_gives_nothing_wide() {
        let mut said = answer(Path::new("/"), &[""], &["usr/share"], &["etc", "tmp", "home"], &[]);
        said.prefixes.push("/usr".into());
        let found = lay_out(Path::new("/bin/sh"), said);
        for wide in WIDE {
            assert!(!found.directories.contains(&PathBuf::from(wide)), "{wide}: {:?}", found.directories);
        }
    }

    #[test]
    fn links_in_a_circle_lead_nowhere() {
        let (_dir, root) = tree(&["p/bin/python -> python3", "p/bin/python3 -> python", "p/lib -> /p/lib"]);
        let said =
            answer(&root, &["p/lib"], &["p/lib/python3.12"], &["p/lib/python3.12"], &["p/lib/libx.so"]);
        let found = lay_out(&root.join("p/bin/python"), said);
        assert_eq!(below(&root, &found.directories), [""; 0]);
    }

    #[test]
    fn of_a_library_elsewhere_the_file_alone_is_given_and_its_links() {
        let (_dir, root) =
            tree(&["opt/libx.so.1.2", "opt/libx.so.1 -> libx.so.1.2", "opt/liby.so", "p/bin/python"]);
        let said = answer(&root, &["p"], &[], &[], &["opt/libx.so.1.2"]);
        let found = lay_out(&root.join("p/bin/python"), said);
        assert_eq!(below(&root, &found.files), ["opt/libx.so.1.2"]);
        let links: Vec<_> = found.links.iter().map(|(link, _)| link.clone()).collect();
        assert_eq!(below(&root, &links), ["opt/libx.so.1"]);
    }

    #[test]
    fn nothing_is_given_twice() {
        let mut needs = Needs::default();
        for path in ["/usr/lib/python3", "/usr/lib/python3/dist-packages", "/usr/share/zoneinfo"] {
            needs.directories.insert(path.into());
        }
        needs.files.insert("/usr/lib/python3/x".into());
        let needs = needs.minimal();
        assert_eq!(needs.directories, ["/usr/lib/python3", "/usr/share/zoneinfo"].map(PathBuf::from).into());
        assert!(needs.files.is_empty());
    }

    #[test]
    fn a_program_brings_its_loader_and_a_script_its_interpreter() {
        let (_dir, root) = tree(&["script"]);
        let script = root.join("script");
        fs::write(&script, "#! /bin/sh -e\ntrue\n").unwrap();
        let mut needs = Needs::default();
        needs.program(&script).unwrap();
        let shell = fs::canonicalize("/bin/sh").unwrap();
        assert!(needs.files.contains(&shell) && needs.files.contains(&script), "{:?}", needs.files);
        let libc = elf::closure(&shell).into_iter().find(|path| path.ends_with("libc.so.6")).unwrap();
        let directory = fs::canonicalize(libc).unwrap().parent().unwrap().to_owned();
        assert!(needs.directories.contains(&directory), "{:?}", needs.directories);
        assert!(Needs::default().program(&root.join("none")).is_err());
    }
}
