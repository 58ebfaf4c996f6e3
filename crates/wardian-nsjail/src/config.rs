//! The typed config: one struct per message, presence kept in `Option` and `Vec`.

use serde::Deserialize;

use crate::message::message;

/// How nsjail runs the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Listen on a TCP port, one jail per connection.
    Listen,
    /// Run the command once.
    Once,
    /// Run the command again and again.
    Rerun,
    /// Become the command, without a supervisor.
    Execve,
}

/// Which log lines are written: this level and above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens to each jail (nsjail's level when none is set).
    Info,
    /// What looks wrong.
    Warning,
    /// What failed.
    Error,
    /// What ended nsjail.
    Fatal,
}

/// Where a resource limit takes its value from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RLimit {
    /// The value of the field without `_type`.
    Value,
    /// The caller's soft limit.
    Soft,
    /// The caller's hard limit.
    Hard,
    /// No limit.
    Inf,
}

message! {
    /// One line of a uid or gid map.
    pub struct IdMap {
        /// Id or name inside; empty for the current one.
        inside_id: Option<String> = "" => &str;
        /// Id or name outside; empty for the current one.
        outside_id: Option<String> = "" => &str;
        /// Length of the range.
        count: Option<u32> = 1 => u32;
        /// Written by `/usr/bin/newuidmap` or `newgidmap`.
        use_newidmap: Option<bool> = false => bool;
    }
}

message! {
    /// One mount, or one file or link to create.
    pub struct MountPt {
        /// Source path.
        src: Option<String> = "" => &str;
        /// Environment variable whose value is put before `src`.
        prefix_src_env: Option<String> = "" => &str;
        /// Content of a file to create at `dst`.
        #[serde(deserialize_with = "crate::message::base64_bytes")]
        src_content: Option<Vec<u8>>;
        /// Target inside the jail.
        dst: Option<String> = "" => &str;
        /// Environment variable whose value is put before `dst`.
        prefix_dst_env: Option<String> = "" => &str;
        /// File system type such as `proc` or `tmpfs`; empty for bind mounts.
        fstype: Option<String> = "" => &str;
        /// Mount data, such as `size=4194304`.
        options: Option<String> = "" => &str;
        /// A recursive bind mount.
        is_bind: Option<bool> = false => bool;
        /// Writable.
        rw: Option<bool> = false => bool;
        /// Whether the target is a directory; guessed if unset.
        is_dir: Option<bool>;
        /// Fail if it cannot be mounted.
        mandatory: Option<bool> = true => bool;
        /// A symbolic link at `dst` that says `src`.
        is_symlink: Option<bool> = false => bool;
        /// Set-user-id bits have no effect.
        nosuid: Option<bool> = false => bool;
        /// Device files have no effect.
        nodev: Option<bool> = false => bool;
        /// Nothing on it can be executed.
        noexec: Option<bool> = false => bool;
    }
}

message! {
    /// The program to run.
    pub struct Exe {
        /// The path executed, and the default of the first argument.
        path: Option<String> = "" => &str;
        /// The arguments after the first.
        arg: Vec<String>;
        /// The first argument, if not `path`.
        arg0: Option<String>;
        /// Opened outside and executed by its descriptor, so that it need not exist inside.
        exec_fd: Option<bool> = false => bool;
    }
}

message! {
    /// nsjail's whole config file.
    pub struct NsjailConfig {
        /// Free-text name.
        name: Option<String> = "" => &str;
        /// Free text.
        description: Vec<String>;
        /// How to run the command.
        mode: Option<Mode> = Mode::Once => Mode;
        /// Host name inside.
        hostname: Option<String> = "NSJAIL" => &str;
        /// Working directory inside.
        cwd: Option<String> = "/" => &str;
        /// `MS_MOVE` and chroot instead of pivot_root.
        no_pivotroot: Option<bool> = false => bool;
        /// TCP port of mode LISTEN.
        port: Option<u32> = 0 => u32;
        /// Address of mode LISTEN, in IPv6 form.
        bindhost: Option<String> = "::" => &str;
        /// Connections at once in mode LISTEN, 0 for any number.
        max_conns: Option<u32> = 0 => u32;
        /// Connections per address in mode LISTEN, 0 for any number.
        max_conns_per_ip: Option<u32> = 0 => u32;
        /// Seconds on the clock until SIGKILL, 0 for none.
        time_limit: Option<u32> = 600 => u32;
        /// Go to the background.
        daemon: Option<bool> = false => bool;
        /// CPUs it is bound to, 0 for all.
        max_cpus: Option<u32> = 0 => u32;
        /// Nice value.
        nice_level: Option<i32> = 19 => i32;
        /// Descriptor for the log.
        log_fd: Option<i32>;
        /// File for the log, appended to.
        log_file: Option<String>;
        /// Lowest level that is logged.
        log_level: Option<LogLevel>;
        /// Keep the caller's environment.
        keep_env: Option<bool> = false => bool;
        /// `NAME=VALUE`, or `NAME` to take over the caller's value.
        envar: Vec<String>;
        /// Keep all capabilities.
        keep_caps: Option<bool> = false => bool;
        /// A capability to keep, such as `CAP_NET_RAW`.
        cap: Vec<String>;
        /// Standard input, output and error are `/dev/null`.
        silent: Option<bool> = false => bool;
        /// Stay in the caller's session, with its terminal.
        skip_setsid: Option<bool> = false => bool;
        /// Standard error is `/dev/null`.
        stderr_to_null: Option<bool> = false => bool;
        /// A descriptor left open beside 0, 1 and 2.
        pass_fd: Vec<i32>;
        /// Do not set `no_new_privs`.
        disable_no_new_privs: Option<bool> = false => bool;
        /// Forward fatal signals to the child instead of SIGKILL.
        forward_signals: Option<bool> = false => bool;
        /// Reading the time stamp counter raises SIGSEGV (x86).
        disable_tsc: Option<bool> = false => bool;
        /// `oom_score_adj`, -1000 to 1000.
        oom_score_adj: Option<i32>;
        /// `RLIMIT_AS`, MiB; used when type=VALUE.
        rlimit_as: Option<u64> = 4096 => u64;
        /// Where the limit above comes from.
        rlimit_as_type: Option<RLimit> = RLimit::Value => RLimit;
        /// `RLIMIT_CORE`, MiB; used when type=VALUE.
        rlimit_core: Option<u64> = 0 => u64;
        /// Where the limit above comes from.
        rlimit_core_type: Option<RLimit> = RLimit::Value => RLimit;
        /// `RLIMIT_CPU`, seconds; used when type=VALUE.
        rlimit_cpu: Option<u64> = 600 => u64;
        /// Where the limit above comes from.
        rlimit_cpu_type: Option<RLimit> = RLimit::Value => RLimit;
        /// `RLIMIT_FSIZE`, MiB; used when type=VALUE.
        rlimit_fsize: Option<u64> = 1 => u64;
        /// Where the limit above comes from.
        rlimit_fsize_type: Option<RLimit> = RLimit::Value => RLimit;
        /// `RLIMIT_NOFILE`, count; used when type=VALUE.
        rlimit_nofile: Option<u64> = 32 => u64;
        /// Where the limit above comes from.
        rlimit_nofile_type: Option<RLimit> = RLimit::Value => RLimit;
        /// `RLIMIT_NPROC`, count (per real uid, host-wide); used when type=VALUE.
        rlimit_nproc: Option<u64> = 1024 => u64;
        /// Where the limit above comes from.
        rlimit_nproc_type: Option<RLimit> = RLimit::Soft => RLimit;
        /// `RLIMIT_STACK`, MiB; used when type=VALUE.
        rlimit_stack: Option<u64> = 8 => u64;
        /// Where the limit above comes from.
        rlimit_stack_type: Option<RLimit> = RLimit::Soft => RLimit;
        /// `RLIMIT_MEMLOCK`, KiB; used when type=VALUE.
        rlimit_memlock: Option<u64> = 64 => u64;
        /// Where the limit above comes from.
        rlimit_memlock_type: Option<RLimit> = RLimit::Soft => RLimit;
        /// `RLIMIT_RTPRIO`; used when type=VALUE.
        rlimit_rtprio: Option<u64> = 0 => u64;
        /// Where the limit above comes from.
        rlimit_rtprio_type: Option<RLimit> = RLimit::Soft => RLimit;
        /// `RLIMIT_MSGQUEUE`, bytes; used when type=VALUE.
        rlimit_msgqueue: Option<u64> = 1024 => u64;
        /// Where the limit above comes from.
        rlimit_msgqueue_type: Option<RLimit> = RLimit::Soft => RLimit;
        /// Leave all resource limits as they are.
        disable_rl: Option<bool> = false => bool;
        /// personality(2) flag `ADDR_COMPAT_LAYOUT`.
        persona_addr_compat_layout: Option<bool> = false => bool;
        /// personality(2) flag `MMAP_PAGE_ZERO`.
        persona_mmap_page_zero: Option<bool> = false => bool;
        /// personality(2) flag `READ_IMPLIES_EXEC`.
        persona_read_implies_exec: Option<bool> = false => bool;
        /// personality(2) flag `ADDR_LIMIT_3GB`.
        persona_addr_limit_3gb: Option<bool> = false => bool;
        /// personality(2) flag `ADDR_NO_RANDOMIZE`.
        persona_addr_no_randomize: Option<bool> = false => bool;
        /// New network namespace.
        clone_newnet: Option<bool> = true => bool;
        /// New user namespace.
        clone_newuser: Option<bool> = true => bool;
        /// New mount namespace.
        clone_newns: Option<bool> = true => bool;
        /// New pid namespace.
        clone_newpid: Option<bool> = true => bool;
        /// New ipc namespace.
        clone_newipc: Option<bool> = true => bool;
        /// New uts namespace.
        clone_newuts: Option<bool> = true => bool;
        /// New cgroup namespace.
        clone_newcgroup: Option<bool> = true => bool;
        /// New time namespace; nsjail makes one in mode EXECVE only.
        clone_newtime: Option<bool> = false => bool;
        /// Uid map; empty for the current uid alone.
        uidmap: Vec<IdMap>;
        /// Gid map; empty for the current gid alone.
        gidmap: Vec<IdMap>;
        /// Mount `/proc` read-only.
        mount_proc: Option<bool> = false => bool;
        /// Mounts, in order.
        mount: Vec<MountPt>;
        /// Kafel policy file.
        seccomp_policy_file: Option<String>;
        /// Kafel policy text, line by line.
        seccomp_string: Vec<String>;
        /// Log what seccomp refuses.
        seccomp_log: Option<bool> = false => bool;
        /// Trace files and sockets by seccomp user notification.
        seccomp_unotify: Option<bool> = false => bool;
        /// File for the report of that trace.
        seccomp_unotify_report: Option<String>;
        /// Core scheduling of its own.
        use_core_scheduling: Option<bool> = false => bool;
        /// Bytes of memory, 0 for no limit.
        cgroup_mem_max: Option<u64> = 0 => u64;
        /// Bytes of memory and swap together, 0 for no limit.
        cgroup_mem_memsw_max: Option<u64> = 0 => u64;
        /// Bytes of swap, -1 for no limit.
        cgroup_mem_swap_max: Option<i64> = -1 => i64;
        /// Where the v1 memory controller is mounted.
        cgroup_mem_mount: Option<String> = "/sys/fs/cgroup/memory" => &str;
        /// Parent group under that mount.
        cgroup_mem_parent: Option<String> = "NSJAIL" => &str;
        /// Tasks, 0 for no limit.
        cgroup_pids_max: Option<u64> = 0 => u64;
        /// Where the v1 pids controller is mounted.
        cgroup_pids_mount: Option<String> = "/sys/fs/cgroup/pids" => &str;
        /// Parent group under that mount.
        cgroup_pids_parent: Option<String> = "NSJAIL" => &str;
        /// Class of its packets, 0 for none.
        cgroup_net_cls_classid: Option<u32> = 0 => u32;
        /// Where that v1 controller is mounted.
        cgroup_net_cls_mount: Option<String> = "/sys/fs/cgroup/net_cls" => &str;
        /// Parent group under that mount.
        cgroup_net_cls_parent: Option<String> = "NSJAIL" => &str;
        /// CPU milliseconds per second, 0 for no limit.
        cgroup_cpu_ms_per_sec: Option<u32> = 0 => u32;
        /// Where that v1 controller is mounted.
        cgroup_cpu_mount: Option<String> = "/sys/fs/cgroup/cpu" => &str;
        /// Parent group under that mount.
        cgroup_cpu_parent: Option<String> = "NSJAIL" => &str;
        /// Where cgroup v2 is mounted.
        cgroupv2_mount: Option<String> = "/sys/fs/cgroup" => &str;
        /// Use cgroup v2.
        use_cgroupv2: Option<bool> = false => bool;
        /// Use cgroup v2 where it is mounted.
        detect_cgroupv2: Option<bool> = false => bool;
        /// Leave the loopback interface down.
        iface_no_lo: Option<bool> = false => bool;
        /// Move this interface into the jail.
        iface_own: Vec<String>;
        /// Interface cloned as macvlan.
        macvlan_iface: Option<String>;
        /// Address of the clone.
        macvlan_vs_ip: Option<String> = "192.168.0.2" => &str;
        /// Its network mask.
        macvlan_vs_nm: Option<String> = "255.255.255.0" => &str;
        /// Its gateway.
        macvlan_vs_gw: Option<String> = "192.168.0.1" => &str;
        /// Its MAC address.
        macvlan_vs_ma: Option<String> = "" => &str;
        /// Its macvlan mode.
        macvlan_vs_mo: Option<String> = "private" => &str;
        /// Routing rules inside, as read.
        traffic_rule: Vec<serde_json::Value>;
        /// Network stack in user space, as read.
        user_net: Option<serde_json::Value>;
        /// The program, if the command line names none.
        exec_bin: Option<Exe>;
    }
}
