//! nsjail's `rlimit_*` fields as limits of setrlimit(2).

use wardian_nsjail::{NsjailConfig, RLimit};

/// A resource that the config file limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Address space in bytes.
    AddressSpace,
    /// Core dump in bytes.
    Core,
    /// CPU time in seconds.
    Cpu,
    /// File size in bytes.
    FileSize,
    /// Open files.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Stack in bytes.
    Stack,
    /// Locked memory in bytes.
    LockedMemory,
    /// Real-time priority.
    RealtimePriority,
    /// POSIX message queues in bytes.
    MessageQueues,
}

/// A limit that the kernel cannot count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nsjail config: `{field}`: {value} × {unit} is more than a resource limit can be")]
pub struct RlimitError {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// What one of it stands for.
    pub unit: u64,
}

/// The soft and hard limit that the config asks for, in the resource's own unit; `u64::MAX` is no limit.
/// nsjail sets both to the same value. `caller` is the caller's soft and hard limit.
///
/// # Errors
/// [`RlimitError`] if the value times its unit (MiB for most) is beyond 64 bits.
pub fn rlimit(config: &NsjailConfig, resource: Resource, caller: (u64, u64)) -> Result<u64, RlimitError> {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let (field, value, unit, source) = match resource {
        Resource::AddressSpace => ("rlimit_as", config.rlimit_as(), MIB, config.rlimit_as_type()),
        Resource::Core => ("rlimit_core", config.rlimit_core(), MIB, config.rlimit_core_type()),
        Resource::Cpu => ("rlimit_cpu", config.rlimit_cpu(), 1, config.rlimit_cpu_type()),
        Resource::FileSize => ("rlimit_fsize", config.rlimit_fsize(), MIB, config.rlimit_fsize_type()),
        Resource::OpenFiles => ("rlimit_nofile", config.rlimit_nofile(), 1, config.rlimit_nofile_type()),
        Resource::Processes => ("rlimit_nproc", config.rlimit_nproc(), 1, config.rlimit_nproc_type()),
        Resource::Stack => ("rlimit_stack", config.rlimit_stack(), MIB, config.rlimit_stack_type()),
        Resource::LockedMemory => {
            ("rlimit_memlock", config.rlimit_memlock(), KIB, config.rlimit_memlock_type())
        }
        Resource::RealtimePriority => {
            ("rlimit_rtprio", config.rlimit_rtprio(), 1, config.rlimit_rtprio_type())
        }
        Resource::MessageQueues => {
            ("rlimit_msgqueue", config.rlimit_msgqueue(), 1, config.rlimit_msgqueue_type())
        }
    };
    match if config.disable_rl() { RLimit::Soft } else { source } {
        RLimit::Value => value.checked_mul(unit).ok_or(RlimitError { field, value, unit }),
        RLimit::Soft => Ok(caller.0),
        RLimit::Hard => Ok(caller.1),
        RLimit::Inf => Ok(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_nsjail::parse;

    const CALLER: (u64, u64) = (8 << 20, 64 << 20);

    fn limit(text: &str, resource: Resource) -> u64 {
        rlimit(&parse(text).unwrap(), resource, CALLER).unwrap()
    }

    #[test]
    fn values_have_nsjails_units() {
        assert_eq!(limit("rlimit_as: 700", Resource::AddressSpace), 700 << 20);
        assert_eq!(limit("rlimit_cpu: 7", Resource::Cpu), 7);
        assert_eq!(limit("rlimit_memlock: 3 rlimit_memlock_type: VALUE", Resource::LockedMemory), 3072);
        assert_eq!(limit("rlimit_msgqueue: 9 rlimit_msgqueue_type: VALUE", Resource::MessageQueues), 9);
        assert_eq!(limit("rlimit_stack: 2 rlimit_stack_type: VALUE", Resource::Stack), 2 << 20);
    }

    #[test]
    fn defaults_are_nsjails() {
        assert_eq!(limit("", Resource::AddressSpace), 4 << 30);
        assert_eq!(limit("", Resource::FileSize), 1 << 20);
        assert_eq!(limit("", Resource::OpenFiles), 32);
        assert_eq!(limit("", Resource::Core), 0);
        assert_eq!(limit("", Resource::Cpu), 600);
        for soft in [Resource::Processes, Resource::Stack, Resource::LockedMemory, Resource::RealtimePriority]
        {
            assert_eq!(limit("", soft), CALLER.0, "{soft:?}");
        }
    }

    #[test]
    fn types_decide_where_the_limit_comes_from() {
        assert_eq!(limit("rlimit_as: 1 rlimit_as_type: HARD", Resource::AddressSpace), CALLER.1);
        assert_eq!(limit("rlimit_fsize_type: INF", Resource::FileSize), u64::MAX);
        assert_eq!(limit("rlimit_as: 1 disable_rl: true", Resource::AddressSpace), CALLER.0);
    }

    #[test]
    fn what_overflows_is_refused_by_name() {
        let config = parse("rlimit_as: 17592186044416").unwrap();
        let error = rlimit(&config, Resource::AddressSpace, CALLER).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nsjail config: `rlimit_as`: 17592186044416 × 1048576 is more than a resource limit can be"
        );
    }
}
