//! Descriptors that the caller left open for us, by number.

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::fs::File;
use std::io;

/// Writes to descriptor `number` of the caller's.
///
/// # Errors
/// No such descriptor, or one that we opened ourselves: what the caller left open has survived an exec.
pub(crate) fn open(number: i32) -> io::Result<File> {
    const O_CLOEXEC: u32 = 0o2_000_000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))
        .map_err(|_| io::Error::from(rustix::io::Errno::BADF))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(O_CLOEXEC);
    if flags & O_CLOEXEC != 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    let own: Pid = getpid();
    let own = pidfd_open(own, PidfdFlags::empty())?;
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn only_the_callers_descriptors_are_opened() {
        let own = File::open("/dev/null").unwrap();
        assert!(open(own.as_raw_fd()).is_err());
        assert!(open(-1).is_err());
        assert!(open(1_000_000).is_err());
        rustix::io::fcntl_setfd(&own, rustix::io::FdFlags::empty()).unwrap();
        assert!(open(own.as_raw_fd()).is_ok());
    }
}
