//! The two clocks of the agent: time since the kernel started, for durations, and time of day, for people.
//!
//! No decision of the agent depends on the time of day: in an initramfs it may be 1970.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Milliseconds since the kernel started, suspended time included.
#[must_use]
pub fn since_kernel_start() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The system's clock, in seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

/// A point in time after which something is too late.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at_ms: u64,
}

impl Deadline {
    /// The deadline that comes after `span` from now.
    #[must_use]
    pub fn after(span: Duration) -> Self {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self { at_ms: since_kernel_start().saturating_add(span) }
    }

    /// The time that is left; zero once the deadline has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        Duration::from_millis(self.at_ms.saturating_sub(since_kernel_start()))
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// The earlier of two deadlines.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        if other.at_ms < self.at_ms { other } else { self }
    }
}
