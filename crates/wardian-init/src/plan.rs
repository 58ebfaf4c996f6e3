//! The plan as init sees it: what to do, in order, and what to start.

use crate::codec::{Decode, List, Reader};
use core::ffi::CStr;
use wardian_sys::Fd;
use wardian_sys::landlock::Handled;

/// A descriptor that the supervisor gave to init, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(pub u32);

impl Seat {
    /// The descriptor's number inside.
    pub fn fd(self) -> Fd {
        const FIRST: i32 = 3;
        Fd::from_number(FIRST.saturating_add(self.0.cast_signed()))
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Seat {
        Seat(self.0 + 1)
    }
}

/// One step of setting a sandbox up. Paths are absolute in the new root; host paths are called `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say what they are; attributes are `wardian_sys::mount::ATTR_*`")]
pub enum Step<'a> {
    /// Takes an id inside the user namespace.
    Identity { uid: u32, gid: u32, clear_groups: bool },
    /// Sets the host name.
    Hostname { name: &'a CStr },
    /// Leaves the network namespace for a new, empty one.
    NewNetwork,
    /// Brings the loopback interface up.
    LoopbackUp,
    /// Makes the cgroup we are in look like the root of all.
    NewCgroupRoot,
    /// Writes `/proc/self/oom_score_adj` for init and the guest.
    OomScore { text: &'a CStr },
    /// A new tmpfs that will be the root.
    Root { size: &'a CStr, inodes: &'a CStr, mode: &'a CStr },
    /// Makes a directory.
    Directory { path: &'a CStr, mode: u32 },
    /// Makes a file of given content.
    File { path: &'a CStr, mode: u32, content: &'a [u8] },
    /// Makes a file with the content of an open one.
    Copy { seat: Seat, path: &'a CStr, mode: u32 },
    /// Makes a symbolic link.
    Symlink { path: &'a CStr, target: &'a CStr },
    /// Gives a path to an owner.
    Owner { path: &'a CStr, uid: u32, gid: u32 },
    /// Attaches the detached mount tree in a seat.
    Attach { seat: Seat, path: &'a CStr },
    /// Attaches a copy of a host tree, opened by init itself. `optional`: its absence is reported, not fatal.
    Bind { source: &'a CStr, path: &'a CStr, attributes: u64, optional: bool },
    /// Attaches a copy of a tree that is already in the new root.
    BindInside { source: &'a CStr, path: &'a CStr, attributes: u64 },
    /// Mounts a new tmpfs.
    Tmpfs { path: &'a CStr, size: &'a CStr, inodes: &'a CStr, mode: &'a CStr, attributes: u64 },
    /// Mounts the pid namespace's own proc.
    Proc { path: &'a CStr, subset: bool, hidepid: &'a CStr, read_only: bool, optional: bool },
    /// Makes a proc of this pid namespace that no path leads to, for the inits of slots to look around in: while the host's
    /// shows that it may be made.
    SlotsProc,
    /// Hands an open directory to the supervisor.
    PassDirectory { path: &'a CStr },
    /// Makes the new root the root, and lets go of the old one.
    Pivot,
    /// Sets attributes on the one mount at a path; after `Pivot`.
    Attributes { path: &'a CStr, attributes: u64 },
}

impl core::fmt::Display for Step<'_> {
    /// What the step does, as a person reads it in `--explain-plan` and in errors.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        fn show(text: &CStr) -> core::slice::EscapeAscii<'_> {
            text.to_bytes().escape_ascii()
        }
        match *self {
            Step::Identity { uid, gid, .. } => write!(f, "become uid {uid}, gid {gid} of the user namespace"),
            Step::Hostname { name } => write!(f, "set the host name to {}", show(name)),
            Step::NewNetwork => write!(f, "enter a new network namespace"),
            Step::LoopbackUp => write!(f, "bring the loopback interface up"),
            Step::NewCgroupRoot => write!(f, "enter a new cgroup namespace"),
            Step::OomScore { text } => write!(f, "set oom_score_adj to {}", show(text)),
            Step::Root { size, inodes, mode } => {
                let (size, inodes, mode) = (show(size), show(inodes), show(mode));
                write!(f, "mount the new root: tmpfs, size {size}, {inodes} inodes, mode {mode}")
            }
            Step::Directory { path, mode } => write!(f, "make directory {} ({mode:04o})", show(path)),
            Step::File { path, mode, content } => {
                write!(f, "make file {} ({mode:04o}, {} bytes)", show(path), content.len())
            }
            Step::Copy { path, mode, .. } => write!(f, "copy an input to {} ({mode:04o})", show(path)),
            Step::Symlink { path, target } => write!(f, "make link {} -> {}", show(path), show(target)),
            Step::Owner { path, uid, gid } => write!(f, "give {} to {uid}:{gid}", show(path)),
            Step::Attach { path, .. } => {
                write!(f, "attach the tree opened by the supervisor at {}", show(path))
            }
            Step::Bind { source, path, attributes, .. } => {
                write!(f, "bind {} at {} ({})", show(source), show(path), Attributes(attributes))
            }
            Step::BindInside { source, path, attributes } => {
                write!(
                    f,
                    "bind {} of the new root at {} ({})",
                    show(source),
                    show(path),
                    Attributes(attributes)
                )
            }
            Step::Tmpfs { path, size, inodes, attributes, .. } => write!(
                f,
                "mount a tmpfs at {}: size {}, {} inodes ({})",
                show(path),
                show(size),
                show(inodes),
                Attributes(attributes)
            ),
            Step::Proc { path, subset, hidepid, .. } => {
                let subset = if subset { ", subset=pid" } else { "" };
                write!(f, "mount proc at {} (hidepid={}{subset})", show(path), show(hidepid))
            }
            Step::SlotsProc => write!(f, "make a proc for slots, which no path leads to"),
            Step::PassDirectory { path } => write!(f, "hand {} to the supervisor", show(path)),
            Step::Pivot => write!(f, "make the new root the root and detach the old one"),
            Step::Attributes { path, attributes } => {
                write!(f, "set {} on the mount at {}", Attributes(attributes), show(path))
            }
        }
    }
}

/// Mount attributes by their usual names.
struct Attributes(u64);

impl core::fmt::Display for Attributes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        use wardian_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_NOSYMFOLLOW, ATTR_RDONLY};
        let mut first = if self.0 & ATTR_RDONLY == 0 { "rw" } else { "ro" };
        for (bit, name) in [
            (ATTR_NOSUID, "nosuid"),
            (ATTR_NODEV, "nodev"),
            (ATTR_NOEXEC, "noexec"),
            (ATTR_NOSYMFOLLOW, "nosymfollow"),
        ] {
            if self.0 & bit != 0 {
                write!(f, "{first},")?;
                first = name;
            }
        }
        f.write_str(first)
    }
}

/// A resource limit: number, soft, hard (setrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Grants rights beneath a path of the new root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LandlockRule<'a> {
    /// A file or directory; one that does not exist is skipped, since there is nothing to grant.
    pub path: &'a CStr,
    /// `LANDLOCK_ACCESS_FS_*`
    pub allowed: u64,
}

/// How the program is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec<'a> {
    /// By its path.
    Path(&'a CStr),
    /// Through a descriptor of this number, the only exec that the filter allows.
    Once {
        /// Its path.
        path: &'a CStr,
        /// The descriptor's number.
        fd: u32,
        /// Where the empty path lies, a secret that the filter compares with; not 0.
        address: u64,
    },
}

/// The guest: everything between its clone and its exec.
#[derive(Clone)]
pub struct Guest<'a> {
    /// Its private channel to the supervisor until exec.
    pub channel: Seat,
    /// cgroup v1 `tasks` files to write `0` to.
    pub joins: List<'a, Seat>,
    /// Standard input, output, error.
    pub stdio: [Seat; 3],
    /// Becomes descriptor 3, if granted.
    pub result: Option<Seat>,
    /// A seat of stdio is a terminal to be taken as controlling terminal.
    pub terminal: bool,
    /// Make its cgroups look like the root of all.
    pub new_cgroup_root: bool,
    /// Nice value.
    pub nice: Option<i32>,
    /// CPU mask words; empty for no change.
    pub affinity: List<'a, u64>,
    /// Resource limits, applied in order; the number of open files last of all.
    pub rlimits: List<'a, Rlimit>,
    /// Most open files; 0 leaves the limit alone.
    pub open_files: u64,
    /// Working directory.
    pub cwd: &'a CStr,
    /// Landlock: what is handled (all zero: none).
    pub landlock: Handled,
    /// Landlock: what is granted.
    pub landlock_rules: List<'a, LandlockRule<'a>>,
    /// The id to take inside.
    pub uid: u32,
    /// The group id to take inside.
    pub gid: u32,
    /// Whether there are other ids to leave (as an ordinary user there is only one).
    pub change_ids: bool,
    /// Whether it closes what an exec could bring back of capabilities: where init has not done that, and there are rights to.
    pub locks_down: bool,
    /// A zygote: it keeps what its children need to enter their slots, and is neither filtered nor restricted.
    pub zygote: bool,
    /// The seccomp program.
    pub filter: &'a [u8],
    /// Whether the filter notifies.
    pub listener: bool,
    /// The seccomp program for where there is a listener already; empty if the guest must not start without its own.
    pub unobserved_filter: &'a [u8],
    /// What to execute.
    pub exec: Exec<'a>,
    /// Arguments, the program's own name first.
    pub args: List<'a, &'a CStr>,
    /// Environment, `NAME=value`.
    pub env: List<'a, &'a CStr>,
}

/// The plan's second half, decoded; its lists are decoded as they are walked.
#[derive(Clone)]
pub struct Plan<'a> {
    /// What to start.
    pub guest: Guest<'a>,
    /// The seccomp program of init itself.
    pub init_filter: &'a [u8],
    /// There are no namespaces: init gathers orphans itself, and takes the guest's ids.
    pub in_place: bool,
    /// What the slots of a zygote are like, if the guest is one.
    pub slots: Option<Slots<'a>>,
}

/// Slots: the single-use sandboxes of a zygote.
#[derive(Clone)]
pub struct Slots<'a> {
    /// The namespaces of a slot's init: `CLONE_NEW*`.
    pub namespaces: u64,
    /// Whether it may have the network namespace of a slot that is gone.
    pub reuses_networks: bool,
    /// What a slot's init does, in its copy of the zygote's root.
    pub steps: List<'a, Step<'a>>,
    /// The one that is forked from the zygote; it executes nothing.
    pub guest: Guest<'a>,
    /// What is made read-only once the inputs are there; empty for nothing.
    pub seal: &'a CStr,
}

impl<'a> Plan<'a> {
    /// The plan that `bytes` encode; `None` if they are none, in whole or in part.
    pub fn decode(bytes: &'a [u8]) -> Option<Plan<'a>> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        let plan = Plan {
            guest: Guest::decode(r)?,
            init_filter: r.bytes()?,
            in_place: r.flag()?,
            slots: if r.flag()? { Some(Slots::decode(r)?) } else { None },
        };
        reader.is_empty().then_some(plan)
    }
}

/// The steps that `bytes` encode, the plan's first half; `None` if they are none, in whole or in part.
pub fn decode_steps(bytes: &[u8]) -> Option<List<'_, Step<'_>>> {
    let mut reader = Reader::new(bytes);
    let steps = List::read(&mut reader)?;
    reader.is_empty().then_some(steps)
}

impl Decode<'_> for Seat {
    fn decode(r: &mut Reader<'_>) -> Option<Seat> {
        r.u32().map(Seat)
    }
}

impl Decode<'_> for Rlimit {
    fn decode(r: &mut Reader<'_>) -> Option<Rlimit> {
        Some(Rlimit { resource: r.u32()?, soft: r.u64()?, hard: r.u64()? })
    }
}

impl<'a> Decode<'a> for LandlockRule<'a> {
    fn decode(r: &mut Reader<'a>) -> Option<LandlockRule<'a>> {
        Some(LandlockRule { path: r.string()?, allowed: r.u64()? })
    }
}

fn optional<T>(r: &mut Reader<'_>, value: T) -> Option<Option<T>> {
    Some(r.flag()?.then_some(value))
}

impl<'a> Slots<'a> {
    fn decode(r: &mut Reader<'a>) -> Option<Slots<'a>> {
        Some(Slots {
            namespaces: r.u64()?,
            reuses_networks: r.flag()?,
            steps: List::read(r)?,
            guest: Guest::decode(r)?,
            seal: r.string()?,
        })
    }
}

impl<'a> Guest<'a> {
    pub(crate) fn decode(r: &mut Reader<'a>) -> Option<Guest<'a>> {
        Some(Guest {
            channel: Seat::decode(r)?,
            joins: List::read(r)?,
            stdio: [Seat::decode(r)?, Seat::decode(r)?, Seat::decode(r)?],
            result: Seat::decode(r).and_then(|value| optional(r, value))?,
            terminal: r.flag()?,
            new_cgroup_root: r.flag()?,
            nice: r.i32().and_then(|value| optional(r, value))?,
            affinity: List::read(r)?,
            rlimits: List::read(r)?,
            open_files: r.u64()?,
            cwd: r.string()?,
            landlock: Handled { fs: r.u64()?, net: r.u64()?, scoped: r.u64()? },
            landlock_rules: List::read(r)?,
            uid: r.u32()?,
            gid: r.u32()?,
            change_ids: r.flag()?,
            locks_down: r.flag()?,
            zygote: r.flag()?,
            filter: r.bytes()?,
            listener: r.flag()?,
            unobserved_filter: r.bytes()?,
            exec: Exec::decode(r)?,
            args: List::read(r)?,
            env: List::read(r)?,
        })
    }
}

impl<'a> Exec<'a> {
    pub(crate) fn decode(r: &mut Reader<'a>) -> Option<Exec<'a>> {
        let path = r.string()?;
        let fd = r.u32()?;
        Some(match r.u64()? {
            0 => Exec::Path(path),
            address => Exec::Once { path, fd, address },
        })
    }
}

impl<'a> Decode<'a> for Step<'a> {
    fn decode(r: &mut Reader<'a>) -> Option<Step<'a>> {
        Some(match r.u8()? {
            0 => Step::Identity { uid: r.u32()?, gid: r.u32()?, clear_groups: r.flag()? },
            1 => Step::Hostname { name: r.string()? },
            2 => Step::NewNetwork,
            3 => Step::LoopbackUp,
            4 => Step::NewCgroupRoot,
            5 => Step::OomScore { text: r.string()? },
            6 => Step::Root { size: r.string()?, inodes: r.string()?, mode: r.string()? },
            7 => Step::Directory { path: r.string()?, mode: r.u32()? },
            8 => Step::File { path: r.string()?, mode: r.u32()?, content: r.bytes()? },
            9 => Step::Copy { seat: Seat::decode(r)?, path: r.string()?, mode: r.u32()? },
            10 => Step::Symlink { path: r.string()?, target: r.string()? },
            11 => Step::Owner { path: r.string()?, uid: r.u32()?, gid: r.u32()? },
            12 => Step::Attach { seat: Seat::decode(r)?, path: r.string()? },
            13 => Step::Bind {
                source: r.string()?,
                path: r.string()?,
                attributes: r.u64()?,
                optional: r.flag()?,
            },
            14 => Step::BindInside { source: r.string()?, path: r.string()?, attributes: r.u64()? },
            15 => Step::Tmpfs {
                path: r.string()?,
                size: r.string()?,
                inodes: r.string()?,
                mode: r.string()?,
                attributes: r.u64()?,
            },
            16 => Step::Proc {
                path: r.string()?,
                subset: r.flag()?,
                hidepid: r.string()?,
                read_only: r.flag()?,
                optional: r.flag()?,
            },
            17 => Step::PassDirectory { path: r.string()? },
            18 => Step::Pivot,
            19 => Step::SlotsProc,
            20 => Step::Attributes { path: r.string()?, attributes: r.u64()? },
            _ => return None,
        })
    }
}

#[cfg(feature = "supervisor")]
#[path = "encode.rs"]
pub(crate) mod encode;
