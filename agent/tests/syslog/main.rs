//! The syslog pause with real daemons: 10,000 messages across restarts, none lost, none doubled, no writer error.
//!
//! Each test runs itself again in its own namespaces (`unshare`), where `/dev`, `/run` and `/var/log` are empty: the
//! daemons then really use `/dev/log`, and nothing of the machine is changed. Needs `unshare`, `mount` and `busybox`.
#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod fixture;
mod hostile;
mod origin;
mod users;
mod writers;

use fixture::{Daemon, Fixture, Log};
use std::path::Path;
use std::time::Duration;
use writers::Writers;

/// Messages of each writer; four writers send 10,000.
const MESSAGES: u32 = 2500;

#[test]
fn busybox_syslogd_restarted_during_the_pause() {
    let Some(fixture) = Fixture::enter("busybox_syslogd_restarted_during_the_pause") else { return };
    let log = Log::new("messages");
    let first = Daemon::busybox(&log);
    let before = Writers::start(0..2, MESSAGES);
    before.wait_for(100);
    let pause = fixture.pause();
    let during = Writers::start(2..4, MESSAGES);
    during.wait_for(300);
    first.terminate();
    before.wait_for(900);
    let second = Daemon::busybox(&log);
    during.wait_for(1500);
    assert_eq!(pause.end(), 0);
    before.finish();
    during.finish();
    log.holds_each_once(4, MESSAGES);
    assert!(!fixture.spool().exists(), "all was replayed");
    second.terminate();
}

#[test]
fn a_daemon_with_its_own_dev_loses_no_message() {
    let Some(fixture) = Fixture::enter("a_daemon_with_its_own_dev_loses_no_message") else {
        return;
    };
    let log = Log::new("messages");
    let first = Daemon::with_its_own_dev(&log);
    let before = Writers::start(0..1, MESSAGES);
    before.wait_for(100);
    let pause = fixture.pause();
    let during = Writers::start_strict(1..4, MESSAGES);
    during.wait_for(300);
    first.terminate();
    let second = Daemon::with_its_own_dev(&log);
    during.wait_for(900);
    second.terminate();
    during.wait_for(1200);
    let third = Daemon::with_its_own_dev(&log);
    during.wait_for(1500);
    assert_eq!(pause.end(), 0);
    before.finish();
    during.finish();
    log.holds_each_once(4, MESSAGES);
    assert_eq!(std::fs::read_link("/dev/log").unwrap(), Path::new("/run/syslogd/log"));
    third.terminate();
}

#[test]
fn a_dead_daemon_behind_a_link_is_not_taken_for_a_living_one() {
    let Some(fixture) = Fixture::enter("a_dead_daemon_behind_a_link_is_not_taken_for_a_living_one") else {
        return;
    };
    let log = Log::new("messages");
    let first = Daemon::with_its_own_dev(&log);
    let before = Writers::start_strict(0..1, 300);
    before.wait_for(100);
    let pause = fixture.pause();
    let during = Writers::start_strict(1..3, 300);
    during.wait_for(100);
    first.terminate();
    before.finish();
    during.finish();
    assert_eq!(pause.end(), 0, "the proxy goes on by itself until a daemon comes");
    assert!(fixture.spool().exists(), "what was said is kept");
    let second = Daemon::with_its_own_dev(&log);
    log.holds_each_once(3, 300);
    fixture.wait_until("the link is back", |_| std::fs::read_link("/dev/log").is_ok());
    assert!(!fixture.spool().exists(), "all was replayed");
    second.terminate();
}

#[test]
fn another_daemon_in_place_of_the_first() {
    let Some(fixture) = Fixture::enter("another_daemon_in_place_of_the_first") else { return };
    let (log, other) = (Log::new("messages"), Log::new("other"));
    let first = Daemon::busybox(&log);
    let before = Writers::start(0..1, MESSAGES);
    before.wait_for(50);
    let pause = fixture.pause();
    let during = Writers::start(1..4, MESSAGES);
    during.wait_for(300);
    // The second one starts before the first one ends: both have senders.
    let second = Daemon::other(&other);
    during.wait_for(900);
    first.terminate();
    during.wait_for(1200);
    assert_eq!(pause.end(), 0);
    before.finish();
    during.finish();
    log.and(&other).holds_each_once(4, MESSAGES);
    assert!(other.lines() > 0 && log.lines() > 0);
    second.terminate();
}

#[test]
fn daemon_killed_and_replaced_twice() {
    let Some(fixture) = Fixture::enter("daemon_killed_and_replaced_twice") else { return };
    let log = Log::new("messages");
    let first = Daemon::other(&log);
    let pause = fixture.pause();
    let during = Writers::start(0..4, MESSAGES);
    during.wait_for(300);
    first.terminate();
    let second = Daemon::other(&log);
    during.wait_for(600);
    second.terminate();
    during.wait_for(900);
    let third = Daemon::other(&log);
    during.wait_for(1500);
    assert_eq!(pause.end(), 0);
    during.finish();
    log.holds_each_once(4, MESSAGES);
    third.terminate();
}

#[test]
fn a_daemon_that_hangs_and_is_killed_takes_nothing_with_it() {
    let Some(fixture) = Fixture::enter("a_daemon_that_hangs_and_is_killed_takes_nothing_with_it") else {
        return;
    };
    let log = Log::new("messages");
    let first = Daemon::busybox(&log);
    // These send to the first daemon, before and after it hangs: its queue fills up, then they wait. It hangs with an
    // empty queue, because no other process has a datagram that a daemon took out of its queue.
    let before = Writers::start_silent_after(10, 0..1, MESSAGES);
    fixture.wait_until("the daemon has written what it took", |_| log.lines() == 10);
    let pause = fixture.pause();
    first.freeze();
    before.go_on();
    let second = Daemon::busybox(&log);
    let during = Writers::start(1..5, MESSAGES);
    during.finish();
    drop(first);
    before.finish();
    assert_eq!(pause.end(), 0);
    log.holds_each_once(5, MESSAGES);
    second.terminate();
}

#[test]
fn the_run_crashes() {
    let Some(fixture) = Fixture::enter("the_run_crashes") else { return };
    let log = Log::new("messages");
    let daemon = Daemon::busybox(&log);
    let pause = fixture.pause();
    let writers = Writers::start(0..4, MESSAGES);
    writers.wait_for(500);
    assert!(fixture.spool().exists());
    pause.kill();
    writers.finish();
    log.holds_each_once(4, MESSAGES);
    fixture.wait_until("the spool is gone", |fixture| !fixture.spool().exists());
    daemon.terminate();
}

#[test]
fn the_proxy_is_killed_and_another_one_goes_on() {
    let Some(fixture) = Fixture::enter("the_proxy_is_killed_and_another_one_goes_on") else { return };
    let log = Log::new("messages");
    let daemon = Daemon::busybox(&log);
    let pause = fixture.pause();
    let writers = Writers::start(0..2, 200);
    writers.finish();
    fixture.wait_until("all is in the spool", |fixture| fixture.spooled(2, 200));
    fixture.kill_proxy();
    assert_eq!(log.lines(), 0);
    // The command goes on; another proxy replays at its end.
    assert_eq!(pause.end(), 0);
    log.holds_each_once(2, 200);
    assert!(!fixture.spool().exists());
    let after = Writers::start(2..3, 10);
    after.finish();
    log.holds_each_once(3, 10);
    daemon.terminate();
}

#[test]
fn the_daemon_comes_after_the_pause() {
    let Some(fixture) = Fixture::enter("the_daemon_comes_after_the_pause") else { return };
    let log = Log::new("messages");
    let first = Daemon::busybox(&log);
    let pause = fixture.pause();
    let writers = Writers::start(0..4, 300);
    writers.wait_for(100);
    first.terminate();
    assert_eq!(pause.end(), 0, "the command's end is not held up");
    writers.finish();
    assert!(fixture.spool().exists());
    let second = Daemon::busybox(&log);
    log.holds_each_once(4, 300);
    fixture.wait_until("the spool is gone", |fixture| !fixture.spool().exists());
    second.terminate();
}

#[test]
fn pauses_within_pauses_and_exit_codes() {
    let Some(fixture) = Fixture::enter("pauses_within_pauses_and_exit_codes") else { return };
    let log = Log::new("messages");
    let daemon = Daemon::busybox(&log);
    let pause = fixture.pause();
    let inner = fixture.pause_around(&["sh", "-c", "exit 7"], None);
    assert_eq!(inner.wait(), 7);
    let writers = Writers::start(0..1, 50);
    writers.finish();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(log.lines(), 0, "the inner pause did not end the outer one");
    assert_eq!(pause.end(), 0);
    log.holds_each_once(1, 50);
    let output = std::path::Path::new("/run/output");
    let logged = fixture.pause_around(&["sh", "-c", "echo out; echo err >&2; kill -9 $$"], Some(output));
    assert_eq!(logged.wait(), 137);
    assert_eq!(std::fs::read_to_string(output).unwrap(), "out\nerr\n");
    daemon.terminate();
}

#[test]
#[ignore = "the daemon of the other tests, started by them"]
fn daemon_main() {
    fixture::serve_as_daemon();
}

#[test]
#[ignore = "a sender of the other tests, started by them"]
fn sender_main() {
    users::send_as_told();
}

#[test]
#[ignore = "the daemon of the other tests that notes senders, started by them"]
fn witness_main() {
    users::serve_as_witness();
}
