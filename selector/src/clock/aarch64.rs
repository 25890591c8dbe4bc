//! The virtual counter of the generic timer (Arm Architecture Reference Manual, DDI 0487, chapter "The Generic Timer in
//! `AArch64` state").

#![expect(unsafe_code, reason = "system registers are only reached through instructions")]

use core::arch::asm;
use core::num::NonZeroU64;

/// `CNTVCT_EL0` ("The virtual counter").
pub(super) fn ticks() -> u64 {
    let ticks: u64;
    // SAFETY: every Armv8-A processor has the register, and UEFI runs programs at EL1 or EL2 (UEFI 2.10, section
    // 2.3.6), which may read it; a hypervisor that traps the read answers it. The barrier stops the processor from
    // reading earlier than the code before. Neither instruction changes memory, the stack or the flags.
    unsafe {
        asm!("isb", "mrs {ticks}, cntvct_el0", ticks = out(reg) ticks, options(nomem, nostack, preserves_flags));
    }
    ticks
}

/// `CNTFRQ_EL0`. Firmware must set it; some does not, and then it is 0.
pub(super) fn frequency() -> Option<NonZeroU64> {
    let hertz: u64;
    // SAFETY: as above; reading it changes nothing.
    unsafe {
        asm!("mrs {hertz}, cntfrq_el0", hertz = out(reg) hertz, options(nomem, nostack, preserves_flags));
    }
    // The upper half is reserved.
    NonZeroU64::new(hertz & u64::from(u32::MAX))
}
