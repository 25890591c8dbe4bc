//! The progress of each stick: counted by the threads that work, and read by the one that prints it.

use crate::progress::{Count, Goal};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{Span, info_span};

/// The phase of the work on a stick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reading some pieces, to decide whether to compare.
    #[default]
    Looking,
    /// Comparing all pieces with the image.
    Comparing,
    /// Writing the pieces that differ.
    Writing,
    /// Reading back what was written.
    ReadingBack,
    /// Writing the partition tables.
    Table,
    /// Nothing more is done.
    Done,
}

impl Phase {
    fn words(self) -> &'static str {
        match self {
            Self::Looking => "checking it",
            Self::Comparing => "comparing",
            Self::Writing => "writing",
            Self::ReadingBack => "reading back",
            Self::Table => "writing the partition tables",
            Self::Done => "done",
        }
    }
}

/// The progress of a stick in its phase.
#[derive(Debug, Default)]
pub struct Progress {
    stick: String,
    now: Mutex<Now>,
    /// The span of the phase in the log; none before the first phase and at the end.
    span: Mutex<Option<Span>>,
    /// The bytes that are done in this phase, on the medium and not in a cache.
    pub done: Count,
}

#[derive(Debug, Clone, Copy, Default)]
struct Now {
    phase: Phase,
    total: u64,
    /// The bytes that were done when the phase began.
    before: u64,
    since: Option<Instant>,
}

impl Progress {
    /// The progress of a stick with this name, before its first phase.
    #[must_use]
    pub fn of(stick: &str) -> Self {
        Self { stick: stick.to_owned(), ..Self::default() }
    }

    /// Begins a phase with this many bytes.
    pub fn enter(&self, phase: Phase, total: u64) {
        let now = Now { phase, total, before: self.done.get(), since: Some(Instant::now()) };
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let span = || info_span!("flash", stick = self.stick, phase = phase.words(), total);
        *self.span.lock().unwrap_or_else(PoisonError::into_inner) = (phase != Phase::Done).then(span);
    }

    /// The progress as an event; `stick` is the stick's name.
    #[must_use]
    pub fn event(&self, stick: &str) -> Event {
        let now = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.since.map_or(Duration::ZERO, |since| since.elapsed());
        let done = self.done.get().saturating_sub(now.before);
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        Event {
            stick: stick.to_owned(),
            phase: now.phase,
            done,
            total: now.total,
            rate: done.saturating_mul(1000) / milliseconds,
            seconds_left: now
                .total
                .saturating_sub(done)
                .saturating_mul(milliseconds)
                .checked_div(done)
                .map(|left| left / 1000),
            elapsed,
        }
    }
}

/// The progress of a stick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The name of the stick.
    pub stick: String,
    /// The phase that it is in.
    pub phase: Phase,
    /// The bytes that are done in this phase.
    pub done: u64,
    /// The bytes of this phase in all.
    pub total: u64,
    /// The bytes per second since the phase began.
    pub rate: u64,
    /// The seconds that are left in this phase at that rate.
    pub seconds_left: Option<u64>,
    #[serde(skip)]
    elapsed: Duration,
}

impl Event {
    /// A line such as `/dev/sdb writing 45 of 160 MiB, 8.2 MiB/s, 14 s left`.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { stick, phase, done, total, elapsed, .. } = self;
        let far = if *total == 0 { String::new() } else { Goal::Bytes(*total).line(*done, *elapsed) };
        format!("{stick} {} {}", phase.words(), far.trim_start()).trim_end().to_owned()
    }
}

/// A callback that gets the events of all sticks at once.
pub type Hear<'h> = &'h dyn Fn(&[Event]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_counts_from_zero() {
        let progress = Progress::default();
        progress.enter(Phase::Writing, 10 << 20);
        progress.done.add(10 << 20);
        assert_eq!(progress.event("sdb").seconds_left, Some(0));
        progress.enter(Phase::ReadingBack, 10 << 20);
        let event = progress.event("sdb");
        assert_eq!((event.done, event.total, event.seconds_left), (0, 10 << 20, None));
        assert!(event.line().starts_with("sdb reading back 0 of 10 MiB, "), "{}", event.line());
        progress.enter(Phase::Table, 0);
        assert_eq!(progress.event("sdb").line(), "sdb writing the partition tables");
    }
}
