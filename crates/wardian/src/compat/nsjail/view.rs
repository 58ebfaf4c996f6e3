//! What a program will find at a path inside, before there is an inside.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::policy::{Mount, MountKind};

/// Where a bare name is looked for when the config sets no `PATH`.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A root made of mounts alone, as the guest will see it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    mounts: &'a [Mount],
}

/// What is at a path whose directories are no links.
enum Found {
    Directory,
    Host(PathBuf),
    Link(PathBuf),
    File,
}

impl<'a> View<'a> {
    /// The root that these mounts make, in their order.
    pub fn new(mounts: &'a [Mount]) -> View<'a> {
        View { mounts }
    }

    /// Whether `path` is a directory inside.
    pub fn has_directory(self, path: &Path) -> bool {
        match self.resolve(path) {
            Some(Found::Directory) => true,
            Some(Found::Host(host)) => host.is_dir(),
            _ => false,
        }
    }

    /// The path inside of a program that is called by a bare name: the first executable file of that name in
    /// the directories of `search_path` (as in `PATH`), or in the usual ones.
    pub fn find_program(self, name: &OsStr, search_path: Option<&str>) -> Option<PathBuf> {
        std::env::split_paths(search_path.unwrap_or(SEARCH_PATH))
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(name))
            .find(|candidate| self.is_executable(candidate))
    }

    fn is_executable(self, path: &Path) -> bool {
        let Some(Found::Host(host)) = self.resolve(path) else { return false };
        fs::metadata(host).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }

    fn resolve(self, path: &Path) -> Option<Found> {
        let mut left: VecDeque<OsString> = components(path).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        let mut found = Found::Directory;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                at.pop();
                found = self.look(&at)?;
                continue;
            }
            at.push(name);
            found = self.look(&at)?;
            if let Found::Link(target) = &found {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                at = if target.is_absolute() { "/".into() } else { at.parent()?.into() };
                components(target).rev().for_each(|name| left.push_front(name));
                found = Found::Directory;
            }
        }
        Some(found)
    }

    fn look(self, path: &Path) -> Option<Found> {
        for mount in self.mounts.iter().rev() {
            let Ok(rest) = path.strip_prefix(&mount.dst) else { continue };
            let whole = rest.as_os_str().is_empty();
            return match mount.kind {
                MountKind::Bind => match on_host(mount, rest) {
                    None if whole && mount.optional => continue,
                    found => found,
                },
                MountKind::Symlink => whole.then(|| Found::Link(source(mount).into())),
                MountKind::File => whole.then_some(Found::File),
                MountKind::Tmpfs | MountKind::Proc if whole => Some(Found::Directory),
                MountKind::Tmpfs | MountKind::Proc => self.leads_to_a_mount(path),
            };
        }
        self.leads_to_a_mount(path)
    }

    fn leads_to_a_mount(self, path: &Path) -> Option<Found> {
        let below = |mount: &&Mount| Path::new(&mount.dst) != path && Path::new(&mount.dst).starts_with(path);
        let made = |mount: &Mount| !mount.optional || Path::new(source(mount)).exists();
        let leads = path == Path::new("/") || self.mounts.iter().filter(below).any(made);
        leads.then_some(Found::Directory)
    }
}

fn source(mount: &Mount) -> &str {
    mount.src.as_deref().unwrap_or_default()
}

/// Mounting follows a link that is the source itself; those below it are the guest's to follow.
fn on_host(mount: &Mount, rest: &Path) -> Option<Found> {
    let host = Path::new(source(mount));
    if rest.as_os_str().is_empty() {
        return fs::canonicalize(host).ok().map(Found::Host);
    }
    let host = host.join(rest);
    match fs::read_link(&host) {
        Ok(target) => Some(Found::Link(target)),
        Err(_) => fs::symlink_metadata(&host).ok().map(|_| Found::Host(host)),
    }
}

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mount(kind: MountKind, src: &Path, dst: &str) -> Mount {
        let src = Some(src.to_str().unwrap().to_owned());
        Mount {
            dst: dst.into(),
            kind,
            src,
            writable: false,
            exec: true,
            size: None,
            content: None,
            optional: false,
            as_owner: None,
        }
    }

    /// A directory with `bin/tool` (executable), `bin/text` (not), `bin/alias` -> /opt/bin/tool, `bin/out` -> /etc.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let bin = tree.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            fs::write(bin.join(name), "").unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("/opt/bin/tool", bin.join("alias")).unwrap();
        symlink("/etc", bin.join("out")).unwrap();
        symlink("loop", bin.join("loop")).unwrap();
        tree
    }

    #[test]
    fn programs_are_found_inside_and_nowhere_else() {
        let tree = tree();
        let mounts = [
            mount(MountKind::Bind, tree.path(), "/opt"),
            mount(MountKind::Symlink, Path::new("opt/bin"), "/bin"),
        ];
        let view = View::new(&mounts);
        let find = |name: &str, path: Option<&str>| view.find_program(OsStr::new(name), path);
        assert_eq!(find("tool", None), Some("/bin/tool".into()));
        assert_eq!(find("tool", Some("bin:/none:/opt/bin")), Some("/opt/bin/tool".into()));
        assert_eq!(find("alias", None), Some("/bin/alias".into()));
        for name in ["text", "out", "loop", "sh", "tool/x"] {
            assert_eq!(find(name, None), None, "{name}");
        }
        assert_eq!(find("tool", Some("/usr/bin")), None);
    }

    #[test]
    fn directories_are_those_that_are_mounted_or_lead_there() {
        let tree = tree();
        let mut absent = mount(MountKind::Bind, Path::new("/no/such"), "/absent");
        absent.optional = true;
        let mounts = [
            mount(MountKind::Bind, tree.path(), "/a/b"),
            mount(MountKind::Tmpfs, Path::new(""), "/t"),
            mount(MountKind::Bind, &tree.path().join("bin/text"), "/t/d/file"),
            absent,
        ];
        let view = View::new(&mounts);
        for path in ["/", "/a", "/a/b", "/a/b/bin", "/a/b/bin/..", "/t", "/t/d"] {
            assert!(view.has_directory(Path::new(path)), "{path}");
        }
        for path in ["/b", "/a/b/no", "/a/b/bin/tool", "/t/d/file", "/t/e", "/absent", "/a/b/bin/out"] {
            assert!(!view.has_directory(Path::new(path)), "{path}");
        }
    }
}
