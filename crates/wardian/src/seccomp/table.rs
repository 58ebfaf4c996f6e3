//! The policy: every system call of every architecture in exactly one group, with the group's reason.

use super::rules::{self, Rule};
use super::ruling::{Decision, Reason, Ruling};
use super::{Arch, Profile, surroundings};

/// What a group of calls is subject to.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// Allowed, whatever the arguments.
    Allow,
    /// Known, and refused.
    Refuse(Reason),
    /// Answered as by a kernel without it, and not reported.
    Absent,
    /// Answered with success, and not executed.
    Pretend,
    /// It depends.
    By(Rule),
}

use Class::{Absent, Allow, By, Pretend, Refuse};

/// A class, and the calls in it.
pub(super) type Group = (Class, &'static [&'static str]);

#[rustfmt::skip]
pub(super) const GROUPS: &[Group] = &[
    // Descriptors a guest holds: what they lead to was decided when they were opened.
    (Allow, &["read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek", "close",
              "close_range", "dup", "dup2", "dup3", "pipe", "pipe2", "tee", "copy_file_range", "flock", "fsync",
              "fdatasync", "sync_file_range", "readahead", "fallocate", "ftruncate"]),
    (By(rules::with_flags), &["preadv2", "pwritev2"]),
    (By(rules::splice), &["splice", "sendfile"]),
    (By(rules::fadvise64), &["fadvise64"]),
    // Files by path: the mount namespace decides what is there, and Landlock again.
    (Allow, &["stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
              "faccessat2", "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir",
              "rename", "renameat", "rmdir", "unlink", "unlinkat", "link", "linkat", "symlink",
              "symlinkat", "truncate", "umask"]),
    // Without capabilities the kernel lets nobody give files away.
    (By(surroundings::metadata), &["chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat",
                            "futimesat"]),
    // shutil.copystat copies these. Scratch space counts them against its inodes, but not access control lists.
    (By(surroundings::set_attribute), &["setxattr", "lsetxattr", "fsetxattr"]),
    // The size is in memory.
    (Absent, &["setxattrat"]),
    (By(surroundings::metadata), &["removexattr", "lremovexattr", "fremovexattr", "removexattrat"]),
    (By(surroundings::attributes), &["getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
                                     "flistxattr", "getxattrat", "listxattrat"]),
    (By(rules::renameat2), &["renameat2"]),
    (By(rules::open), &["open"]),
    (By(rules::openat), &["openat"]),
    (By(rules::mode_second), &["creat", "mkdir"]),
    (By(rules::mode_third), &["mkdirat"]),
    (By(surroundings::chmod), &["chmod", "fchmod"]),
    (By(surroundings::fchmodat), &["fchmodat", "fchmodat2"]),
    (By(rules::mknod), &["mknod"]),
    (By(rules::mknodat), &["mknodat"]),
    (By(rules::fcntl), &["fcntl"]),
    (By(rules::ioctl), &["ioctl"]),
    // The whole machine's disks would be written back; a guest's own files are in memory.
    (Pretend, &["sync", "syncfs"]),
    // Waiting for descriptors.
    (Allow, &["poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl",
              "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4",
              "timerfd_create", "timerfd_settime", "timerfd_gettime"]),
    // The number of inotify instances is counted against whoever made the user namespace: a guest could leave
    // the host's own services without.
    (Refuse(Reason::Watches), &["inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
                                "fanotify_init", "fanotify_mark"]),

    // A process's own memory.
    (By(rules::mmap), &["mmap"]),
    (By(rules::madvise), &["madvise"]),
    (Allow, &["munmap", "mremap", "mprotect", "brk", "msync", "mincore", "mlock", "mlock2",
              "mlockall", "munlock", "munlockall", "mseal", "pkey_alloc", "pkey_free", "pkey_mprotect",
              "remap_file_pages"]),
    (By(rules::memfd_create), &["memfd_create"]),
    (Refuse(Reason::HiddenMemory), &["memfd_secret", "vmsplice"]),
    // As a kernel without NUMA answers: libnuma, hwloc and OpenBLAS then take the plain path. That also keeps a
    // guest's pages where its cpuset has them.
    (Absent, &["mbind", "set_mempolicy", "get_mempolicy", "set_mempolicy_home_node", "migrate_pages",
               "move_pages"]),
    // Tried by libraries that do without.
    (Absent, &["map_shadow_stack", "cachestat"]),

    // Processes and threads.
    (By(rules::fork), &["fork", "vfork"]),
    (By(rules::clone), &["clone"]),
    // Its flags are in memory. The C libraries fall back to clone.
    (Absent, &["clone3"]),
    (By(rules::execve), &["execve"]),
    (By(rules::execveat), &["execveat"]),
    (Allow, &["exit", "exit_group", "wait4", "waitid", "getpid", "getppid", "gettid", "getpgid", "setpgid",
              "getpgrp", "getsid", "setsid", "set_tid_address", "set_robust_list", "get_robust_list", "futex",
              "futex_waitv", "futex_wake", "futex_wait", "futex_requeue", "rseq", "membarrier", "getcpu",
              "restart_syscall"]),
    // Signals and pidfds reach no further than the pid namespace, or Landlock's scope.
    (Allow, &["kill", "tkill", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigqueueinfo",
              "rt_tgsigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "pause",
              "pidfd_open", "pidfd_send_signal"]),
    (Refuse(Reason::Trace), &["ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
                              "process_mrelease", "pidfd_getfd", "kcmp"]),
    (By(rules::prctl), &["prctl"]),
    (By(rules::arch_prctl), &["arch_prctl"]),
    (By(rules::personality), &["personality"]),
    // A filter of the guest's own could answer before ours and hide a denial, and is a program in the kernel.
    (Refuse(Reason::Oversight), &["seccomp"]),
    // A process may confine itself further.
    (Allow, &["landlock_create_ruleset", "landlock_restrict_self"]),
    (By(rules::landlock_add_rule), &["landlock_add_rule"]),

    // Scheduling and limits: without capabilities they only get lower.
    (Allow, &["sched_yield", "sched_getparam", "sched_getscheduler",
              "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
              "sched_getaffinity", "sched_getattr", "getpriority", "ioprio_get",
              "getrlimit", "getrusage"]),
    (By(rules::setrlimit), &["setrlimit"]),
    (By(rules::prlimit64), &["prlimit64"]),
    (By(rules::of_a_process), &["sched_setparam"]),
    (By(rules::setpriority), &["setpriority"]),
    (By(rules::ioprio_set), &["ioprio_set"]),
    (By(rules::sched_setscheduler), &["sched_setscheduler"]),
    (By(rules::affinity), &["sched_setaffinity"]),
    // Its class is in memory.
    (Refuse(Reason::Scheduling), &["sched_setattr"]),

    // Time.
    (Allow, &["time", "times", "gettimeofday", "nanosleep", "alarm", "getitimer", "setitimer", "timer_settime",
              "timer_gettime", "timer_getoverrun", "timer_delete"]),
    (By(surroundings::clock), &["clock_gettime", "clock_getres", "clock_nanosleep", "timer_create"]),
    (Refuse(Reason::Clock), &["settimeofday", "clock_settime", "clock_adjtime", "adjtimex"]),

    // Who and where.
    (Allow, &["getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "capget",
              "uname", "sysinfo", "getrandom"]),
    (By(rules::one_id), &["setuid", "setgid", "setfsuid", "setfsgid"]),
    (By(rules::two_ids), &["setreuid", "setregid"]),
    (By(rules::three_ids), &["setresuid", "setresgid"]),
    (Refuse(Reason::Identity), &["setgroups", "capset"]),

    // Sockets: what matters is decided where one is made.
    (By(rules::socket), &["socket"]),
    (By(rules::socketpair), &["socketpair"]),
    (By(rules::setsockopt), &["setsockopt"]),
    (By(rules::name), &["bind", "connect"]),
    (Allow, &["listen", "accept", "accept4", "getsockname", "getpeername", "getsockopt", "shutdown", "sendto",
              "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"]),

    // IPC: where the namespace is the sandbox's own, what it holds is gone with it.
    (By(rules::shmget), &["shmget"]),
    (By(rules::queue), &["msgget", "mq_open", "semget"]),
    (By(surroundings::ipc), &["shmat", "shmctl", "shmdt", "msgsnd", "msgrcv", "msgctl", "semop", "semtimedop",
                       "semctl", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify",
                       "mq_getsetattr"]),

    // Namespaces, roots and mounts.
    (Refuse(Reason::Namespaces), &["unshare", "setns", "chroot", "pivot_root"]),
    (Refuse(Reason::Mounts), &["mount", "umount2", "open_tree", "open_tree_attr", "move_mount", "fsopen",
                               "fsconfig", "fsmount", "fspick", "mount_setattr"]),
    (Refuse(Reason::Handles), &["name_to_handle_at", "open_by_handle_at"]),
    // Its flags and mode are in memory.
    (Absent, &["openat2"]),
    // Questions about other mounts, namespaces and security modules; libraries try them.
    (Absent, &["statmount", "listmount", "listns", "lsm_get_self_attr", "lsm_set_self_attr",
               "lsm_list_modules", "file_getattr", "file_setattr"]),

    // The kernel's large and young interfaces: most of its holes of the last ten years.
    (Refuse(Reason::KernelPrograms), &["bpf", "perf_event_open", "userfaultfd", "io_uring_setup",
                                       "io_uring_enter", "io_uring_register"]),
    // The number of aio contexts is one for the whole machine: a guest could leave its databases without.
    (Refuse(Reason::KernelPrograms), &["io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents",
                                       "io_pgetevents"]),
    // Keyrings are not divided by namespaces.
    (Refuse(Reason::Keys), &["add_key", "request_key", "keyctl"]),
    (Refuse(Reason::Kernel), &["init_module", "finit_module", "delete_module", "kexec_load",
                               "kexec_file_load", "reboot"]),
    (Refuse(Reason::Machine), &["sethostname", "setdomainname", "swapon", "swapoff", "quotactl",
                                "quotactl_fd", "acct", "syslog", "vhangup"]),
    (Refuse(Reason::Hardware), &["iopl", "ioperm", "modify_ldt"]),

    // Gone from the kernel, never there on 64 bits, or (uretprobe, uprobe) only for the kernel's own trampolines.
    (Absent, &["_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old",
               "get_kernel_syms", "get_thread_area", "getpmsg", "lookup_dcookie", "nfsservctl", "putpmsg",
               "query_module", "security", "set_thread_area", "sysfs", "tuxcall", "uprobe", "uretprobe",
               "uselib", "ustat", "vserver"]),
];

/// The group of each call of an architecture, found while this program is compiled; so is a call without one.
const fn groups_of<const N: usize>(calls: &[(&str, u32)]) -> [usize; N] {
    let mut groups = [0; N];
    let mut at = 0;
    while at < N {
        groups[at] = match group_of(calls[at].0) {
            Some(group) => group,
            None => panic!("a system call is missing from the table"),
        };
        at += 1;
    }
    groups
}

const fn group_of(name: &str) -> Option<usize> {
    let mut group = 0;
    while group < GROUPS.len() {
        let names = GROUPS[group].1;
        let mut at = 0;
        while at < names.len() {
            if same(names[at], name) {
                return Some(group);
            }
            at += 1;
        }
        group += 1;
    }
    None
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

static X86_64: [usize; Arch::X86_64.calls().len()] = groups_of(Arch::X86_64.calls());
static AARCH64: [usize; Arch::Aarch64.calls().len()] = groups_of(Arch::Aarch64.calls());

/// What becomes of each system call of an architecture, in the order of their numbers.
pub(super) fn rulings(profile: &Profile, arch: Arch) -> impl Iterator<Item = (u32, Ruling)> {
    let groups: &[usize] = match arch {
        Arch::X86_64 => &X86_64,
        Arch::Aarch64 => &AARCH64,
    };
    arch.calls().iter().zip(groups).map(|(&(_, number), &group)| (number, GROUPS[group].0.ruling(profile)))
}

/// Whether the system call of this name is refused or not there, whatever the policy and the arguments; false for
/// a name that no call has.
pub(crate) fn is_never_allowed(name: &str) -> bool {
    let mut groups = GROUPS.iter().filter(|(_, names)| names.contains(&name));
    groups.next().is_some_and(|(class, _)| matches!(class, Refuse(_) | Absent)) && groups.next().is_none()
}

/// What becomes of the system call of this name.
pub(super) fn ruling_of(name: &str, profile: &Profile) -> Ruling {
    group_of(name).map_or(Absent, |group| GROUPS[group].0).ruling(profile)
}

impl Class {
    fn ruling(self, profile: &Profile) -> Ruling {
        match self {
            Allow => Decision::Allow.into(),
            Refuse(reason) => Decision::Refuse(reason).into(),
            Absent => Decision::ABSENT.into(),
            Pretend => Decision::Answer(0).into(),
            By(rule) => rule(profile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::tests::python;
    use std::collections::BTreeSet;

    fn known() -> BTreeSet<&'static str> {
        Arch::ALL.iter().flat_map(|arch| arch.calls()).map(|&(name, _)| name).collect()
    }

    #[test]
    fn every_call_is_in_exactly_one_group() {
        let mut seen = BTreeSet::new();
        for name in GROUPS.iter().flat_map(|group| group.1) {
            assert!(seen.insert(*name), "{name} is in the table twice");
        }
        assert_eq!(seen, known(), "the table and the architectures' lists differ");
    }

    #[test]
    fn whatever_the_policy_the_kernel_stays_out_of_reach() {
        let never = "acct add_key bpf capset chroot clock_adjtime clock_settime delete_module fanotify_init \
            finit_module fsconfig fsmount fsopen fspick init_module io_setup io_uring_enter io_uring_register \
            io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl memfd_secret modify_ldt mount \
            mount_setattr move_mount name_to_handle_at open_by_handle_at open_tree perf_event_open \
            pidfd_getfd pivot_root process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot \
            request_key seccomp setdomainname setgroups sethostname setns settimeofday swapoff swapon syslog \
            umount2 unshare userfaultfd";
        for name in never.split_whitespace() {
            assert!(known().contains(name), "{name} is no system call");
            let decision = ruling_of(name, &python()).decide(&[0; 6]);
            assert!(matches!(decision, Decision::Refuse(_)), "{name}: {decision:?}");
        }
        for name in ["clone3", "openat2", "map_shadow_stack", "set_mempolicy"] {
            assert_eq!(ruling_of(name, &python()).decide(&[0; 6]), Decision::ABSENT, "{name}");
        }
    }

    #[test]
    fn what_every_program_needs_is_allowed() {
        let needed = "read write close mmap munmap mprotect brk futex rt_sigaction exit_group clock_gettime \
            getrandom statx newfstatat rseq set_robust_list membarrier close_range epoll_create1 eventfd2 \
            signalfd4 timerfd_create pidfd_open pidfd_send_signal sched_getaffinity prlimit64 madvise mlock mseal";
        for name in needed.split_whitespace() {
            assert!(known().contains(name), "{name} is no system call");
            assert_eq!(ruling_of(name, &python()).decide(&[0; 6]), Decision::Allow, "{name}");
        }
    }
}
