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
    // SAFETY: `svc 0` changes only x0; what the call does to memory is the caller's contract.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr, inlateout("x0") a0.cast_signed() => ret,
            in("x1") a1, in("x2") a2, in("x3") a3, in("x4") a4, in("x5") a5,
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
    // SAFETY: in the parent only x0 changes. The child runs on its own stack from the first instruction
    // after `svc` and leaves this frame for `entry`, which never returns.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") nr, inlateout("x0") a0.cast_signed() => ret, in("x1") a1, in("x2") a2, in("x3") a3,
            in("x20") arg, in("x21") entry,
            lateout("x30") _,
        );
    }
    ret
}
