//! The clock of a process: the build time when it is first read, and a microsecond more with each read.
//!
//! The clock moves because some programs read it until it has moved (libuuid, after some ids within a microsecond).
//! Sleeping moves it by the time of the sleep, so a program that sleeps until a time comes to an end as well. Both
//! depend only on the process and not on the machine.

use crate::parameters::Parameters;
use core::sync::atomic::{AtomicU64, Ordering};

pub(crate) const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
const NANOSECONDS_PER_STEP: u64 = 1_000;

/// Nanoseconds since the first read.
static PASSED: AtomicU64 = AtomicU64::new(0);

/// A time since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) seconds: u64,
    pub(crate) nanoseconds: u64,
}

pub(crate) fn now() -> Now {
    at(Parameters::own().time, PASSED.fetch_add(NANOSECONDS_PER_STEP, Ordering::Relaxed))
}

pub(crate) fn has_slept(nanoseconds: u64) {
    PASSED.fetch_add(nanoseconds, Ordering::Relaxed);
}

fn at(start: u64, passed: u64) -> Now {
    Now {
        seconds: start.wrapping_add(passed / NANOSECONDS_PER_SECOND),
        nanoseconds: passed % NANOSECONDS_PER_SECOND,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_query_advances_the_clock_by_a_microsecond_and_sleep_by_its_length() {
        let first = now();
        assert_eq!(first, Now { seconds: 0, nanoseconds: 0 });
        assert_eq!(now(), Now { seconds: 0, nanoseconds: 1_000 });
        has_slept(2 * NANOSECONDS_PER_SECOND);
        assert_eq!(now(), Now { seconds: 2, nanoseconds: 2_000 });
        assert_eq!(at(1_793_491_200, 999_999_999).seconds, 1_793_491_200);
    }
}
