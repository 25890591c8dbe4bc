//! System calls on arm64. The numbers are in Linux' `include/uapi/asm-generic/unistd.h`, the registers in syscall(2).
#![expect(unsafe_code, reason = "the kernel is called")]

use core::arch::asm;

pub(crate) const CLOCK_GETTIME: usize = 113;
pub(crate) const CLOCK_NANOSLEEP: usize = 115;

/// The kernel's result: a negative one is an error's number.
///
/// # Safety
///
/// What the arguments point to must be valid for the call `number`.
pub(crate) unsafe fn call(number: usize, arguments: [usize; 4]) -> isize {
    let [first, second, third, fourth] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's convention: it changes x0 and keeps the others. (Of the vector
    // registers, it may clear what SVE adds to them, see "SVE support" in the kernel's documentation; this code uses
    // none of it, and the callers' C compilers expect as much of any function.) What it does with memory is what the
    // caller has vouched for.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") first => result,
            in("x1") second,
            in("x2") third,
            in("x3") fourth,
            options(nostack),
        );
    }
    result
}
