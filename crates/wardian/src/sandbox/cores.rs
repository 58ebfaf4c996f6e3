//! Init and supervisor on different cores, where both have something to do.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Moves init to another core than ours, if there is any: the kernel may well have two processes take turns on one while
/// another is idle. Whatever cannot be done leaves everything as it is.
pub(super) fn send_away(init: i32) {
    let init = Pid::from_raw(init);
    let Ok(allowed) = sched_getaffinity(init) else { return };
    let mut others = allowed;
    others.unset(sched_getcpu());
    if others.count() > 0
        && sched_setaffinity(init, &others).is_ok()
        && sched_setaffinity(init, &allowed).is_err()
    {
        // What is allowed has changed meanwhile; of all cores the kernel takes those that are.
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
        let _ = sched_setaffinity(init, &all);
    }
}
