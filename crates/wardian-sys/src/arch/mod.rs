//! The system call instruction and the entry of a cloned child, per architecture.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{clone_on_stack, syscall6};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{clone_on_stack, syscall6};

/// Makes a system call and splits its answer into value and error.
macro_rules! syscall {
    ($nr:expr $(, $arg:expr)* $(,)?) => {
        $crate::errno::check($crate::arch::call($nr, &[$($crate::arch::Word::word($arg)),*]))
    };
}
pub(crate) use syscall;

/// What may be an argument of a system call: negative numbers keep their sign in the wider register.
pub(crate) trait Word {
    fn word(self) -> usize;
}

impl Word for usize {
    fn word(self) -> usize {
        self
    }
}

impl Word for isize {
    fn word(self) -> usize {
        self.cast_unsigned()
    }
}

impl Word for i32 {
    fn word(self) -> usize {
        (self as isize).cast_unsigned()
    }
}

impl Word for u32 {
    fn word(self) -> usize {
        self as usize
    }
}

impl Word for u64 {
    /// Every architecture here has 64-bit registers.
    #[allow(clippy::cast_possible_truncation, reason = "usize is 64 bits on every architecture here")]
    fn word(self) -> usize {
        self as usize
    }
}

impl Word for u8 {
    fn word(self) -> usize {
        usize::from(self)
    }
}

impl<T> Word for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Word for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// # Safety
/// The arguments must be what the kernel expects of call `nr`: every pointer valid for as long as the call
/// uses it, every length within its object.
pub(crate) unsafe fn call(nr: usize, args: &[usize]) -> isize {
    let at = |i: usize| args.get(i).copied().unwrap_or(0);
    // SAFETY: forwarded to the caller by this function's contract.
    unsafe { syscall6(nr, at(0), at(1), at(2), at(3), at(4), at(5)) }
}
