//! What a program without a C library needs: its entry, memory functions, a panic handler.
//!
//! [`crate::entry!`] puts them into the one binary that is built so.

/// Defines `_start`, the panic handler, and the memory functions that the compiler calls; `main` never returns.
///
/// A panic would be a defect of ours: the process ends with code 101, and everything inside with it.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[cfg(target_arch = "x86_64")]
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "xor ebp, ebp",
            "and rsp, -16",
            "call {main}",
            "ud2",
            main = sym start,
        );
        #[cfg(target_arch = "aarch64")]
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "mov x29, xzr",
            "mov x30, xzr",
            "bl {main}",
            "brk 1",
            main = sym start,
        );

        extern "C" fn start() -> ! {
            $main()
        }

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::process::exit(101)
        }

        /// The precompiled `core` names it; without unwinding nothing calls it.
        #[unsafe(no_mangle)]
        extern "C" fn rust_eh_personality() {}

        /// # Safety
        /// As memcpy(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
            // SAFETY: forwarded.
            unsafe { $crate::bare::copy_forwards(to, from, len) };
            to
        }

        /// # Safety
        /// As memmove(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
            if to.addr().wrapping_sub(from.addr()) >= len {
                // SAFETY: forwarded; the copy runs ahead of the overlap.
                unsafe { $crate::bare::copy_forwards(to, from, len) };
            } else {
                // SAFETY: forwarded.
                unsafe { $crate::bare::copy_backwards(to, from, len) };
            }
            to
        }

        /// # Safety
        /// As memset(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
            // SAFETY: forwarded.
            unsafe { $crate::bare::fill(to, byte.to_le_bytes()[0], len) };
            to
        }

        /// # Safety
        /// As memcmp(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
            // SAFETY: forwarded.
            unsafe { $crate::bare::compare(a, b, len) }
        }

        /// # Safety
        /// As bcmp(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
            // SAFETY: forwarded.
            unsafe { $crate::bare::compare(a, b, len) }
        }

        /// # Safety
        /// As strlen(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn strlen(text: *const u8) -> usize {
            // SAFETY: forwarded.
            unsafe { $crate::bare::length(text) }
        }
    };
}

/// Gives a shared object without a C library its panic handler; memory functions come from the program it is loaded
/// into, whose C library has them.
#[macro_export]
macro_rules! library {
    ($($name:ident => $function:path),* $(,)?) => {
        $(
            #[doc = concat!("Calls `", stringify!($function), "`.")]
            #[unsafe(no_mangle)]
            pub extern "C" fn $name(number: i32) -> i32 {
                $function(number)
            }
        )*

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::process::exit(101)
        }

        /// The precompiled `core` names it; without unwinding nothing calls it.
        #[unsafe(no_mangle)]
        extern "C" fn rust_eh_personality() {}
    };
}

// Volatile accesses keep the compiler from turning these loops into calls of themselves.

/// # Safety
/// `len` bytes at both places; `to` does not lie within `from`.
pub unsafe fn copy_forwards(to: *mut u8, from: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: copies exactly `len` bytes, which the caller vouches for; the direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..len {
        // SAFETY: `i` is below `len`, which the caller vouches for.
        let byte = unsafe { from.wrapping_add(i).read_volatile() };
        // SAFETY: as above.
        unsafe { to.wrapping_add(i).write_volatile(byte) };
    }
}

/// # Safety
/// `len` bytes at both places.
pub unsafe fn copy_backwards(to: *mut u8, from: *const u8, len: usize) {
    for i in (0..len).rev() {
        // SAFETY: `i` is below `len`, which the caller vouches for.
        let byte = unsafe { from.wrapping_add(i).read_volatile() };
        // SAFETY: as above.
        unsafe { to.wrapping_add(i).write_volatile(byte) };
    }
}

/// # Safety
/// `len` bytes at `to`.
pub unsafe fn fill(to: *mut u8, byte: u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: writes exactly `len` bytes, which the caller vouches for; the direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..len {
        // SAFETY: `i` is below `len`, which the caller vouches for.
        unsafe { to.wrapping_add(i).write_volatile(byte) };
    }
}

/// # Safety
/// `len` bytes at both places.
pub unsafe fn compare(a: *const u8, b: *const u8, len: usize) -> i32 {
    for i in 0..len {
        // SAFETY: `i` is below `len`, which the caller vouches for.
        let x = unsafe { a.wrapping_add(i).read_volatile() };
        // SAFETY: as above.
        let y = unsafe { b.wrapping_add(i).read_volatile() };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// # Safety
/// `text` is NUL-terminated.
pub unsafe fn length(text: *const u8) -> usize {
    let mut len = 0;
    // SAFETY: no byte before the NUL has been passed yet.
    while unsafe { text.wrapping_add(len).read_volatile() } != 0 {
        len += 1;
    }
    len
}
