//! Init and supervisor on different cores, where both have something to do.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Moves init to another core than ours, if there is any: the kernel may well have two processes take turns on one while
/// another is idle. Whatever cannot be done leaves everything as it is.
pub(super) fn send_away(init: i32) {
    let Some((init, allowed)) = leave_ours(init) else { return };
    if sched_setaffinity(init, &allowed).is_err() {
        // What is allowed has changed meanwhile; of all cores the kernel takes those that are.
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
        let _ = sched_setaffinity(init, &all);
    }
}

/// As [`send_away`], for the rest of its life, in which it has little to do; at its end, where it is now, it would keep us
/// waiting.
pub(super) fn keep_away(init: i32) {
    let _ = leave_ours(init);
}

/// Takes our core from those that init may run on, which are answered as they were.
fn leave_ours(init: i32) -> Option<(Option<Pid>, CpuSet)> {
    let init = Pid::from_raw(init);
    let allowed = sched_getaffinity(init).ok()?;
    let mut others = allowed;
    others.unset(sched_getcpu());
    (others.count() > 0 && sched_setaffinity(init, &others).is_ok()).then_some((init, allowed))
}
