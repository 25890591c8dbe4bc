//! Time: since the kernel started for steps and deadlines, and the wall clock, which may start in 1970.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use std::fmt;
use std::time::Duration;

/// Time since the kernel started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uptime(Duration);

impl Uptime {
    /// The current time.
    pub(crate) fn now() -> Self {
        // This clock cannot fail on Linux; zero would only make a time in the report wrong. The agent reads the same
        // clock.
        Self(clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from))
    }

    /// The time since the kernel started, as a duration.
    pub(crate) fn since_kernel_start(self) -> Duration {
        self.0
    }

    /// The time since the kernel started, in whole milliseconds.
    pub(crate) fn milliseconds(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// This time plus `later`.
    pub(crate) fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// How long from now until this time; zero once it has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_sub(Self::now().0)
    }

    /// How long ago this time was.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// Whether the wall clock had to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WallClock {
    /// The kernel had a plausible time from the hardware clock.
    Kept,
    /// It was earlier than the build time of this system, and was set to that.
    SetToBuildTime,
}

/// Ensures that the wall clock is not earlier than `build_time` (seconds since 1970).
pub(crate) fn at_least(build_time: u64) -> nix::Result<WallClock> {
    let build_time = i64::try_from(build_time).unwrap_or(i64::MAX);
    if clock_gettime(ClockId::CLOCK_REALTIME)?.tv_sec() >= build_time {
        return Ok(WallClock::Kept);
    }
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(build_time, 0))?;
    Ok(WallClock::SetToBuildTime)
}
