//! What of the host an interpreter needs: these directories and no more.

use super::data;
pub(crate) use super::needs::Needs;
use super::needs::is_wide;
use super::probe::Answer;
use super::start::Start;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
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

    /// What it can be known by without telling where it is: the same for the same program with the same directories, by
    /// whatever name it was found.
    pub fn id(&self) -> String {
        let real = fs::canonicalize(&self.executable).unwrap_or_else(|_| self.executable.clone());
        let mut digest = Sha256::new();
        for path in [&real].into_iter().chain(&self.directories) {
            digest.update(path.as_os_str().as_bytes());
            digest.update([0]);
        }
        let hex: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

/// Major, minor and patch number; zeros for what is no number.
pub(super) fn version_numbers(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
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
        data::add(&mut needs);
    }
    let watched = watched(executable, &real, &answer);
    needs.alternatives();
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
    use crate::python::elf;
    use crate::python::needs::WIDE;
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
        needs.links = vec![("/lib".into(), "usr/lib".into()); 2];
        let needs = needs.minimal();
        assert_eq!(needs.directories, ["/usr/lib/python3", "/usr/share/zoneinfo"].map(PathBuf::from).into());
        assert!(needs.files.is_empty());
        assert_eq!(needs.links.len(), 1);
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
