//! Data that a distribution's Python packages keep outside the interpreter's own directories.

use super::needs::{Needs, is_wide};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Packages whose data a distribution's patch names by path: where there is no link to be followed.
const NAMED: [(&str, &[&str]); 1] =
    [("matplotlib", &["/usr/share/matplotlib", "/usr/share/fonts", "/etc/matplotlibrc"])];

const MOST_ENTRIES: usize = 200_000;
const DEEPEST: usize = 10;

/// What the given directories point to: by links that leave them, or by name.
pub(super) fn add(needs: &mut Needs) {
    let roots: Vec<PathBuf> = needs.directories.iter().filter(|path| holds_modules(path)).cloned().collect();
    let mut left = MOST_ENTRIES;
    for root in &roots {
        for (package, data) in NAMED {
            if root.join(package).is_dir() {
                data.iter().for_each(|path| give(needs, Path::new(path)));
            }
        }
        let mut targets = Vec::new();
        walk(root, DEEPEST, &mut left, &mut targets);
        for target in targets.iter().filter(|target| !roots.iter().any(|root| target.starts_with(root))) {
            give(needs, target);
        }
    }
}

/// Not the loader's directories: their links are between libraries.
fn holds_modules(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("python"))
}

/// Package data lies below `/usr/share`; a setting in `/etc` is copied, if everybody may read it.
fn give(needs: &mut Needs, path: &Path) {
    let Ok(real) = fs::canonicalize(path) else { return };
    let Ok(metadata) = fs::metadata(&real) else { return };
    let everybody = metadata.permissions().mode() & 0o004 != 0;
    // Test data and what browsers load is not missed by a program, and each mount costs its start.
    let is_idle = real.starts_with("/usr/share/javascript")
        || real.components().any(|part| part.as_os_str() == "tests");
    if real.starts_with("/usr/share") && everybody && !is_idle {
        match real.parent() {
            _ if metadata.is_dir() => needs.directory(path),
            Some(parent) if !is_wide(parent) => needs.directory(parent),
            _ => needs.file(path),
        }
    } else if real.starts_with("/etc") && metadata.is_file() && everybody {
        needs.copies.insert(real);
    }
}

/// Where links below a directory lead, in the end.
fn walk(directory: &Path, depth: usize, left: &mut usize, targets: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => targets.extend(fs::canonicalize(entry.path())),
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, left, targets),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_out_of_a_package_are_followed_to_data_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let site = fs::canonicalize(dir.path()).unwrap().join("lib/python3/dist-packages");
        fs::create_dir_all(site.join("package/deep")).unwrap();
        for (name, target) in [
            ("zone", "/usr/share/zoneinfo"),
            ("all", "/usr/share"),
            ("home", "/root"),
            ("js", "/usr/share/javascript"),
        ] {
            symlink(target, site.join("package/deep").join(name)).unwrap();
        }
        for (name, target) in [("hosts", "/etc/hosts"), ("shadow", "/etc/shadow"), ("self", ".")] {
            symlink(target, site.join("package").join(name)).unwrap();
        }
        let mut needs = Needs::default();
        needs.directories.insert(site.clone());
        add(&mut needs);
        let real = |path: &str| fs::canonicalize(path).ok();
        let wanted = [Some(site), real("/usr/share/zoneinfo")].into_iter().flatten().collect();
        assert_eq!(needs.directories, wanted);
        assert_eq!(needs.copies, real("/etc/hosts").into_iter().collect());
        assert!(needs.files.is_empty(), "{:?}", needs.files);
    }
}
