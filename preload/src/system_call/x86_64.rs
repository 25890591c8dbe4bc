//! System calls on x86-64. The numbers are in Linux' `arch/x86/entry/syscalls/syscall_64.tbl`, the registers in
//! syscall(2).
#![expect(unsafe_code, reason = "the kernel is called")]

use core::arch::asm;

pub(crate) const CLOCK_GETTIME: usize = 228;
pub(crate) const CLOCK_NANOSLEEP: usize = 230;

/// The kernel's result: a negative one is an error's number.
///
/// # Safety
///
/// What the arguments point to must be valid for the call `number`.
pub(crate) unsafe fn call(number: usize, arguments: [usize; 4]) -> isize {
    let [first, second, third, fourth] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's convention, it changes rcx and r11 and keeps the others; what it
    // does with memory is what the caller has vouched for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
