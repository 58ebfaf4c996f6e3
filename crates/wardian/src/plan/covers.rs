//! What covers a path of the new root while it is being made.

use super::program::Resolved;
use super::{BOX, PlanError, Request};
use crate::policy::{MountKind, RootKind};
use std::path::{Path, PathBuf};

/// What was put at a path.
pub(super) enum Cover {
    /// A tree of the host.
    Host(PathBuf),
    /// An empty file system.
    Tmpfs,
    /// A symbolic link.
    Link,
}

/// All that was put into the root so far; what came later lies on top.
#[derive(Default)]
pub(super) struct Covers(Vec<(String, Cover)>);

impl Covers {
    pub(super) fn add(&mut self, path: &str, cover: Cover) {
        self.0.push((path.to_owned(), cover));
    }

    /// Whether `path` lies in a tree of the host, where it must be a directory or a file already.
    pub(super) fn host_has(&self, path: &str, directory: bool) -> Result<bool, PlanError> {
        let error = |problem| PlanError::MountTarget { path: path.to_owned(), problem };
        let Some((rest, cover)) = self.on_top(path) else { return Ok(false) };
        let whole = rest.as_os_str().is_empty();
        match cover {
            Cover::Tmpfs => Ok(false),
            Cover::Link if whole => Err(error("a link is there already")),
            Cover::Link => Err(error("it lies behind a link; name the directory that the link leads to")),
            Cover::Host(source) if whole && source.is_dir() != directory => {
                Err(error("a directory covers no file that is there, and a file no directory"))
            }
            Cover::Host(_) if whole => Ok(true),
            Cover::Host(source) => {
                // Behind a link of the tree might be anything: only what lies in the tree itself counts.
                let inside = source.canonicalize().map(|source| source.join(rest)).unwrap_or_default();
                let is_there =
                    inside.canonicalize().is_ok_and(|found| found == inside) && inside.is_dir() == directory;
                match is_there {
                    true => Ok(true),
                    false => {
                        Err(error("it lies in a tree of the host that has no such place, where none is made"))
                    }
                }
            }
        }
    }

    /// Refuses a path at which something is to be made, if a tree of the host is there.
    pub(super) fn nothing_of_the_host(&self, path: &str) -> Result<(), PlanError> {
        let problem = match self.on_top(path) {
            None | Some((_, Cover::Tmpfs)) => return Ok(()),
            Some((_, Cover::Link)) => "a link is there, or on the way there",
            Some((_, Cover::Host(_))) => "it lies in a tree of the host, where nothing is made",
        };
        Err(PlanError::MountTarget { path: path.to_owned(), problem })
    }

    /// The last one that covers `path`, and where in it the path lies.
    fn on_top<'a>(&'a self, path: &'a str) -> Option<(&'a Path, &'a Cover)> {
        let path = Path::new(path);
        self.0.iter().rev().find_map(|(above, cover)| Some((path.strip_prefix(above).ok()?, cover)))
    }
}

/// Where time zones, the locale and certificates are, which a program starts without.
const CONVENIENT: [&str; 3] = ["/etc", "/usr/share", "/usr/lib/locale"];

/// Refuses mounts that would hide the program, its files or what it needs: it would end with a riddle.
pub(super) fn hide_nothing_needed(request: &Request, program: &Resolved) -> Result<(), PlanError> {
    if request.policy.files.root != RootKind::Program {
        return Ok(());
    }
    for mount in &request.policy.files.mounts {
        let source = match (mount.kind, &mount.src) {
            (MountKind::Bind, Some(source)) => Some(Path::new(source)),
            (MountKind::Tmpfs, _) => None,
            _ => continue,
        };
        let refused = |problem| Err(PlanError::MountTarget { path: mount.dst.clone(), problem });
        if mount.dst == BOX {
            return refused("the program and its files are there; choose another place, such as /data");
        }
        let convenient = |needed: &PathBuf| CONVENIENT.iter().any(|above| needed.starts_with(above));
        // A mount may well show the same again, and more of it.
        let hides = |needed: &&PathBuf| match (needed.strip_prefix(&mount.dst), source) {
            (Err(_), _) => false,
            (Ok(_), None) => true,
            (Ok(rest), Some(source)) => source.exists() && !source.join(rest).exists(),
        };
        if program
            .directories
            .iter()
            .chain(&program.files)
            .any(|needed| !convenient(needed) && hides(&needed))
        {
            return refused("it would hide what the program needs to start");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(result: Result<impl std::fmt::Debug, PlanError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn in_a_tree_of_the_host_only_what_is_there_can_be_mounted_over() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("d")).unwrap();
        std::fs::write(tree.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("d", tree.path().join("l")).unwrap();
        let mut covers = Covers::default();
        covers.add("/a", Cover::Host(tree.path().into()));
        assert!(!covers.host_has("/b", true).unwrap());
        assert!(covers.host_has("/a", true).unwrap());
        assert!(covers.host_has("/a/d", true).unwrap() && covers.host_has("/a/f", false).unwrap());
        for (path, directory) in [("/a/d", false), ("/a/f", true), ("/a/l", true), ("/a/n", true)] {
            assert!(problem(covers.host_has(path, directory)).contains("no such place"), "{path}");
        }
        assert!(problem(covers.nothing_of_the_host("/a/x")).contains("nothing is made"));
        covers.nothing_of_the_host("/b").unwrap();
    }

    #[test]
    fn what_comes_later_lies_on_top() {
        let mut covers = Covers::default();
        covers.add("/a", Cover::Host("/".into()));
        covers.add("/a/t", Cover::Tmpfs);
        covers.add("/l", Cover::Link);
        assert!(!covers.host_has("/a/t/new", true).unwrap());
        assert!(problem(covers.host_has("/l/x", true)).contains("behind a link"));
        assert!(problem(covers.host_has("/l", true)).contains("there already"));
        assert!(problem(covers.nothing_of_the_host("/l")).contains("a link"));
    }
}
