//! Where interpreters are looked for.

use super::error::{FindError, Rejected};
use super::layout::{Interpreter, version_numbers};
use super::shim;
use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which interpreter is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Request {
    /// The active virtual environment's, else the first `python3` or `python` in `PATH`.
    #[default]
    Default,
    /// Of a version, `3.12` or `3.12.1`.
    Version(String),
    /// At a path.
    Path(PathBuf),
    /// A virtual environment's.
    Venv(PathBuf),
}

impl std::str::FromStr for Request {
    type Err = FindError;

    /// `3.12`, or a path with a `/`.
    fn from_str(text: &str) -> Result<Request, FindError> {
        if text.contains('/') {
            return Ok(Request::Path(text.into()));
        }
        let is_version = text.starts_with(|c: char| c.is_ascii_digit())
            && text.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
        if is_version { Ok(Request::Version(text.into())) } else { Err(FindError::NotAVersion(text.into())) }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Default => f.write_str("`python3` in PATH"),
            Request::Version(version) => write!(f, "version {version}"),
            Request::Path(path) => write!(f, "`{}`", path.display()),
            Request::Venv(path) => write!(f, "the virtual environment `{}`", path.display()),
        }
    }
}

/// Files that may be the interpreter, the best first.
pub(super) fn candidates(request: &Request, rejected: &mut Vec<Rejected>) -> Result<Vec<PathBuf>, FindError> {
    let named: Vec<PathBuf> = match request {
        Request::Default => {
            let venv = env::var_os("VIRTUAL_ENV").map(|venv| PathBuf::from(venv).join("bin/python"));
            venv.into_iter().chain(in_path(&["python3", "python"])).collect()
        }
        Request::Version(version) => of_version(version),
        Request::Path(path) => vec![absolute(path)],
        Request::Venv(directory) => vec![venv_python(&absolute(directory))?],
    };
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut searched = BTreeSet::new();
    for path in named {
        match executable(&path) {
            Ok(real) if seen.insert(real.clone()) => found.push(real),
            Ok(_) => {}
            // Of a name that is simply not in a directory it is enough to name the directory.
            Err(why) if matches!(request, Request::Path(_) | Request::Venv(_)) || path.exists() => {
                rejected.push(Rejected { path, why });
            }
            Err(_) => searched.extend(path.parent().map(Path::to_owned)),
        }
    }
    let why = || "has none of that name".to_owned();
    rejected.extend(searched.into_iter().map(|path| Rejected { path, why: why() }));
    Ok(found)
}

/// Whether the interpreter is of the version asked for, and one that we know.
pub(super) fn fits(request: &Request, interpreter: &Interpreter) -> Result<(), String> {
    if !is_supported(&interpreter.version) {
        return Err(format!("is Python {}; 3.6 is the oldest that wardian runs", interpreter.version));
    }
    match request {
        Request::Version(wanted) if !is_prefix(wanted, &interpreter.version) => {
            Err(format!("is Python {}", interpreter.version))
        }
        _ => Ok(()),
    }
}

/// Whether it is new enough.
pub(super) fn is_supported(version: &str) -> bool {
    version_numbers(version) >= (3, 6, 0)
}

/// Whether `3.1` means `3.1.4`, which it does, or `3.12`, which it does not.
fn is_prefix(wanted: &str, version: &str) -> bool {
    let mut parts = version.split('.');
    wanted.split('.').all(|part| parts.next() == Some(part))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn in_path(names: &[&str]) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    names.iter().flat_map(|name| directories.iter().map(move |dir| dir.join(name))).collect()
}

/// By name in PATH and the usual places, then what pyenv and uv have installed, the newest first.
fn of_version(version: &str) -> Vec<PathBuf> {
    let mut parts = version.split('.');
    let short = match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => format!("python{major}.{minor}"),
        _ => format!("python{version}"),
    };
    let mut found = in_path(&[&short, "python3"]);
    found.extend(["/usr/local/bin", "/usr/bin"].map(|dir| Path::new(dir).join(&short)));
    let home = env::var_os("HOME").map(PathBuf::from);
    let pyenv = shim::pyenv_root(None).map(|root| root.join("versions"));
    let uv = env::var_os("UV_PYTHON_INSTALL_DIR").map(PathBuf::from);
    let uv = uv.or_else(|| home.map(|home| home.join(".local/share/uv/python")));
    for store in [pyenv, uv].into_iter().flatten() {
        let mut installed: Vec<PathBuf> =
            fs::read_dir(store).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        installed.sort_by_key(|path| std::cmp::Reverse(numbers(path)));
        found
            .extend(installed.into_iter().map(|dir| dir.join("bin").join(&short)).filter(|exe| exe.exists()));
    }
    found
}

/// The numbers in a directory's name, for sorting versions.
pub(super) fn numbers(path: &Path) -> Vec<u32> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn venv_python(directory: &Path) -> Result<PathBuf, FindError> {
    let missing = |why: &str| FindError::NotAVenv { path: directory.into(), why: why.into() };
    if !directory.is_dir() {
        return Err(missing("no such directory"));
    }
    if !directory.join("pyvenv.cfg").is_file() && !directory.join("conda-meta").is_dir() {
        return Err(missing("it has no pyvenv.cfg"));
    }
    let python = ["bin/python", "bin/python3"].map(|name| directory.join(name));
    python.into_iter().find(|path| path.exists()).ok_or_else(|| missing("it has no bin/python"))
}

/// The real program behind a path: an ELF file; a pyenv shim is looked through, any other script is none.
fn executable(path: &Path) -> Result<PathBuf, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("is a directory; `--venv` takes one".into());
    }
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err("is not an executable file".into());
    }
    const LONGEST_SHIM: u64 = 4096;
    let mut start = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(LONGEST_SHIM).read_to_end(&mut start).map_err(|error| error.to_string())?;
    if start.starts_with(b"\x7fELF") {
        return Ok(path.to_owned());
    }
    if start.starts_with(b"#!") && start.windows(5).any(|window| window == b"pyenv") {
        return shim::behind(path);
    }
    Err("is not an interpreter but a script".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_prefix_by_parts() {
        assert!(is_prefix("3.1", "3.1.4") && is_prefix("3", "3.12.1") && is_prefix("3.12.1", "3.12.1"));
        assert!(!is_prefix("3.1", "3.12.1") && !is_prefix("3.12.1.0", "3.12.1"));
    }

    #[test]
    fn a_word_is_neither_version_nor_path() {
        assert_eq!("3.12".parse(), Ok(Request::Version("3.12".into())));
        assert_eq!("./py".parse(), Ok(Request::Path("./py".into())));
        for word in ["python", "3.", "3.x", ""] {
            assert_eq!(word.parse::<Request>(), Err(FindError::NotAVersion(word.into())));
        }
    }

    #[test]
    fn a_script_is_no_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str, content: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let script = make("bin/python3", "#!/bin/sh\nexec true\n");
        assert!(executable(&script).unwrap_err().contains("script"));
    }
}
