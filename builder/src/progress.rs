//! How far long work is: a line now and then with the rate and the remaining time.

use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Work that ends before this says nothing of its progress.
const FIRST: Duration = Duration::from_secs(3);
/// Between two lines.
const BETWEEN: Duration = Duration::from_secs(5);
/// How often the work is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Does `work` in a thread, and meanwhile says how much of `total` bytes is there. `done` counts them.
pub fn while_bytes_come<T: Send>(
    total: u64,
    done: impl Fn() -> u64,
    progress: &dyn Fn(&str),
    work: impl FnOnce() -> T + Send,
) -> T {
    let begun = Instant::now();
    let mut next = FIRST;
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        while !worker.is_finished() {
            thread::sleep(LOOK);
            let elapsed = begun.elapsed();
            if elapsed >= next {
                next = elapsed.saturating_add(BETWEEN);
                progress(&line(done(), total, elapsed));
            }
        }
        outcome(worker)
    })
}

fn outcome<T>(worker: ScopedJoinHandle<'_, T>) -> T {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// `  45 of 160 MiB, 8.2 MiB/s, 14 s left`.
fn line(done: u64, total: u64, elapsed: Duration) -> String {
    let (done_mib, total_mib) = (done >> 20, total.div_ceil(1 << 20));
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = done.saturating_mul(1000) / milliseconds;
    let tenths = per_second.saturating_mul(10) >> 20;
    let left = match total.saturating_sub(done).checked_div(per_second) {
        Some(seconds) => format!("{seconds} s left"),
        None => "nothing yet".to_owned(),
    };
    format!("  {done_mib} of {total_mib} MiB, {}.{} MiB/s, {left}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_line_has_rate_and_remaining_time() {
        let mib = |count: u64| count << 20;
        let ten = Duration::from_secs(10);
        assert_eq!(line(mib(45), mib(160), ten), "  45 of 160 MiB, 4.5 MiB/s, 25 s left");
        assert_eq!(line(0, mib(160), ten), "  0 of 160 MiB, 0.0 MiB/s, nothing yet");
        assert_eq!(line(mib(160), mib(160), ten), "  160 of 160 MiB, 16.0 MiB/s, 0 s left");
        assert_eq!(line(5, 7, Duration::ZERO), "  0 of 1 MiB, 0.0 MiB/s, 0 s left");
    }

    #[test]
    fn short_work_says_nothing_and_its_result_comes_back() {
        let said = RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        assert_eq!(while_bytes_come(100, || 50, &say, || 7), 7);
        assert!(said.borrow().is_empty());
    }

    #[test]
    fn long_work_says_how_far_it_is() {
        let said = RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        while_bytes_come(4 << 20, || 1 << 20, &say, || thread::sleep(FIRST + BETWEEN / 10));
        let said = said.into_inner();
        assert!(matches!(said.as_slice(), [line] if line.starts_with("  1 of 4 MiB, ")), "{said:?}");
    }
}
