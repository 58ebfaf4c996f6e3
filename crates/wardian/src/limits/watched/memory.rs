//! Memory at one look: what is cheap to ask first, then what is exact.

use super::tree::Resident;
use super::walk::{Order, Sum, Walk, Walker};
use super::{CONFIRM, Memory, Watcher};
use crate::limits::stat::Stat;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use wardian_sys::process::{Common, have_in_common};

/// How long a look waits for the walk of page tables, which most often takes less; the next look finds what that came to.
const WAIT_FOR_WALK: Duration = Duration::from_millis(2);
/// Too much by a sum that may count twice what processes shared with others who have ended meanwhile, for so long, is too much.
const DOUBT: Duration = Duration::from_secs(1);
/// What a socket may send before it waits, unless the kernel says otherwise; programs cannot change it where they are
/// watched.
const SOCKET_BYTES: u64 = 212_992;
/// What a pipe holds; likewise.
const PIPE_BYTES: u64 = 64 << 10;
/// The largest page tables that are walked, unless there are as many pages as belong to them (512 to a table): mappings
/// with a page here and there would take seconds. Their pages count with all that is shared.
const WALKED_TABLES_BYTES: u64 = 16 << 20;

impl Watcher {
    /// Starts with what is cheap and counts shared pages once a process, and has that replaced by a walk of page tables
    /// if it is too much.
    pub(super) fn look_at_memory(
        &mut self,
        processes: &[Stat],
        disk_bytes: u64,
        now: Instant,
        until: Instant,
    ) -> (u64, Memory) {
        let limit = self.limits.memory_bytes;
        let mut sizes: Vec<_> = processes.iter().map(|stat| (self.proc.resident(stat), *stat)).collect();
        let mut sum = sum_of(&sizes, disk_bytes);
        if sum > limit {
            without_shown_twice(&mut sizes);
            sum = sum_of(&sizes, disk_bytes);
        }
        let Some(queued) = self.queued_bytes(processes, limit.saturating_sub(sum), until) else {
            return (sum, Memory::Within);
        };
        let sum = sum.saturating_add(queued);
        if sum <= limit {
            if let Some(walker) = &mut self.walker {
                walker.forget();
            }
            return (sum, self.judge(Sum::known(sum), now));
        }
        let at_least =
            sizes.iter().map(|(size, _)| size.at_least()).max().unwrap_or(0).saturating_add(disk_bytes);
        match self.walk(Order { sum, limit, sizes: worth_walking(sizes) }, until) {
            Walk::Found { at, sum } => (sum.at_least, self.judge(sum, at)),
            // Nobody has to wait to know that one process alone has too much.
            Walk::Underway if at_least > limit => (at_least, self.judge(Sum::known(at_least), now)),
            Walk::Underway => (sum, Memory::Within),
            Walk::Stuck => (sum, Memory::Exceeded),
        }
    }

    /// What sockets and pipes hold: nothing if that is certainly less than there is `room` for. `None` if it is not known by
    /// `until`.
    fn queued_bytes(&self, processes: &[Stat], room: u64, until: Instant) -> Option<u64> {
        let most = self.limits.open_files;
        let sockets = if self.has_network { self.proc.sockets_of_network(self.root.pid) } else { None };
        let of_sockets = sockets.unwrap_or(0).saturating_mul(self.socket_bytes);
        let each = if sockets.is_some() { PIPE_BYTES } else { self.socket_bytes };
        let descriptors: u64 = processes.iter().map(|stat| self.proc.descriptors(stat, most)).sum();
        if of_sockets.saturating_add(descriptors.saturating_mul(each)) <= room {
            return Some(0);
        }
        let queues = self.proc.queues(processes.iter(), most, until)?;
        let seen = if sockets.is_some() { 0 } else { queues.sockets };
        let of_descriptors =
            seen * self.socket_bytes + queues.pipes * PIPE_BYTES + queues.unknown.saturating_mul(each);
        Some(of_sockets.saturating_add(of_descriptors))
    }

    /// Without a thread to walk on nothing is known to be shared.
    fn walk(&mut self, order: Order, until: Instant) -> Walk {
        let wait = until.saturating_duration_since(Instant::now()).min(WAIT_FOR_WALK);
        if self.walker.is_none() {
            self.walker = Walker::start(&self.proc).ok();
        }
        self.walker.as_mut().map_or(Walk::Stuck, |walker| walker.walk(order, wait))
    }

    fn judge(&mut self, sum: Sum, at: Instant) -> Memory {
        let limit = self.limits.memory_bytes;
        self.peaks.memory_bytes = self.peaks.memory_bytes.max(sum.at_least);
        if sum.at_most <= limit {
            (self.doubted_at, self.suspected_at) = (None, None);
            return Memory::Within;
        }
        let for_so_long =
            |since: &mut Option<Instant>| at.saturating_duration_since(*since.get_or_insert(at));
        if for_so_long(&mut self.doubted_at) >= DOUBT {
            return Memory::Exceeded;
        }
        if sum.at_least <= limit {
            self.suspected_at = None;
            return Memory::Within;
        }
        if for_so_long(&mut self.suspected_at) >= CONFIRM { Memory::Exceeded } else { Memory::Suspected }
    }
}

fn sum_of(sizes: &[(Resident, Stat)], disk_bytes: u64) -> u64 {
    sizes.iter().fold(disk_bytes, |sum, (size, _)| sum.saturating_add(size.bytes()))
}

/// A child of `vfork` has its parent's memory until it executes a program, and `/proc` shows that of both.
fn without_shown_twice(sizes: &mut Vec<(Resident, Stat)>) {
    let pids: HashSet<u32> = sizes.iter().map(|(_, stat)| stat.pid).collect();
    sizes.retain(|(_, stat)| {
        let (one, other) = (stat.pid.cast_signed(), stat.parent.cast_signed());
        // Whoever may not be compared counts.
        !(pids.contains(&stat.parent) && have_in_common(one, other, Common::Memory) == Ok(true))
    });
}

/// The largest first, without those whose tables are too large for what they hold.
fn worth_walking(mut sizes: Vec<(Resident, Stat)>) -> Vec<(Resident, Stat)> {
    sizes.retain(|(size, _)| size.tables <= WALKED_TABLES_BYTES.max(size.pages / 64));
    sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
    sizes
}

/// How full a new socket can be: below its limit it may send once more, half as much.
pub(super) fn socket_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/core/wmem_default");
    let limit: u64 = text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(SOCKET_BYTES);
    limit.saturating_add(limit / 2)
}
