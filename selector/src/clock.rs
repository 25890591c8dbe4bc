//! Microseconds since power-on, from the processor's own counter, in the unit of the Boot Loader Interface.
//!
//! The firmware offers no clock finer than a second. Each architecture has a file in `clock/` with two functions:
//! `ticks`, the counter, and `frequency`, its ticks per second if the processor says so. Otherwise the counter is
//! measured against `Stall`, as systemd-boot does.
#![cfg(target_os = "uefi")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::{frequency, ticks};
use core::num::NonZeroU64;
use core::time::Duration;
use uefi::boot;
#[cfg(target_arch = "x86_64")]
use x86_64::{frequency, ticks};

/// How long the counter is measured: long enough for one part in a thousand, too short to notice.
const MEASURED: Duration = Duration::from_millis(2);

const MICROSECONDS_PER_SECOND: u64 = 1_000_000;

/// When this program began, and how fast the counter runs.
pub(crate) struct Clock {
    ticks_per_second: NonZeroU64,
    began: u64,
}

impl Clock {
    /// Reads or measures the counter's speed. To be called before anything else.
    pub(crate) fn start() -> Self {
        let began = ticks();
        Self { ticks_per_second: frequency().unwrap_or_else(|| measured_from(began)), began }
    }

    /// The time when this program began, in microseconds.
    pub(crate) fn began(&self) -> u64 {
        self.microseconds(self.began)
    }

    /// The current time, in microseconds.
    pub(crate) fn now(&self) -> u64 {
        self.microseconds(ticks())
    }

    fn microseconds(&self, ticks: u64) -> u64 {
        let scaled = u128::from(ticks) * u128::from(MICROSECONDS_PER_SECOND);
        u64::try_from(scaled / u128::from(self.ticks_per_second.get())).unwrap_or(u64::MAX)
    }
}

/// Ticks per second, in whole ticks per microsecond, at least one.
fn measured_from(began: u64) -> NonZeroU64 {
    boot::stall(MEASURED);
    let passed = u128::from(ticks().saturating_sub(began));
    let rate = u64::try_from(passed / MEASURED.as_micros()).unwrap_or(u64::MAX).max(1);
    NonZeroU64::new(rate.saturating_mul(MICROSECONDS_PER_SECOND)).unwrap_or(NonZeroU64::MAX)
}
