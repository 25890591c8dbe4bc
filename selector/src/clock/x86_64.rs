//! The time stamp counter of x86-64 (Intel SDM, volume 3, "Time-Stamp Counter").

use core::arch::x86_64::_rdtsc;
use core::num::NonZeroU64;

pub(super) fn ticks() -> u64 {
    #[expect(unsafe_code, reason = "the counter is only reached through an intrinsic")]
    // SAFETY: every x86-64 processor has RDTSC, and firmware runs at a privilege level that may use it.
    unsafe {
        _rdtsc()
    }
}

/// No register has it on all processors: CPUID leaf 15h is younger than the counter, and often empty.
pub(super) fn frequency() -> Option<NonZeroU64> {
    None
}
