//! The progress of long work: a line now and then with the rate and the remaining time. It begins with two spaces, so
//! that a terminal replaces it with the next line.

use crate::parallel;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often the progress is checked.
const LOOK: Duration = Duration::from_millis(100);

/// When lines are printed.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Shorter work prints no line.
    first: Duration,
    /// The time between two lines.
    between: Duration,
}

impl Pace {
    /// For an output on which lines stay.
    const OF_LINES: Self = Self { first: Duration::from_secs(3), between: Duration::from_secs(5) };
    /// For a terminal, on which each line replaces the previous one.
    const OF_A_TERMINAL: Self =
        Self { first: Duration::from_millis(300), between: Duration::from_millis(300) };

    fn here() -> Self {
        if io::stderr().is_terminal() { Self::OF_A_TERMINAL } else { Self::OF_LINES }
    }
}

/// The amount of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// This many bytes.
    Bytes(u64),
    /// This many packages.
    Packages(u64),
}

/// The finished amount, counted by the threads that work.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to the finished amount.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The finished amount.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does `work` in a thread, and meanwhile prints how much of the goal `done` counts.
pub fn while_it_grows<T: Send>(
    goal: Goal,
    done: impl Fn() -> u64,
    progress: &dyn Fn(&str),
    work: impl FnOnce() -> T + Send,
) -> T {
    at_pace(Pace::here(), goal, done, progress, work)
}

fn at_pace<T: Send>(
    pace: Pace,
    goal: Goal,
    done: impl Fn() -> u64,
    progress: &dyn Fn(&str),
    work: impl FnOnce() -> T + Send,
) -> T {
    told_at_pace(pace, |elapsed| progress(&goal.line(done(), elapsed)), work)
}

/// Does `work` in a thread, and meanwhile calls `tell` each time a line is due.
pub fn told<T: Send>(tell: impl Fn(), work: impl FnOnce() -> T + Send) -> T {
    told_at_pace(Pace::here(), |_| tell(), work)
}

fn told_at_pace<T: Send>(pace: Pace, tell: impl Fn(Duration), work: impl FnOnce() -> T + Send) -> T {
    let begun = Instant::now();
    let mut next = pace.first;
    // Nothing is sent: the channel is closed with the end of the work, after success or failure.
    let (at_work, end) = channel::<()>();
    let to_its_end = move || {
        let _at_work = at_work;
        work()
    };
    let tell_until_the_end = || {
        while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let elapsed = begun.elapsed();
            if elapsed >= next {
                next = elapsed.saturating_add(pace.between);
                tell(elapsed);
            }
        }
    };
    parallel::both(to_its_end, tell_until_the_end).0
}

impl Goal {
    /// A line such as `  45 of 160 MiB, 8.2 MiB/s, 14 s left` or `  45 of 160 packages, 1.5 a second, 76 s left`.
    #[must_use]
    pub fn line(self, done: u64, elapsed: Duration) -> String {
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let tenths = |shift: u32| (done.saturating_mul(10_000) >> shift) / milliseconds;
        let (Self::Bytes(total) | Self::Packages(total)) = self;
        let left = match total.saturating_sub(done).saturating_mul(milliseconds).checked_div(done) {
            Some(milliseconds) => format!("{} s left", milliseconds / 1000),
            None => "nothing yet".to_owned(),
        };
        match self {
            Self::Bytes(total) => {
                let (rate, total) = (tenths(20), total.div_ceil(1 << 20));
                format!("  {} of {total} MiB, {}.{} MiB/s, {left}", done >> 20, rate / 10, rate % 10)
            }
            Self::Packages(total) => {
                let rate = tenths(0);
                format!("  {done} of {total} packages, {}.{} a second, {left}", rate / 10, rate % 10)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_line_has_rate_and_remaining_time() {
        let mib = |count: u64| count << 20;
        let ten = Duration::from_secs(10);
        let bytes = Goal::Bytes(mib(160));
        assert_eq!(bytes.line(mib(45), ten), "  45 of 160 MiB, 4.5 MiB/s, 25 s left");
        assert_eq!(bytes.line(0, ten), "  0 of 160 MiB, 0.0 MiB/s, nothing yet");
        assert_eq!(bytes.line(mib(160), ten), "  160 of 160 MiB, 16.0 MiB/s, 0 s left");
        assert_eq!(Goal::Bytes(7).line(5, Duration::ZERO), "  0 of 1 MiB, 0.0 MiB/s, 0 s left");
        assert_eq!(Goal::Packages(160).line(40, ten), "  40 of 160 packages, 4.0 a second, 30 s left");
    }

    #[test]
    fn short_work_prints_no_progress_and_returns_its_result() {
        let said = RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        assert_eq!(at_pace(Pace::OF_LINES, Goal::Bytes(100), || 50, &say, || 7), 7);
        assert!(said.borrow().is_empty());
    }

    #[test]
    fn long_work_prints_progress_and_on_a_terminal_more_often() {
        for (pace, lines) in [(Pace::OF_LINES, 1..=1), (Pace::OF_A_TERMINAL, 3..=11)] {
            let (said, count) = (RefCell::new(Vec::new()), Count::default());
            count.add(1 << 20);
            let say = |line: &str| said.borrow_mut().push(line.to_owned());
            let work = || std::thread::sleep(Duration::from_millis(3300));
            at_pace(pace, Goal::Bytes(4 << 20), || count.get(), &say, work);
            let said = said.into_inner();
            assert!(lines.contains(&said.len()), "{said:?}");
            assert!(said.iter().all(|line| line.starts_with("  1 of 4 MiB, ")), "{said:?}");
        }
    }
}
