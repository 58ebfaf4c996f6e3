//! What a program needs of the host: directories, files and the links that lead to them, and never more than that.

use super::elf;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Entries of one directory that are looked at.
const MOST_ENTRIES: usize = 20_000;
/// Directories below a directory that are looked into.
const MOST_DEPTH: u8 = 4;

/// Directories that hold far more than an interpreter: never given as a whole.
pub(super) const WIDE: [&str; 22] = [
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

pub(super) fn is_wide(path: &Path) -> bool {
    // The root and two names.
    const MOST_COMPONENTS: usize = 3;
    let is_home = || {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        // Any direct child of /home is somebody's home.
        path.parent() == Some(Path::new("/home")) || home.is_some_and(|home| home.starts_with(path))
    };
    let is_short = path.components().nth(MOST_COMPONENTS).is_none();
    is_short && WIDE.iter().any(|wide| Path::new(wide) == path) || is_home()
}

/// Collects what a program needs.
#[derive(Default)]
pub(crate) struct Needs {
    pub(crate) directories: BTreeSet<PathBuf>,
    pub(crate) files: BTreeSet<PathBuf>,
    pub(crate) copies: BTreeSet<PathBuf>,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    linked: BTreeSet<PathBuf>,
    /// Places that are no links: most paths share their beginnings.
    plain: BTreeSet<PathBuf>,
}

impl Needs {
    /// A directory at its own path, whatever links lead to it.
    pub(crate) fn directory(&mut self, path: &Path) {
        let real = self.follow(path);
        if !self.directories.contains(&real) && real.is_dir() && !is_wide(&real) {
            self.directories.insert(real);
        }
    }

    /// An installation: as a whole if it is nothing else; of a virtual environment that is made in the middle of
    /// somebody's project only what makes it one.
    pub(super) fn prefix(&mut self, prefix: &Path) {
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
            let Some((link, target)) = self.first_link(&path) else { return path };
            if self.linked.insert(link.clone()) {
                self.links.push((link.clone(), target.clone()));
            }
            let rest = path.strip_prefix(&link).unwrap_or(Path::new("")).to_owned();
            let base = link.parent().unwrap_or(Path::new("/")).join(&target);
            path = normalise(&if rest.as_os_str().is_empty() { base } else { base.join(rest) });
        }
        path
    }

    /// The first symbolic link on a path, and what it says.
    fn first_link(&mut self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        // The root is none.
        ancestors.pop();
        while let Some(part) = ancestors.pop() {
            if self.plain.contains(part) {
                continue;
            }
            match fs::read_link(part) {
                Ok(target) => return Some((part.to_owned(), target)),
                Err(_) => self.plain.insert(part.to_owned()),
            };
        }
        None
    }

    /// Loader and libraries of an ELF program.
    pub(crate) fn loader(&mut self, program: &Path) {
        if let Some(loader) = elf::interpreter(program) {
            self.library(&loader);
        }
        self.loader_cache();
    }

    fn loader_cache(&mut self) {
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
        self.loader_cache();
        for library in elf::closure(&program) {
            self.library(&library);
        }
        self.java(&program);
        Ok(())
    }

    /// What a program of Java's reads of its installation, besides libraries; Debian has its settings in `/etc`.
    fn java(&mut self, program: &Path) {
        let Ok(real) = fs::canonicalize(program) else { return };
        let Some(home) = real.parent().and_then(Path::parent) else { return };
        if !home.join("lib/jvm.cfg").is_file() {
            return;
        }
        self.directory(&home.join("lib"));
        for settings in ["conf", "lib/security"] {
            self.directory(&home.join(settings));
            self.link_targets(&home.join(settings), MOST_DEPTH);
        }
    }

    /// The files that links below a directory lead to.
    fn link_targets(&mut self, directory: &Path, depth: u8) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten().take(MOST_ENTRIES) {
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => self.file(&entry.path()),
                Ok(kind) if kind.is_dir() && depth > 0 => self.link_targets(&entry.path(), depth - 1),
                _ => {}
            }
        }
    }

    /// Debian chooses among libraries by links through /etc/alternatives: the links that given directories use.
    pub(super) fn alternatives(&mut self) {
        let alternatives = Path::new("/etc/alternatives");
        let directories: Vec<PathBuf> =
            self.directories.iter().filter(|path| is_loader_directory(path)).cloned().collect();
        for directory in directories {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten().take(MOST_ENTRIES) {
                // What programs load has a version; what compilers link has none.
                if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                    && entry.file_name().as_bytes().windows(4).any(|part| part == b".so.")
                    && fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(alternatives))
                {
                    self.follow(&entry.path());
                }
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
        let mut seen = BTreeSet::new();
        self.links.retain(|(link, _)| !inside(link) && seen.insert(link.clone()));
        self
    }
}

/// What `#!` names in the first line, if the program is a script.
fn interpreter_of_script(program: &Path) -> io::Result<Option<PathBuf>> {
    // As much as the kernel reads (BINPRM_BUF_SIZE).
    let mut start = Vec::with_capacity(256);
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
