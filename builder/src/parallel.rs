//! The same work on many things, by several threads.

use std::convert::Infallible;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `work` on each of `items` in as many threads as there are processors; the results are in the order of the
/// items. If some fail, the error of the first of them is returned, and items that were not begun by then are skipped.
pub fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    each_with(processors, items, || (), |(), item| work(item))
}

/// The same in this number of threads, each with its own value from `own`.
pub fn each_with<T: Sync, O, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    own: impl Fn() -> O + Sync,
    work: impl Fn(&mut O, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let workers = threads.min(items.len());
    let next = AtomicUsize::new(0);
    let one_after_another = || {
        let (mut done, mut own) = (Vec::new(), own());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return done };
            let result = work(&mut own, item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.push((number, result));
        }
    };
    let mut results: Vec<(usize, Result<R, E>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(one_after_another)).collect();
        let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
        joined.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Does `work` on two things at once, even on a machine with one processor.
pub fn both<T: Sync, R: Send>(items: &[T; 2], work: impl Fn(&T) -> R + Sync) -> [R; 2] {
    let Ok(results) = each_with(2, items, || (), |(), item| Ok::<R, Infallible>(work(item)));
    let mut results = results.into_iter();
    let (Some(a), Some(b)) = (results.next(), results.next()) else {
        unreachable!("work that cannot fail has a result for each item");
    };
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled = each(&items, |item| Ok::<u32, ()>(item * 2)).unwrap();
        assert!(doubled.iter().zip(&items).all(|(double, item)| *double == item * 2));
        assert_eq!(doubled.len(), items.len());
        assert_eq!(each(&[], |item: &u32| Ok::<u32, ()>(*item)), Ok(Vec::new()));
    }

    #[test]
    fn both_are_at_work_at_once() {
        let meeting = std::sync::Barrier::new(2);
        let meet = |item: &u32| {
            meeting.wait();
            item + 1
        };
        assert_eq!(both(&[1, 2], meet), [2, 3]);
    }

    #[test]
    fn the_first_error_ends_it() {
        let items: Vec<u32> = (0..100_000).collect();
        let done = AtomicUsize::new(0);
        let work = |item: &u32| {
            done.fetch_add(1, Ordering::Relaxed);
            if *item % 10 == 3 { Err(*item) } else { Ok(()) }
        };
        assert_eq!(each(&items, work), Err(3));
        assert!(done.load(Ordering::Relaxed) < items.len());
    }
}
