//! What limits refused while the program ran: they end no run themselves, but may be why it failed.

use crate::limits::cgroup::Counts;
use crate::policy::Limits;
use crate::report::{Denial, Reason, Verdict};
use rustix::fs::StatVfs;

/// What of it can be seen from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    /// How often the cgroup refused a process or thread.
    processes: u64,
    /// Whether scratch space has no bytes left at the end.
    bytes: bool,
    /// Whether scratch space has no files left at the end.
    inodes: bool,
}

impl Refusals {
    /// `scratch` is none where scratch space has no size of its own: a directory of the host's never refuses.
    pub(super) fn seen(counts: &Counts, scratch: Option<&StatVfs>) -> Refusals {
        Refusals { processes: counts.process_limit_hits.unwrap_or(0), ..Refusals::of_scratch(scratch) }
    }

    fn of_scratch(scratch: Option<&StatVfs>) -> Refusals {
        // A tmpfs without a limit says that it has no blocks at all.
        Refusals {
            processes: 0,
            bytes: scratch.is_some_and(|scratch| scratch.f_blocks > 0 && scratch.f_bfree == 0),
            inodes: scratch.is_some_and(|scratch| scratch.f_files > 0 && scratch.f_ffree == 0),
        }
    }

    /// The limit that a failed program is taken to have failed of. A full scratch space is so at its very end; a
    /// process may have been refused long before.
    pub(super) fn verdict(self) -> Option<(Verdict, Reason)> {
        if self.bytes {
            Some((Verdict::DiskLimit, Reason::DiskBytes))
        } else if self.inodes {
            Some((Verdict::DiskLimit, Reason::DiskInodes))
        } else {
            (self.processes > 0).then_some((Verdict::ProcessLimit, Reason::Processes))
        }
    }

    /// For the report, whatever came of the run.
    pub(super) fn denials(self, limits: &Limits) -> Vec<Denial> {
        let denial = |detail: String, errno: &str, count: u64, hint: &str| Denial {
            syscall: "limit".into(),
            detail,
            errno: errno.into(),
            count,
            hint: hint.into(),
        };
        let mut all = Vec::new();
        if self.processes > 0 {
            let detail = format!("more than {} processes and threads", limits.processes);
            all.push(denial(detail, "EAGAIN", self.processes, "`limits.processes` allows more"));
        }
        // How often a full file system refused is not counted anywhere; that it is full is known.
        if self.bytes {
            let detail = format!("more than {} in scratch space", limits.disk);
            all.push(denial(detail, "ENOSPC", 1, "`limits.disk` allows more"));
        }
        if self.inodes {
            let detail = format!("more than {} files in scratch space", limits.inodes);
            all.push(denial(detail, "ENOSPC", 1, "`limits.inodes` allows more"));
        }
        all
    }
}

#[cfg(test)]
impl Refusals {
    pub(super) const NONE: Refusals = Refusals { processes: 0, bytes: false, inodes: false };
    pub(super) const PROCESSES: Refusals = Refusals { processes: 3, ..Refusals::NONE };
    pub(super) const BYTES: Refusals = Refusals { bytes: true, ..Refusals::NONE };
    pub(super) const INODES: Refusals = Refusals { inodes: true, ..Refusals::NONE };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(blocks: (u64, u64), files: (u64, u64)) -> StatVfs {
        let mut scratch = rustix::fs::statvfs("/proc").unwrap();
        (scratch.f_blocks, scratch.f_bfree) = blocks;
        (scratch.f_files, scratch.f_ffree) = files;
        scratch
    }

    #[test]
    fn scratch_space_is_full_when_nothing_is_free() {
        let seen = |blocks, files| Refusals::of_scratch(Some(&scratch(blocks, files)));
        assert_eq!(seen((10, 1), (10, 1)), Refusals::NONE);
        assert_eq!(seen((10, 0), (10, 1)), Refusals::BYTES);
        assert_eq!(seen((10, 1), (10, 0)), Refusals::INODES);
        assert_eq!(seen((0, 0), (0, 0)), Refusals::NONE, "no limit");
        assert_eq!(Refusals::of_scratch(None), Refusals::NONE);
    }

    #[test]
    fn what_is_so_at_the_end_goes_before_what_happened_some_time() {
        assert_eq!(Refusals::NONE.verdict(), None);
        assert_eq!(Refusals::PROCESSES.verdict(), Some((Verdict::ProcessLimit, Reason::Processes)));
        let all = Refusals { processes: 1, bytes: true, inodes: true };
        assert_eq!(all.verdict(), Some((Verdict::DiskLimit, Reason::DiskBytes)));
        let two = Refusals { processes: 1, ..Refusals::INODES };
        assert_eq!(two.verdict(), Some((Verdict::DiskLimit, Reason::DiskInodes)));
    }

    #[test]
    fn every_refusal_is_a_denial_with_its_count() {
        let limits = crate::policy::preset("python").unwrap().limits;
        let all = Refusals { processes: 7, bytes: true, inodes: true }.denials(&limits);
        let seen: Vec<_> = all.iter().map(|denial| (denial.errno.as_str(), denial.count)).collect();
        assert_eq!(seen, [("EAGAIN", 7), ("ENOSPC", 1), ("ENOSPC", 1)]);
        assert_eq!(Refusals::NONE.denials(&limits), []);
    }
}
