//! pyenv's shims: scripts in PATH that choose an interpreter when they are run. We choose as they do.

use super::find::numbers;
use rustix::fs::OFlags;
use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where pyenv keeps its versions: as its variable says, else around the shim, else in the home directory.
pub(super) fn pyenv_root(shim: Option<&Path>) -> Option<PathBuf> {
    let of_shim = shim.and_then(|shim| shim.parent()?.parent()).map(Path::to_owned);
    let of_home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    env::var_os("PYENV_ROOT").map(PathBuf::from).or(of_shim).or_else(of_home)
}

/// The interpreter that a shim would run: PYENV_VERSION, `.python-version` upward, the global version.
pub(super) fn behind(shim: &Path) -> Result<PathBuf, String> {
    let root = pyenv_root(Some(shim)).ok_or("is a pyenv shim, and there is no PYENV_ROOT")?;
    let local = || env::current_dir().ok()?.ancestors().find_map(|dir| read(&dir.join(".python-version")));
    let versions = env::var("PYENV_VERSION")
        .ok()
        .or_else(local)
        .or_else(|| read(&root.join("version")))
        .ok_or("is a pyenv shim, and pyenv has no version set")?;
    chosen(&root, shim, &versions)
}

fn chosen(root: &Path, shim: &Path, versions: &str) -> Result<PathBuf, String> {
    let name = shim.file_name().ok_or("has no name")?;
    let lines = versions.lines().map(|line| line.split('#').next().unwrap_or_default());
    let names =
        lines.flat_map(|line| line.split([':', ' ', '\t'])).map(str::trim).filter(|name| !name.is_empty());
    for version in names {
        // A version comes from a file anybody may have put there: it must be one name.
        if version.contains('/') || version.starts_with('.') {
            continue;
        }
        let store = root.join("versions");
        let exact = Some(store.join(version)).filter(|path| path.is_dir());
        let Some(installed) = exact.or_else(|| newest(&store, version)) else { continue };
        let exe = installed.join("bin").join(name);
        if exe.is_file() {
            return Ok(exe);
        }
    }
    Err(format!("is a pyenv shim for `{}`, which has no {}", versions.trim(), name.to_string_lossy()))
}

/// `3.12` means the newest 3.12 that is installed.
fn newest(store: &Path, version: &str) -> Option<PathBuf> {
    let start = format!("{version}.");
    let installed = fs::read_dir(store).ok()?.flatten().map(|entry| entry.path());
    installed
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)))
        .max_by_key(|path| numbers(path))
}

fn read(path: &Path) -> Option<String> {
    const LONGEST: u64 = 4096;
    // Opening a FIFO of that name would wait for its writer.
    let file =
        File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(())?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_that_has_the_program_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["3.12.1/bin/python3", "3.9.2/bin/python3", "3.9.18/bin/python3", "3.10.1/bin/other"] {
            let path = dir.path().join("versions").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let shim = dir.path().join("shims/python3");
        let chosen = |versions: &str| chosen(dir.path(), &shim, versions);
        let version = |name: &str| Ok(dir.path().join("versions").join(name).join("bin/python3"));
        assert_eq!(chosen("3.12.1\n"), version("3.12.1"));
        assert_eq!(chosen("3.9"), version("3.9.18"));
        assert_eq!(chosen("# ours\nsystem\n3.10.1:3.12.1 # that\n"), version("3.12.1"));
        for none in ["", "system", "../../3.12.1", "/etc", ".", "3.1"] {
            assert!(chosen(none).unwrap_err().contains("shim"), "{none}");
        }
    }
}
