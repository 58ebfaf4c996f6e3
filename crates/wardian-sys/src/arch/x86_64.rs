use core::arch::asm;

/// # Safety
/// As `super::call`.
#[inline(always)]
pub(crate) unsafe fn syscall6(
    nr: usize,
    a0: usize,
    a1: usize,
    a2: usize,
    a3: usize,
    a4: usize,
    a5: usize,
) -> isize {
    let ret: isize;
    // SAFETY: the `syscall` instruction clobbers only rcx and r11 besides its result; what the call does to
    // memory is the caller's contract.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr.cast_signed() => ret,
            in("rdi") a0, in("rsi") a1, in("rdx") a2, in("r10") a3, in("r8") a4, in("r9") a5,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    ret
}

/// `clone3` or `clone` whose child starts `entry(arg)` on the stack named in `args` and never returns here.
///
/// # Safety
/// `args` are what the call expects, with a stack that is unused and 16-byte aligned at its end; `entry` never returns; whatever `arg` points to outlives the child's use of it.
pub(crate) unsafe fn clone_on_stack(
    nr: usize,
    args: [usize; 4],
    entry: extern "C" fn(usize) -> !,
    arg: usize,
) -> isize {
    let ret: isize;
    let [a0, a1, a2, a3] = args;
    // SAFETY: in the parent only rax, rcx and r11 change. The child runs on its own stack from the first
    // instruction after `syscall` and leaves this frame for `entry`, which never returns.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") nr.cast_signed() => ret,
            in("rdi") a0, in("rsi") a1, in("rdx") a2, in("r10") a3, in("r12") arg, in("r13") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret
}
