//! safeexec's options as a policy.

use super::options::{Options, Uid};
use crate::policy::{
    self, Bytes, Duration, ExecMode, Mount, MountKind, Network, OnOom, Policy, PolicyError, RootKind, Scratch,
};

/// Expresses the options as a policy. `pid` is the supervisor's process id, which `--uidplus` is added to.
///
/// Three things are stricter than the original. Without `--chroot_dir` the program finds its interpreter and
/// libraries, not the host's whole file system; without `--env_vars` it gets wardian's variables, not the
/// caller's; and `--mem` bounds all its processes together, by what they use instead of what they reserve.
///
/// # Errors
/// A policy that is refused as a whole, such as one with fewer than 16 open files.
pub fn to_policy(options: &Options, pid: u32) -> Result<Policy, PolicyError> {
    let mut policy = policy::preset("python")?;
    "safeexec".clone_into(&mut policy.name);
    "Made from safeexec's options".clone_into(&mut policy.description);
    policy.network = Network::None;
    policy.exec = ExecMode::Any;
    let limits = &mut policy.limits;
    limits.cpu_time = Duration::from_secs(options.cpu_s);
    limits.wall = Duration::from_secs(options.clock_s);
    limits.memory = Bytes(options.mem_kib << 10);
    limits.stack = Bytes(options.stack_kib << 10);
    limits.file_size = Some(Bytes(options.fsize_kib << 10));
    limits.disk = limits.disk.min(limits.memory);
    limits.processes = options.nproc + 1;
    limits.open_files = options.nfile;
    limits.on_oom = OnOom::End;
    policy.scheduling.nice = Some(options.niceness);
    policy.identity.gid = options.gid;
    policy.identity.uid = match options.uid {
        Uid::Fixed(uid) => uid,
        Uid::PlusPid(base) => base.saturating_add(pid),
    };
    // Nothing can be written to any file then.
    if options.fsize_kib == 0 {
        policy.files.scratch = Scratch::None;
        policy.limits.disk = Bytes(0);
        policy.limits.inodes = 0;
    }
    if let Some(variables) = &options.env_vars {
        policy.environment.defaults = false;
        policy.environment.set = variables.iter().cloned().collect();
    }
    if let Some(root) = &options.chroot_dir {
        policy.files.root = RootKind::Empty;
        policy.files.mounts = vec![Mount {
            dst: "/".into(),
            kind: MountKind::Bind,
            src: Some(root.clone()),
            writable: false,
            exec: true,
            size: None,
            content: None,
            optional: false,
            as_owner: None,
        }];
    }
    policy::check(&policy, "safeexec's options")?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn policy(words: &str) -> Result<Policy, PolicyError> {
        to_policy(&parse(words.split_whitespace().map(Into::into)).unwrap(), 77)
    }

    #[test]
    fn the_seeds_options_become_their_policy() {
        let policy = policy("--cpu 6 --clock 4 --mem 250000 --uid 99 --exec x").unwrap();
        assert_eq!(
            (policy.limits.cpu_time, policy.limits.wall),
            (Duration::from_secs(6), Duration::from_secs(4))
        );
        assert_eq!((policy.limits.memory, policy.limits.processes), (Bytes(256_000_000), 1));
        assert_eq!((policy.identity.uid, policy.identity.gid), (99, 1000));
        assert_eq!((policy.files.scratch, policy.scheduling.nice), (Scratch::None, Some(16)));
        assert!(policy.environment.defaults);
    }

    #[test]
    fn the_other_options_are_taken_over() {
        let policy =
            policy("--nproc 3 --fsize 5 --stack 1024 --env_vars PY --uidplus 10 --chroot_dir /r --exec x")
                .unwrap();
        assert_eq!((policy.limits.processes, policy.limits.file_size), (4, Some(Bytes(5120))));
        assert_eq!((policy.limits.stack, policy.limits.disk), (Bytes(1 << 20), Bytes(32 << 20)));
        assert_eq!((policy.identity.uid, policy.files.mounts[0].src.as_deref()), (87, Some("/r")));
        assert_eq!(policy.environment.set["PYTHONIOENCODING"], "utf-8");
    }
}
