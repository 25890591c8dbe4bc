//! Work on many things in several threads. This file has the only thread pool of the builder, [`drain`], and the only
//! [`std::thread::scope`]: all other functions here are built on these, and clippy refuses them elsewhere.
//!
//! Threads with a role of their own, that live as long as what they serve (the deadline of a program, the output of a
//! machine, signals), are not a pool; they use [`std::thread::spawn`].

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use tracing::Span;

/// The number of processors that this process may use.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place that asks for it")]
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` on each of `items` in as many threads as there are processors; the results are in the order of the
/// items. If some fail, the error of the first of them is returned, and items that were not begun by then are skipped.
pub fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    each_with(processors(), items, || (), |(), item| work(item))
}

/// The same in this number of threads, each with its own value from `own`.
pub fn each_with<T: Sync, O, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    own: impl Fn() -> O + Sync,
    work: impl Fn(&mut O, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let results = Mutex::new(Vec::new());
    let failed = AtomicBool::new(false);
    let left = items.iter().enumerate().take_while(|_| !failed.load(Ordering::Relaxed));
    drain(threads.min(items.len()), left, own, |own, (number, item)| {
        let result = work(own, item);
        failed.fetch_or(result.is_err(), Ordering::Relaxed);
        results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Like [`each`], but takes the items, and passes each result to `hear` as soon as it is there, in this thread. After
/// the first error nothing more is passed on.
pub fn each_heard<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
    mut hear: impl FnMut(R),
) -> Result<(), E> {
    let threads = processors().min(items.len());
    let failed = AtomicBool::new(false);
    let (send, results) = channel();
    let at_work = || {
        // The channel is closed with the end of the work.
        let send = send;
        let left = items.into_iter().take_while(|_| !failed.load(Ordering::Relaxed));
        drain(
            threads,
            left,
            || send.clone(),
            |send, item| {
                let result = work(item);
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                // After an error there is no receiver.
                let _ = send.send(result);
            },
        );
    };
    let ((), heard) = both(at_work, || results.into_iter().try_for_each(|result| result.map(&mut hear)));
    heard
}

/// Does `work` on all items at once, each in a thread of its own, whatever the number of processors is: for work that
/// waits, for a disk or another machine. The results are in the order of the items.
pub fn at_once<T: Send, R: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let items: Vec<T> = items.into_iter().collect();
    let results = Mutex::new(Vec::new());
    // As there are as many threads as items, one is free for each item, even if all others wait.
    drain(
        items.len(),
        items.into_iter().enumerate(),
        || (),
        |(), (number, item)| {
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        },
    );
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The pool: this number of threads, each with its own value from `own`, take items until there are no more. Only one
/// thread at a time waits for the next item, so `items` may be a channel.
pub fn drain<I: Iterator<Item: Send> + Send, O>(
    threads: usize,
    items: I,
    own: impl Fn() -> O + Sync,
    work: impl Fn(&mut O, I::Item) + Sync,
) {
    let items = Mutex::new(items);
    // What the threads log is within the span of the caller.
    let span = Span::current();
    let one_after_another = || {
        let _span = span.enter();
        let mut own = own();
        loop {
            let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = next else { return };
            work(&mut own, item);
        }
    };
    scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_after_another)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}

/// Does two things at once, even on a machine with one processor: the first in a thread of its own, the second in this
/// one.
pub fn both<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    scope(|scope| {
        let span = Span::current();
        let first = scope.spawn(move || span.in_scope(first));
        let second = second();
        (first.join().unwrap_or_else(|panic| resume_unwind(panic)), second)
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the place for it")]
fn scope<'e, R>(work: impl for<'s> FnOnce(&'s thread::Scope<'s, 'e>) -> R) -> R {
    thread::scope(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn results_have_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled = each(&items, |item| Ok::<u32, ()>(item * 2)).unwrap();
        assert!(doubled.iter().zip(&items).all(|(double, item)| *double == item * 2));
        assert_eq!(doubled.len(), items.len());
        assert_eq!(each(&[], |item: &u32| Ok::<u32, ()>(*item)), Ok(Vec::new()));
        // The last item is done first.
        let meeting = Barrier::new(2);
        let last_first = |item: u32| {
            if item < 2 {
                meeting.wait();
            }
            item
        };
        assert_eq!(at_once([0, 1, 2], last_first), [0, 1, 2]);
    }

    #[test]
    fn all_are_at_work_at_once_whatever_the_number_of_processors() {
        let meeting = Barrier::new(33);
        let meet = |item: usize| {
            meeting.wait();
            item
        };
        assert_eq!(at_once(0..33, meet), (0..33).collect::<Vec<_>>());
        let meeting = Barrier::new(2);
        let meet = |result: u32| {
            meeting.wait();
            result
        };
        assert_eq!(both(|| meet(6), || meet(7)), (6, 7));
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let items: Vec<u32> = (0..100_000).collect();
        let done = AtomicUsize::new(0);
        let work = |item: &u32| {
            done.fetch_add(1, Ordering::Relaxed);
            if *item % 10 == 3 { Err(*item) } else { Ok(()) }
        };
        assert_eq!(each(&items, work), Err(3));
        assert!(done.load(Ordering::Relaxed) < items.len());
    }

    #[test]
    fn results_are_heard_while_others_are_at_work_and_none_after_an_error() {
        // The second item ends only after the result of the first one was heard.
        let (tell, told) = channel();
        let (tell, told) = (Mutex::new(tell), Mutex::new(told));
        let mut heard = Vec::new();
        let work = |item: u32| {
            if item == 1 && processors() > 1 {
                told.lock().unwrap().recv().unwrap();
            }
            Ok::<_, Infallible>(item)
        };
        let hear = |item| {
            heard.push(item);
            let _ = tell.lock().unwrap().send(());
        };
        assert_eq!(each_heard(vec![0, 1], work, hear), Ok(()));
        heard.sort_unstable();
        assert_eq!(heard, [0, 1]);

        let done = AtomicUsize::new(0);
        let mut heard = Vec::new();
        let work = |item: u32| {
            done.fetch_add(1, Ordering::Relaxed);
            if item == 0 { Err("no") } else { Ok(item) }
        };
        assert_eq!(each_heard((0..100_000).collect(), work, |item| heard.push(item)), Err("no"));
        assert!(done.load(Ordering::Relaxed) < 100_000 && heard.len() < 99_999);
    }

    #[test]
    fn what_a_thread_panics_with_is_passed_on() {
        let panicked =
            std::panic::catch_unwind(|| drain(2, 0..4, || (), |(), item| assert!(item != 2, "two")));
        let said = panicked.unwrap_err();
        assert_eq!(said.downcast_ref::<&str>(), Some(&"two"));
    }
}
