//! Microseconds since power-on, from the processor's time stamp counter, in the unit of the Boot Loader Interface.
//!
//! The firmware offers no clock finer than a second; systemd-boot measures the counter against `Stall` as well.
#![cfg(target_os = "uefi")]

use core::arch::x86_64::_rdtsc;
use core::time::Duration;
use uefi::boot;

/// How long the counter is measured: long enough for one part in a thousand, too short to notice.
const MEASURED: Duration = Duration::from_millis(2);

/// When this program began, and how fast the counter runs.
pub(crate) struct Clock {
    ticks_per_microsecond: u64,
    began: u64,
}

impl Clock {
    /// Measures the counter. To be called before anything else.
    pub(crate) fn start() -> Self {
        let began = ticks();
        boot::stall(MEASURED);
        let passed = u128::from(ticks().saturating_sub(began));
        let rate = u64::try_from(passed / MEASURED.as_micros()).unwrap_or(u64::MAX);
        Self { ticks_per_microsecond: rate.max(1), began }
    }

    /// The time when this program began, in microseconds.
    pub(crate) fn began(&self) -> u64 {
        self.began / self.ticks_per_microsecond
    }

    /// The current time, in microseconds.
    pub(crate) fn now(&self) -> u64 {
        ticks() / self.ticks_per_microsecond
    }
}

fn ticks() -> u64 {
    #[expect(unsafe_code, reason = "the counter is only reached through an intrinsic")]
    // SAFETY: every x86-64 processor has RDTSC, and firmware runs at a privilege level that may use it.
    unsafe {
        _rdtsc()
    }
}
