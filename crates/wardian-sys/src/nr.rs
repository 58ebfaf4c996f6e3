//! The numbers of the system calls made here.
#![allow(missing_docs, reason = "each is its call's name")]

#[cfg(target_arch = "x86_64")]
mod table {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const MPROTECT: usize = 10;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const PREAD64: usize = 17;
    pub const SCHED_YIELD: usize = 24;
    pub const MADVISE: usize = 28;
    pub const GETPID: usize = 39;
    pub const SENDFILE: usize = 40;
    pub const SOCKET: usize = 41;
    pub const SENDMSG: usize = 46;
    pub const RECVMSG: usize = 47;
    pub const CLONE: usize = 56;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const CHDIR: usize = 80;
    pub const FCHDIR: usize = 81;
    pub const UMASK: usize = 95;
    pub const GETPPID: usize = 110;
    pub const SETSID: usize = 112;
    pub const SETGROUPS: usize = 116;
    pub const SETRESUID: usize = 117;
    pub const SETRESGID: usize = 119;
    pub const CAPSET: usize = 126;
    pub const SETPRIORITY: usize = 141;
    pub const PIVOT_ROOT: usize = 155;
    pub const PRCTL: usize = 157;
    pub const UMOUNT2: usize = 166;
    pub const SETHOSTNAME: usize = 170;
    pub const FUTEX: usize = 202;
    pub const SCHED_SETAFFINITY: usize = 203;
    pub const SCHED_GETAFFINITY: usize = 204;
    pub const EXIT_GROUP: usize = 231;
    pub const WAITID: usize = 247;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const MKNODAT: usize = 259;
    pub const FCHOWNAT: usize = 260;
    pub const SYMLINKAT: usize = 266;
    pub const PPOLL: usize = 271;
    pub const UNSHARE: usize = 272;
    pub const SIGNALFD4: usize = 289;
    pub const DUP3: usize = 292;
    pub const PRLIMIT64: usize = 302;
    pub const SETNS: usize = 308;
    pub const KCMP: usize = 312;
    pub const GETCPU: usize = 309;
    pub const SCHED_SETATTR: usize = 314;
    pub const SCHED_GETATTR: usize = 315;
    pub const SECCOMP: usize = 317;
    pub const EXECVEAT: usize = 322;
}

#[cfg(target_arch = "aarch64")]
mod table {
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const MKNODAT: usize = 33;
    pub const MKDIRAT: usize = 34;
    pub const SYMLINKAT: usize = 36;
    pub const UMOUNT2: usize = 39;
    pub const PIVOT_ROOT: usize = 41;
    pub const CHDIR: usize = 49;
    pub const FCHDIR: usize = 50;
    pub const FCHOWNAT: usize = 54;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const LSEEK: usize = 62;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PREAD64: usize = 67;
    pub const SENDFILE: usize = 71;
    pub const PPOLL: usize = 73;
    pub const SIGNALFD4: usize = 74;
    pub const CAPSET: usize = 91;
    pub const EXIT_GROUP: usize = 94;
    pub const WAITID: usize = 95;
    pub const UNSHARE: usize = 97;
    pub const FUTEX: usize = 98;
    pub const SCHED_SETAFFINITY: usize = 122;
    pub const SCHED_GETAFFINITY: usize = 123;
    pub const SCHED_YIELD: usize = 124;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const SETPRIORITY: usize = 140;
    pub const SETRESUID: usize = 147;
    pub const SETRESGID: usize = 149;
    pub const SETSID: usize = 157;
    pub const SETGROUPS: usize = 159;
    pub const SETHOSTNAME: usize = 161;
    pub const UMASK: usize = 166;
    pub const PRCTL: usize = 167;
    pub const GETCPU: usize = 168;
    pub const GETPID: usize = 172;
    pub const GETPPID: usize = 173;
    pub const SOCKET: usize = 198;
    pub const SENDMSG: usize = 211;
    pub const RECVMSG: usize = 212;
    pub const CLONE: usize = 220;
    pub const MMAP: usize = 222;
    pub const MPROTECT: usize = 226;
    pub const MADVISE: usize = 233;
    pub const KCMP: usize = 272;
    pub const WAIT4: usize = 260;
    pub const PRLIMIT64: usize = 261;
    pub const SETNS: usize = 268;
    pub const SCHED_SETATTR: usize = 274;
    pub const SCHED_GETATTR: usize = 275;
    pub const SECCOMP: usize = 277;
    pub const EXECVEAT: usize = 281;
}

pub use table::*;

// From here on the numbers are the same on every architecture.
pub const OPEN_TREE: usize = 428;
pub const MOVE_MOUNT: usize = 429;
pub const FSOPEN: usize = 430;
pub const FSCONFIG: usize = 431;
pub const FSMOUNT: usize = 432;
pub const FSPICK: usize = 433;
pub const PIDFD_OPEN: usize = 434;
pub const CLONE3: usize = 435;
pub const CLOSE_RANGE: usize = 436;
pub const MOUNT_SETATTR: usize = 442;
pub const LANDLOCK_CREATE_RULESET: usize = 444;
pub const LANDLOCK_ADD_RULE: usize = 445;
pub const LANDLOCK_RESTRICT_SELF: usize = 446;

#[cfg(all(test, feature = "std"))]
mod tests {
    /// Ours are written out because `wardian-init` has no libc; libc's are the reference.
    #[test]
    fn the_numbers_are_those_of_libc() {
        macro_rules! same {
            ($($ours:ident $libc:ident),* $(,)?) => {$(
                assert_eq!(super::$ours, usize::try_from(libc::$libc).unwrap(), stringify!($ours));
            )*};
        }
        same!(
            READ SYS_read, WRITE SYS_write, CLOSE SYS_close, LSEEK SYS_lseek, MMAP SYS_mmap, MPROTECT SYS_mprotect, MADVISE SYS_madvise, KCMP SYS_kcmp, RT_SIGACTION SYS_rt_sigaction,
            RT_SIGPROCMASK SYS_rt_sigprocmask, IOCTL SYS_ioctl, GETPID SYS_getpid, GETPPID SYS_getppid, PREAD64 SYS_pread64, SENDFILE SYS_sendfile,
            SOCKET SYS_socket, SENDMSG SYS_sendmsg, RECVMSG SYS_recvmsg, WAIT4 SYS_wait4, WAITID SYS_waitid, FUTEX SYS_futex, KILL SYS_kill, FCNTL SYS_fcntl,
            FCHDIR SYS_fchdir, CHDIR SYS_chdir, UMASK SYS_umask, SETSID SYS_setsid, SETGROUPS SYS_setgroups,
            SETRESUID SYS_setresuid, SETRESGID SYS_setresgid, CAPSET SYS_capset, SETPRIORITY SYS_setpriority,
            PRCTL SYS_prctl, PIVOT_ROOT SYS_pivot_root, UMOUNT2 SYS_umount2, SETHOSTNAME SYS_sethostname,
            SCHED_SETAFFINITY SYS_sched_setaffinity, SCHED_GETAFFINITY SYS_sched_getaffinity, GETCPU SYS_getcpu,
            SCHED_SETATTR SYS_sched_setattr, SCHED_GETATTR SYS_sched_getattr, EXIT_GROUP SYS_exit_group, OPENAT SYS_openat,
            MKDIRAT SYS_mkdirat, MKNODAT SYS_mknodat, FCHOWNAT SYS_fchownat, SYMLINKAT SYS_symlinkat,
            PPOLL SYS_ppoll, UNSHARE SYS_unshare, SIGNALFD4 SYS_signalfd4,
            DUP3 SYS_dup3, PRLIMIT64 SYS_prlimit64, SETNS SYS_setns, SECCOMP SYS_seccomp,
            EXECVEAT SYS_execveat, OPEN_TREE SYS_open_tree, MOVE_MOUNT SYS_move_mount, FSOPEN SYS_fsopen,
            FSCONFIG SYS_fsconfig, FSMOUNT SYS_fsmount, FSPICK SYS_fspick, PIDFD_OPEN SYS_pidfd_open, CLONE SYS_clone, CLONE3 SYS_clone3,
            CLOSE_RANGE SYS_close_range,
            MOUNT_SETATTR SYS_mount_setattr, LANDLOCK_CREATE_RULESET SYS_landlock_create_ruleset,
            LANDLOCK_ADD_RULE SYS_landlock_add_rule, LANDLOCK_RESTRICT_SELF SYS_landlock_restrict_self,
        );
    }
}
