//! Memory without an allocator.

use crate::arch::syscall;
use crate::{Errno, Fd, Result, file, nr};
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

const PROT_NONE: usize = 0;
const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
const MAP_PRIVATE: usize = 2;
const MAP_ANONYMOUS: usize = 0x20;
/// The largest page that a kernel may use: where it uses a smaller one, this is a whole number of them.
const LARGEST_PAGE: usize = 64 << 10;

/// Maps the first `len` bytes of a memfd for as long as the process lives; an error unless it has so many, and is sealed
/// against writing and shrinking, so that they never change.
pub fn map_sealed(fd: Fd, len: usize) -> Result<&'static [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if !is_sealed(fd)? || file::seek_end(fd)? < len {
        return Err(Errno::PROTO);
    }
    // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
    let at = unsafe { syscall!(nr::MMAP, 0usize, len, PROT_READ, MAP_PRIVATE, fd.number(), 0usize) }?;
    // SAFETY: the mapping is `len` readable bytes, never unmapped, and never changes, as just checked.
    Ok(unsafe { core::slice::from_raw_parts(with_exposed_provenance(at), len) })
}

fn is_sealed(fd: Fd) -> Result<bool> {
    const F_GET_SEALS: usize = 1034;
    const SHRINK_AND_WRITE: usize = 0x2 | 0x8;
    // SAFETY: no memory is passed.
    let seals = unsafe { syscall!(nr::FCNTL, fd.number(), F_GET_SEALS, 0usize) }?;
    Ok(seals & SHRINK_AND_WRITE == SHRINK_AND_WRITE)
}

fn map_anonymous(len: usize, protection: usize) -> Result<usize> {
    const ANYWHERE: usize = 0;
    const NO_FILE: isize = -1;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
    unsafe { syscall!(nr::MMAP, ANYWHERE, len, protection, MAP_PRIVATE | MAP_ANONYMOUS, NO_FILE, 0usize) }
}

/// New zeroed memory of `len` bytes (rounded up to pages), page-aligned, for as long as the process lives.
pub fn allocate_pages(len: usize) -> Result<&'static mut [u8]> {
    let at = map_anonymous(len, PROT_READ | PROT_WRITE)?;
    // SAFETY: the mapping is `len` writable zeroed bytes that nobody else knows of.
    Ok(unsafe { core::slice::from_raw_parts_mut(with_exposed_provenance_mut(at), len) })
}

/// As [`allocate_pages`], for a stack: what lies below is nobody's, and whoever runs over the end is killed there instead
/// of writing into another's.
pub fn allocate_stack(len: usize) -> Result<&'static mut [u8]> {
    let at = map_anonymous(LARGEST_PAGE + len, PROT_NONE)? + LARGEST_PAGE;
    // SAFETY: the upper end of the new mapping.
    unsafe { syscall!(nr::MPROTECT, at, len, PROT_READ | PROT_WRITE) }?;
    // SAFETY: `len` bytes of the mapping, writable now and zeroed, that nobody else knows of.
    Ok(unsafe { core::slice::from_raw_parts_mut(with_exposed_provenance_mut(at), len) })
}

/// An empty C string at exactly `address`; an error if something is there already.
pub fn empty_string_at(address: u64) -> Result<&'static core::ffi::CStr> {
    const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
    const PAGE: u64 = LARGEST_PAGE as u64;
    const NO_FILE: isize = -1;
    let page = address & !(PAGE - 1);
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    // SAFETY: the flag makes the kernel refuse to replace an existing mapping.
    let at = unsafe { syscall!(nr::MMAP, page, PAGE, PROT_READ, flags, NO_FILE, 0usize) }?;
    if at as u64 != page {
        // A kernel before 4.17 takes the address for a wish.
        return Err(Errno::EXIST);
    }
    let at = at + usize::try_from(address - page).map_err(|_| Errno::INVAL)?;
    // SAFETY: those pages are mapped, readable, zeroed and never change; `at` lies within them.
    Ok(unsafe { core::ffi::CStr::from_ptr(with_exposed_provenance(at)) })
}

/// What [`gather`] works on: 2 MiB.
pub const LARGE_PAGE_SHIFT: u32 = 21;

/// Puts what lies in the 2 MiB with this number into one large page, without a change to it (madvise(2) `MADV_COLLAPSE`,
/// Linux 6.1). It is an error if that cannot be: another page size, a hole in it, nothing there.
pub fn gather(number: u32) -> Result<()> {
    const MADV_COLLAPSE: usize = 25;
    let address = (number as usize) << LARGE_PAGE_SHIFT;
    // SAFETY: the memory says the same afterwards, whosever it is.
    unsafe { syscall!(nr::MADVISE, address, 1usize << LARGE_PAGE_SHIFT, MADV_COLLAPSE) }.map(drop)
}

/// Views page-aligned memory as words.
pub fn as_words(bytes: &'static mut [u8]) -> &'static mut [usize] {
    // SAFETY: every bit pattern is a valid usize; `align_to_mut` gives only the aligned middle.
    let (_, words, _) = unsafe { bytes.align_to_mut::<usize>() };
    words
}

/// Keeps `value` for as long as the process lives.
pub fn keep<T>(value: T) -> Result<&'static T> {
    let space = allocate_pages(size_of::<T>().max(1))?.as_mut_ptr().cast::<T>();
    // SAFETY: the space is ours alone, large enough, and aligned to a page, more than any type needs.
    unsafe { space.write(value) };
    // SAFETY: just initialised, never freed, and nobody writes it again.
    Ok(unsafe { &*space })
}

/// A place for one reference, set once, for code without a standard library.
#[derive(Debug)]
pub struct Place<T: 'static>(core::sync::atomic::AtomicPtr<T>);

impl<T: Sync> Place<T> {
    /// An empty one.
    pub const fn new() -> Place<T> {
        Place(core::sync::atomic::AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Puts `value` there.
    pub fn set(&self, value: &'static T) {
        self.0.store(core::ptr::from_ref(value).cast_mut(), core::sync::atomic::Ordering::Release);
    }

    /// What was put there.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or made from a static shared reference by `set`.
        unsafe { self.0.load(core::sync::atomic::Ordering::Acquire).as_ref() }
    }
}

impl<T: Sync> Default for Place<T> {
    fn default() -> Self {
        Place::new()
    }
}
