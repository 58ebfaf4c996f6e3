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

/// Makes a shared object the extension module `$module` of Python's, of functions from number to number and of those in
/// [`extension`](crate::extension), and gives it its panic handler; memory functions come from the program it is loaded
/// into, whose C library has them.
#[macro_export]
macro_rules! library {
    ($init:ident, $module:literal, $($name:ident => $function:path),* $(,)?) => {
        $(
            /// # Safety
            /// As [`Function`]($crate::extension::Function).
            unsafe extern "C" fn $name(
                _: *mut $crate::extension::Object,
                argument: *mut $crate::extension::Object,
            ) -> *mut $crate::extension::Object {
                // SAFETY: forwarded.
                unsafe { $crate::extension::call($function, argument) }
            }
        )*

        static METHODS: &[$crate::extension::Method] = {
            use $crate::extension::{self, Method};
            const fn name(text: &'static str) -> &'static core::ffi::CStr {
                match core::ffi::CStr::from_bytes_with_nul(text.as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a name ends with NUL"),
                }
            }
            &[
                $(Method::of_one(name(concat!(stringify!($name), "\0")), $name),)*
                Method::of_one(c"hold", extension::hold),
                Method::of_one(c"open", extension::open),
                Method::of_several(c"input", extension::input),
                Method::of_several(c"flush", extension::flush),
                Method::of_several(c"trim", extension::trim),
                Method::of_several(c"ended_well", extension::ended_well),
                Method::of_several(c"quietly", extension::quietly),
                Method::of_one(c"flush_last", extension::flush_last),
                Method::of_several(c"run_file", extension::run_file),
                Method::of_several(c"run_code", extension::run_code),
                Method::of_one(c"state_at", extension::state_at),
                Method::of_several(c"add_to_state", extension::add_to_state),
                Method::END,
            ]
        };

        #[doc = "Makes the module; Python calls it once."]
        #[unsafe(no_mangle)]
        pub extern "C" fn $init() -> *mut $crate::extension::Object {
            static mut DEFINITION: $crate::extension::Definition =
                $crate::extension::Definition::new($module, METHODS);
            // SAFETY: Python imports a module once, and nobody else knows it.
            unsafe { &mut *(&raw mut DEFINITION) }.module()
        }

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
