//! What a sandbox may consume, and what it did: cgroups where there are any, sampling where there are none.
//!
//! [`CgroupHost`](cgroup::CgroupHost) finds the cgroups that this process may use and makes one
//! [`Cgroup`](cgroup::Cgroup) a sandbox: limits that the kernel enforces, counters that it keeps.
//! [`Watcher`](watched::Watcher) is for an ordinary user without a delegated cgroup: it looks now and then,
//! and what it finds is called watched, never enforced.

pub mod cgroup;
mod error;
mod slurp;
mod stat;
pub mod watched;

pub use error::CgroupError;
