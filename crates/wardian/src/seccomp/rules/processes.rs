//! What begins a process or a program.

use super::granted;
use crate::seccomp::names::{AT_EMPTY_PATH, CLONE_PARENT, CLONE_THREAD};
use crate::seccomp::ruling::{Decision, Reason, Ruling, Test, arg};
use crate::seccomp::{Exec, Processes, Profile};
use Decision::{Allow, Kill, Refuse};

pub(in crate::seccomp) fn execve(profile: &Profile) -> Ruling {
    granted(profile.exec == Exec::Any, Reason::Exec)
}

/// The path's address is a secret, see the module; what only lacks the secret is an attempt to guess it.
pub(in crate::seccomp) fn execveat(profile: &Profile) -> Ruling {
    match profile.exec {
        Exec::Any => Allow.into(),
        Exec::Never => Refuse(Reason::Exec).into(),
        Exec::Once { fd, path } => {
            let call = [arg(0).is(fd), arg(4).is(AT_EMPTY_PATH)];
            let with_secret: Vec<Test> = call.iter().cloned().chain(Test::whole(1, path)).collect();
            Ruling::when(with_secret, Allow).or_when(call, Kill).otherwise(Refuse(Reason::Exec))
        }
    }
}

/// fork(2) and vfork(2).
pub(in crate::seccomp) fn fork(profile: &Profile) -> Ruling {
    granted(profile.processes == Processes::Any, Reason::Processes)
}

/// The flags are the first argument on both architectures. `CLONE_PARENT` would put a child beside the guest's
/// first process, among init's own.
pub(in crate::seccomp) fn clone(profile: &Profile) -> Ruling {
    const NAMESPACES: u32 = 0x7e02_0000;
    let contained = arg(0).has_none(NAMESPACES | CLONE_PARENT);
    let ruling = match profile.processes {
        Processes::Any => Ruling::when([contained], Allow),
        Processes::ThreadsOnly => Ruling::when([contained, arg(0).has_any(CLONE_THREAD)], Allow),
        Processes::Single => return Refuse(Reason::Processes).into(),
    };
    ruling
        .or_when([arg(0).has_any(NAMESPACES)], Refuse(Reason::Namespaces))
        .otherwise(Refuse(Reason::Processes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::rules::tests::{HIGH, decide};
    use crate::seccomp::tests::python;

    #[test]
    fn a_program_executed_once_needs_descriptor_flag_and_secret() {
        let secret = 0x1234_5678_9abc;
        let once = Profile { exec: Exec::Once { fd: 900, path: secret }, ..python() };
        assert_eq!(decide(&once, "execveat", &[900, secret, 0, 0, 0x1000]), Allow);
        assert_eq!(decide(&once, "execveat", &[900 | HIGH, secret, 0, 0, 0x1000 | HIGH]), Allow);
        // An absolute path elsewhere in memory: the descriptor would be ignored.
        assert_eq!(decide(&once, "execveat", &[900, secret + 1, 0, 0, 0x1000]), Kill);
        assert_eq!(decide(&once, "execveat", &[900, secret | HIGH, 0, 0, 0x1000]), Kill);
        assert_eq!(decide(&once, "execveat", &[901, secret, 0, 0, 0x1000]), Refuse(Reason::Exec));
        assert_eq!(decide(&once, "execveat", &[900, secret, 0, 0, 0]), Refuse(Reason::Exec));
        assert_eq!(decide(&once, "execve", &[secret]), Refuse(Reason::Exec));
        let never = Profile { exec: Exec::Never, ..python() };
        assert_eq!(decide(&never, "execveat", &[900, secret, 0, 0, 0x1000]), Refuse(Reason::Exec));
        assert_eq!(decide(&python(), "execve", &[secret]), Allow);
    }

    #[test]
    fn no_process_comes_in_a_new_namespace() {
        const THREAD: u64 = 0x003d_0f00;
        const SIGCHLD: u64 = 17;
        let threads = Profile { processes: Processes::ThreadsOnly, ..python() };
        let single = Profile { processes: Processes::Single, ..python() };
        for flags in [THREAD, SIGCHLD, 0x4100 | SIGCHLD] {
            assert_eq!(decide(&python(), "clone", &[flags | HIGH]), Allow);
            assert_eq!(decide(&single, "clone", &[flags]), Refuse(Reason::Processes));
        }
        assert_eq!(decide(&threads, "clone", &[THREAD]), Allow);
        assert_eq!(decide(&threads, "clone", &[SIGCHLD]), Refuse(Reason::Processes));
        assert_eq!(decide(&threads, "fork", &[]), Refuse(Reason::Processes));
        for bit in [17, 25, 26, 27, 28, 29, 30] {
            for profile in [python(), threads.clone()] {
                let decision = decide(&profile, "clone", &[THREAD | 1 << bit]);
                assert_eq!(decision, Refuse(Reason::Namespaces), "bit {bit}");
            }
        }
        assert_eq!(decide(&python(), "clone", &[0x8000 | SIGCHLD]), Refuse(Reason::Processes));
    }
}
