//! Ctrl-C and its like: no more requests are begun, and the sticks are left as no disks, which is then said.

use nix::sys::signal::{SigSet, Signal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What is set when somebody wants the work to end. Called before any thread is started, which then leaves these signals
/// to the one that waits for them here.
#[must_use]
pub fn on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    if signals.thread_block().is_ok() {
        let heard = Arc::clone(&stop);
        thread::spawn(move || {
            while signals.wait().is_ok() {
                heard.store(true, Ordering::Relaxed);
            }
        });
    }
    stop
}
