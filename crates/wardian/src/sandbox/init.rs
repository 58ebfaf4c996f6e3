//! The embedded `wardian-init`, in a sealed memfd that all sandboxes of this process share.

use super::SandboxError;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

static BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wardian_init_binary"));

/// The helper's executable.
pub(super) fn executable() -> Result<BorrowedFd<'static>, SandboxError> {
    static MEMFD: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(memfd) = MEMFD.get() {
        return Ok(memfd.as_fd());
    }
    let new = sealed("wardian-init", BINARY, true).map_err(SandboxError::at("put wardian-init in memory"))?;
    // Two threads may both have made one; the first stays.
    Ok(MEMFD.get_or_init(|| new).as_fd())
}

/// A memfd of that content that nobody can change any more.
pub(super) fn sealed(name: &str, content: &[u8], executable: bool) -> io::Result<OwnedFd> {
    const MFD_EXEC: MemfdFlags = MemfdFlags::from_bits_retain(0x10);
    const MFD_NOEXEC_SEAL: MemfdFlags = MemfdFlags::from_bits_retain(0x8);
    let base = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let wanted = if executable { MFD_EXEC } else { MFD_NOEXEC_SEAL };
    let memfd = match memfd_create(name, base | wanted) {
        // Before Linux 6.3 there is no such flag, and every memfd is executable.
        Err(rustix::io::Errno::INVAL) => memfd_create(name, base)?,
        answer => answer?,
    };
    let mut left = content;
    while !left.is_empty() {
        let written = rustix::io::write(&memfd, left)?;
        left = left.get(written..).unwrap_or(&[]);
    }
    fcntl_add_seals(&memfd, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(memfd)
}
