//! A tree of the host's, and whose rights the program has in it.

use crate::policy::{Mount, MountKind};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A host tree that the supervisor opens for init.
#[derive(Clone, Debug)]
pub(crate) struct HostTree {
    pub(crate) source: PathBuf,
    pub(crate) attributes: u64,
    /// Whose files are the program's there, if anybody's.
    pub(crate) owner: Option<u32>,
}

impl HostTree {
    /// One in which the program has everybody's rights.
    pub(super) fn new(source: &Path, attributes: u64) -> HostTree {
        HostTree { source: source.into(), attributes, owner: None }
    }

    pub(super) fn of_mount(source: &Path, attributes: u64, mount: &Mount, metadata: &Metadata) -> HostTree {
        HostTree { owner: owner(mount, metadata), ..HostTree::new(source, attributes) }
    }
}

const EVERYBODY_WRITES: u32 = 0o002;

/// Whose rights the program has in a mount. Nobody gets root's unasked, nor those of its group: what root runs or reads
/// later may lie there.
fn owner(mount: &Mount, metadata: &Metadata) -> Option<u32> {
    let has_owner =
        mount.kind == MountKind::Bind && mount.writable && (metadata.is_dir() || metadata.is_file());
    let by_itself = !is_roots(metadata) && metadata.mode() & EVERYBODY_WRITES == 0;
    (has_owner && mount.as_owner.unwrap_or(by_itself)).then(|| metadata.uid())
}

fn is_roots(metadata: &Metadata) -> bool {
    metadata.uid() == 0 || metadata.gid() == 0
}

/// What to tell of a writable mount in whose directory a program that has ids of its own cannot write, though nobody
/// said so.
pub(super) fn unwritable(mount: &Mount) -> Option<String> {
    let asked = mount.kind == MountKind::Bind && mount.writable && mount.as_owner.is_none();
    let source = mount.src.as_deref().filter(|_| asked)?;
    let metadata = std::fs::metadata(source).ok()?;
    let refuses = is_roots(&metadata) && metadata.mode() & EVERYBODY_WRITES == 0;
    let whose = if metadata.uid() == 0 { "root" } else { "root's group" };
    refuses.then(|| {
        format!(
            "the program cannot write in `{}` itself: `{source}` belongs to {whose}; give it to a user and their group \
             (`chown USER:GROUP`), or say so: `as_owner`",
            mount.dst
        )
    })
}
