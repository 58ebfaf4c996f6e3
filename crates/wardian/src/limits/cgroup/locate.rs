//! Where the groups of this process are, from `/proc/self/mountinfo` and `/proc/self/cgroup`.

use super::dir::Dir;
use crate::limits::CgroupError;
use crate::limits::slurp::slurp;
use rustix::fs::{CWD, fstatfs, statfs};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// The list of mounts of an ordinary machine, and of one with many thousand.
const EXPECTED_BYTES: usize = 4 << 10;
const MAX_BYTES: usize = 16 << 20;

/// One line of `/proc/self/mountinfo` that shows a cgroup file system.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The group that is seen at `point`.
    root: PathBuf,
    point: PathBuf,
    v2: bool,
    /// Options of the file system: for version 1, its controllers.
    options: Vec<String>,
}

/// The group of this process in one hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Membership {
    /// Empty for version 2.
    controllers: Vec<String>,
    path: PathBuf,
}

/// What the two files say.
#[derive(Debug)]
pub(super) struct Map {
    mounts: Vec<Mount>,
    memberships: Vec<Membership>,
}

impl Map {
    pub(super) fn read() -> Result<Map, CgroupError> {
        let read = |path: &str| {
            slurp(CWD, path, EXPECTED_BYTES, MAX_BYTES)
                .map_err(|error| CgroupError::Read { path: PathBuf::from(path), source: error.into() })
        };
        Ok(Map::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?))
    }

    fn parse(mountinfo: &[u8], cgroup: &[u8]) -> Map {
        Map {
            mounts: mountinfo.split(|byte| *byte == b'\n').filter_map(mount).collect(),
            memberships: cgroup.split(|byte| *byte == b'\n').filter_map(membership).collect(),
        }
    }

    /// The directory of our own group in the version 2 hierarchy.
    pub(super) fn v2(&self) -> Result<Dir, CgroupError> {
        let own = self.memberships.iter().find(|own| own.controllers.is_empty());
        let path = own.map(|own| own.path.as_path());
        self.open(path, CGROUP2_MAGIC, "v2", |mount| mount.v2)
    }

    /// The directory of our own group in the version 1 hierarchy that `controller` is attached to.
    pub(super) fn v1(&self, controller: &'static str) -> Result<Dir, CgroupError> {
        let has = |names: &[String]| names.iter().any(|name| name == controller);
        let Some(own) = self.memberships.iter().find(|own| has(&own.controllers)) else {
            return Err(CgroupError::NoController { controller, path: "/proc/self/cgroup".into() });
        };
        self.open(Some(&own.path), CGROUP_MAGIC, "v1", |mount| !mount.v2 && has(&mount.options))
    }

    /// The first directory that is really there and of the right kind: a mount may be hidden by another, and
    /// may show a part of the hierarchy that we are not in.
    fn open(
        &self,
        own: Option<&Path>,
        magic: u64,
        version: &'static str,
        wanted: impl Fn(&Mount) -> bool,
    ) -> Result<Dir, CgroupError> {
        let mut reason = CgroupError::NotMounted { version };
        for mount in self.mounts.iter().filter(|mount| wanted(mount)) {
            let Some(path) = own.and_then(|own| seen_at(mount, own)) else { continue };
            match Dir::open(&path) {
                Ok(dir) if is_kind(&dir, magic) => return Ok(dir),
                Ok(_) => {}
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

/// Whether the groups of this machine may be those of version 2 alone, by one look at where they always are.
pub(crate) fn may_be_unified() -> bool {
    statfs("/sys/fs/cgroup").map_or(true, |stat| u64::try_from(stat.f_type) == Ok(CGROUP2_MAGIC))
}

fn is_kind(dir: &Dir, magic: u64) -> bool {
    fstatfs(dir).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == magic))
}

/// The path by which `mount` shows the group `own`. A group outside our cgroup namespace is written with
/// `..`, and no mount shows it.
fn seen_at(mount: &Mount, own: &Path) -> Option<PathBuf> {
    let below = own.strip_prefix(&mount.root).ok()?;
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        return None;
    }
    Some(if below.as_os_str().is_empty() { mount.point.clone() } else { mount.point.join(below) })
}

/// `32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu`; see `proc_pid_mountinfo(5)`.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let root = words.nth(3)?;
    let point = words.next()?;
    let kind = words.by_ref().skip_while(|word| *word != b"-").nth(1)?;
    let v2 = match kind {
        b"cgroup2" => true,
        b"cgroup" => false,
        _ => return None,
    };
    let options = String::from_utf8_lossy(words.nth(1)?);
    Some(Mount {
        root: unescape(root),
        point: unescape(point),
        v2,
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// `4:memory:/process_api/x`, `0::/user.slice`; see `cgroups(7)`.
fn membership(line: &[u8]) -> Option<Membership> {
    let mut parts = line.splitn(3, |byte| *byte == b':');
    let controllers = std::str::from_utf8(parts.nth(1)?).ok()?;
    let path = parts.next()?;
    // `0::` alone is version 2, and it has no name; `1:name=systemd:` is a version 1 hierarchy without
    // controllers.
    let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(Membership { controllers, path: PathBuf::from(OsString::from_vec(path.to_vec())) })
}

/// Space, tab, line break and backslash are written as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(mountinfo: &str, cgroup: &str) -> Map {
        Map::parse(mountinfo.as_bytes(), cgroup.as_bytes())
    }

    fn seen(map: &Map, index: usize, own: &str) -> Option<PathBuf> {
        seen_at(&map.mounts[index], Path::new(own))
    }

    #[test]
    fn hybrid() {
        let map = map(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 master:1 - cgroup cgroup rw,cpu,cpuacct\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n",
            "4:memory:/process_api/459d\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/a:b\n",
        );
        assert_eq!(map.mounts.len(), 2);
        assert_eq!(map.mounts[0].options, ["rw", "cpu", "cpuacct"]);
        assert!(map.mounts[1].v2);
        assert_eq!(map.memberships[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(map.memberships[3], Membership { controllers: vec![], path: "/a:b".into() });
        assert_eq!(seen(&map, 0, "/"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(seen(&map, 1, "/a:b"), Some("/sys/fs/cgroup/unified/a:b".into()));
        assert!(matches!(map.v1("pids"), Err(CgroupError::NoController { controller: "pids", .. })));
    }

    #[test]
    fn a_mount_may_show_a_part_only() {
        let map = map("1 1 0:1 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "");
        assert_eq!(seen(&map, 0, "/docker/ab"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(seen(&map, 0, "/docker/ab/c"), Some("/sys/fs/cgroup/memory/c".into()));
        assert_eq!(seen(&map, 0, "/docker/abc"), None);
        assert_eq!(seen(&map, 0, "/"), None);
        assert_eq!(seen(&map, 0, "/docker/ab/../../.."), None);
        assert!(matches!(map.v2(), Err(CgroupError::NotMounted { version: "v2" })));
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescape(br"/a\040b\134\0"), Path::new(r"/a b\\0"));
        assert_eq!(unescape(br"/\777\04"), Path::new(r"/\777\04"));
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let map = map("1 2 3\n- cgroup\n1 1 0:1 / /x rw - cgroup2\n\n", "nonsense\n5:cpu\n");
        assert!(map.mounts.is_empty());
        assert!(map.memberships.is_empty());
    }
}
