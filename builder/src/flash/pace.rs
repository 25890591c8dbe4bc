//! Whether a stick still writes at the rate of a sound one: worn flash becomes slow before it fails.

use std::time::{Duration, Instant};

/// The shortest time over which a rate is measured.
const STRETCH: Duration = Duration::from_secs(5);
/// A stick is worn if its rate, in bytes per second, falls below this,
const LEAST: u64 = 128 << 10;
/// and below the best rate before divided by this,
const PART: u64 = 20;
/// and stays there for this long, which is longer than the pauses in which sticks tidy up,
const LONG: Duration = Duration::from_mins(1);
/// and is measured there at least this often: a single request may take long.
const STRETCHES: u32 = 2;

/// The rates of a slow stick, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slow {
    /// The rate now.
    pub(super) rate: u64,
    /// The best rate before.
    pub(super) before: u64,
}

/// The rates measured so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    begun: Option<Instant>,
    bytes: u64,
    best: u64,
    slow: (u32, Duration),
}

impl Pace {
    /// Counts the bytes of a request; returns the rates if the stick has become too slow.
    pub(super) fn took(&mut self, bytes: u64) -> Option<Slow> {
        self.took_at(bytes, Instant::now())
    }

    fn took_at(&mut self, bytes: u64, now: Instant) -> Option<Slow> {
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(*self.begun.get_or_insert(now));
        if elapsed < STRETCH {
            return None;
        }
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = self.bytes.saturating_mul(1000) / milliseconds;
        (self.begun, self.bytes) = (Some(now), 0);
        let (stretches, time) = self.slow;
        let is_slow = rate < LEAST && rate < self.best / PART;
        self.slow = if is_slow { (stretches + 1, time + elapsed) } else { Default::default() };
        self.best = self.best.max(rate);
        let (stretches, time) = self.slow;
        (stretches >= STRETCHES && time >= LONG).then_some(Slow { rate, before: self.best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second at which a stick with these bytes per second is called slow. If it writes nothing, `took` is not
    /// called.
    fn called_slow(rate: impl Fn(u64) -> u64) -> Option<(u64, Slow)> {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        (0..600).find_map(|second| {
            let (now, bytes) = (begun + Duration::from_secs(second), rate(second));
            Some((second, if bytes > 0 { pace.took_at(bytes, now) } else { None }?))
        })
    }

    #[test]
    fn only_a_rate_that_collapses_and_stays_low_is_slow() {
        assert_eq!(called_slow(|_| 20 << 20), None);
        // Slow from the beginning, as some sticks are.
        assert_eq!(called_slow(|_| 50 << 10), None);
        // A pause of half a minute.
        assert_eq!(called_slow(|second| if (100..130).contains(&second) { 0 } else { 8 << 20 }), None);
        // One request that takes long.
        assert_eq!(called_slow(|second| if (100..190).contains(&second) { 0 } else { 8 << 20 }), None);
        // A tenth of the rate before is still fast.
        assert_eq!(called_slow(|second| if second < 100 { 8 << 20 } else { 800 << 10 }), None);
        let (second, slow) = called_slow(|second| if second < 100 { 8 << 20 } else { 60 << 10 }).unwrap();
        assert!((150..190).contains(&second), "{second}");
        assert!(slow.rate == 60 << 10 && slow.before > 7 << 20, "{slow:?}");
    }
}
