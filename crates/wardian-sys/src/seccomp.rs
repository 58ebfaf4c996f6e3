//! seccomp filters (seccomp(2)) and the supervisor's side of user notification (seccomp_unotify(2)).

use crate::arch::syscall;
use crate::{Errno, NewFd, Result, nr};

const SET_MODE_FILTER: usize = 1;
const FLAG_NEW_LISTENER: usize = 1 << 3;
/// Bytes of one `struct sock_filter`.
pub const INSTRUCTION_BYTES: usize = 8;

#[repr(C)]
struct Program {
    len: u16,
    filter: usize,
}

fn install(bytes: &[u8], flags: usize) -> Result<usize> {
    let len = u16::try_from(bytes.len() / INSTRUCTION_BYTES).map_err(|_| Errno::INVAL)?;
    let program = Program { len, filter: bytes.as_ptr().expose_provenance() };
    // SAFETY: `program` is the kernel's `struct sock_fprog`; the kernel copies `len` instructions of 8 bytes,
    // which are within `bytes`, byte by byte (no alignment needed).
    unsafe { syscall!(nr::SECCOMP, SET_MODE_FILTER, flags, &raw const program) }
}

/// Installs a filter on this thread; needs no_new_privs.
pub fn install_filter(program: &[u8]) -> Result<()> {
    install(program, 0).map(drop)
}

/// Installs a filter on this thread and returns its notification listener (close-on-exec).
pub fn install_filter_with_listener(program: &[u8]) -> Result<NewFd> {
    install(program, FLAG_NEW_LISTENER).map(NewFd::from_answer)
}

#[cfg(feature = "std")]
pub use listener::{Notification, receive, respond_errno};

#[cfg(feature = "std")]
mod listener {
    use crate::arch::syscall;
    use crate::{Errno, Fd, Result, nr};
    use std::os::fd::BorrowedFd;

    const NOTIF_RECV: usize = 0xc050_2100;
    const NOTIF_SEND: usize = 0xc018_2101;

    /// A system call that waits for our answer (`struct seccomp_notif`).
    #[repr(C)]
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Notification {
        /// Names this notification in the answer.
        pub id: u64,
        /// The calling thread, in our pid namespace; 0 if it is not visible there.
        pub pid: u32,
        flags: u32,
        /// The system call's number.
        pub syscall: i32,
        /// `AUDIT_ARCH_*`
        pub arch: u32,
        /// Where the call was made.
        pub instruction_pointer: u64,
        /// The call's arguments: registers only, never memory.
        pub args: [u64; 6],
    }

    #[repr(C)]
    struct Response {
        id: u64,
        val: i64,
        error: i32,
        flags: u32,
    }

    /// Takes one notification; an error `ENOENT` means the caller has died meanwhile.
    pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification> {
        let mut notification = Notification::default();
        let fd = Fd::from(listener).number();
        // SAFETY: `notification` is the kernel's zeroed `struct seccomp_notif` of 80 bytes.
        unsafe { syscall!(nr::IOCTL, fd, NOTIF_RECV, &raw mut notification) }?;
        Ok(notification)
    }

    /// Makes the call fail with `errno`; an error `ENOENT` means the caller has died meanwhile.
    pub fn respond_errno(listener: BorrowedFd<'_>, id: u64, errno: Errno) -> Result<()> {
        let response = Response { id, val: 0, error: -errno.0, flags: 0 };
        let fd = Fd::from(listener).number();
        // SAFETY: `response` is the kernel's `struct seccomp_notif_resp` of 24 bytes.
        unsafe { syscall!(nr::IOCTL, fd, NOTIF_SEND, &raw const response) }.map(drop)
    }
}
