//! The supervisor's part: making the bytes that `decode_steps` and `Plan::decode` read.

use super::{Rlimit, Seat, Step};
use crate::codec::List;
use crate::codec::write::Writer;
use alloc::ffi::CString;
use alloc::vec::Vec;
use wardian_sys::landlock::Handled;

/// The guest in owned form; the fields are those of [`super::Guest`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented at `Guest`")]
pub struct GuestSpec {
    pub channel: Seat,
    pub joins: Vec<Seat>,
    pub stdio: [Seat; 3],
    pub result: Option<Seat>,
    pub terminal: bool,
    pub new_cgroup_root: bool,
    pub nice: Option<i32>,
    pub affinity: Vec<u64>,
    pub rlimits: Vec<Rlimit>,
    pub open_files: u64,
    pub cwd: CString,
    pub landlock: Handled,
    pub landlock_rules: Vec<(CString, u64)>,
    pub uid: u32,
    pub gid: u32,
    pub change_ids: bool,
    pub locks_down: bool,
    pub zygote: bool,
    pub filter: Vec<u8>,
    pub listener: bool,
    pub unobserved_filter: Vec<u8>,
    pub program: CString,
    /// Descriptor and address of the empty path, if nothing else may be executed later.
    pub exec_once: Option<(u32, u64)>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
}

/// Steps, encoded as they are added.
#[derive(Clone, Debug, Default)]
pub struct EncodedSteps {
    count: u32,
    bytes: Vec<u8>,
}

impl EncodedSteps {
    /// Adds a step after the others.
    pub fn push(&mut self, step: &Step<'_>) {
        let mut w = Writer { bytes: core::mem::take(&mut self.bytes) };
        step.encode(&mut w);
        self.bytes = w.bytes;
        self.count += 1;
    }

    /// The plan's first half.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.encode(&mut w);
        w.bytes
    }

    /// The steps, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Step<'_>> {
        List::of(self.count, &self.bytes).iter()
    }
}

/// The slots of a zygote in owned form; the fields are those of [`super::Slots`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "documented at `Slots`")]
pub struct SlotsSpec<'a> {
    pub namespaces: u64,
    pub reuses_networks: bool,
    pub steps: &'a EncodedSteps,
    pub guest: GuestSpec,
    pub seal: CString,
}

/// Encodes the plan's second half.
pub fn encode(
    guest: &GuestSpec,
    init_filter: &[u8],
    in_place: bool,
    slots: Option<&SlotsSpec<'_>>,
) -> Vec<u8> {
    let mut w = Writer::default();
    guest.encode(&mut w);
    w.bytes(init_filter).flag(in_place).flag(slots.is_some());
    if let Some(slots) = slots {
        w.u64(slots.namespaces);
        w.flag(slots.reuses_networks);
        slots.steps.encode(&mut w);
        slots.guest.encode(&mut w);
        w.string(&slots.seal);
    }
    w.bytes
}

impl EncodedSteps {
    fn encode(&self, w: &mut Writer) {
        w.list_of(self.count, &self.bytes);
    }
}

impl GuestSpec {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.channel.0);
        w.list(&self.joins, |w, seat| {
            w.u32(seat.0);
        });
        for seat in self.stdio {
            w.u32(seat.0);
        }
        w.u32(self.result.map_or(0, |seat| seat.0)).flag(self.result.is_some());
        w.flag(self.terminal).flag(self.new_cgroup_root);
        w.i32(self.nice.unwrap_or(0)).flag(self.nice.is_some());
        w.list(&self.affinity, |w, word| {
            w.u64(*word);
        });
        w.list(&self.rlimits, |w, limit| {
            w.u32(limit.resource).u64(limit.soft).u64(limit.hard);
        });
        w.u64(self.open_files).string(&self.cwd);
        w.u64(self.landlock.fs).u64(self.landlock.net).u64(self.landlock.scoped);
        w.list(&self.landlock_rules, |w, rule| {
            w.string(&rule.0).u64(rule.1);
        });
        w.u32(self.uid).u32(self.gid).flag(self.change_ids).flag(self.locks_down);
        w.flag(self.zygote);
        w.bytes(&self.filter).flag(self.listener).bytes(&self.unobserved_filter);
        let (fd, address) = self.exec_once.unwrap_or((0, 0));
        w.string(&self.program).u32(fd).u64(address);
        for strings in [&self.args, &self.env] {
            w.list(strings, |w, string| {
                w.string(string);
            });
        }
    }
}

impl Step<'_> {
    fn encode(&self, w: &mut Writer) {
        match *self {
            Step::Identity { uid, gid, clear_groups } => w.u8(0).u32(uid).u32(gid).flag(clear_groups),
            Step::Hostname { name } => w.u8(1).string(name),
            Step::NewNetwork => w.u8(2),
            Step::LoopbackUp => w.u8(3),
            Step::NewCgroupRoot => w.u8(4),
            Step::OomScore { text } => w.u8(5).string(text),
            Step::Root { size, inodes, mode } => w.u8(6).string(size).string(inodes).string(mode),
            Step::Directory { path, mode } => w.u8(7).string(path).u32(mode),
            Step::File { path, mode, content } => w.u8(8).string(path).u32(mode).bytes(content),
            Step::Copy { seat, path, mode } => w.u8(9).u32(seat.0).string(path).u32(mode),
            Step::Symlink { path, target } => w.u8(10).string(path).string(target),
            Step::Owner { path, uid, gid } => w.u8(11).string(path).u32(uid).u32(gid),
            Step::Attach { seat, path } => w.u8(12).u32(seat.0).string(path),
            Step::Bind { source, path, attributes, optional } => {
                w.u8(13).string(source).string(path).u64(attributes).flag(optional)
            }
            Step::BindInside { source, path, attributes } => {
                w.u8(14).string(source).string(path).u64(attributes)
            }
            Step::Tmpfs { path, size, inodes, mode, attributes } => {
                w.u8(15).string(path).string(size).string(inodes).string(mode).u64(attributes)
            }
            Step::Proc { path, subset, hidepid, read_only, optional } => {
                w.u8(16).string(path).flag(subset).string(hidepid).flag(read_only).flag(optional)
            }
            Step::PassDirectory { path } => w.u8(17).string(path),
            Step::Pivot => w.u8(18),
            Step::SlotsProc => w.u8(19),
            Step::Attributes { path, attributes } => w.u8(20).string(path).u64(attributes),
        };
    }
}
