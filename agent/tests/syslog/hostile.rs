//! Attacks of users on a pause: flooding, forging, planting files; and kills.

use crate::fixture::{Daemon, Fixture, Log, state};
use crate::users::{Sender, Task, note_what_comes, seen, wait_for_seen, witness};
use crate::writers::Writers;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

const NOBODY: u32 = 65534;
/// The share of a user if the spool is beside the logs: an eighth of 16 MiB.
const SHARE: u64 = 2 << 20;
/// The bytes of a record besides the datagram.
const RECORD: u64 = 40;
/// The limit for the memory of the proxy, which itself needs a few MiB.
const MEMORY_KIB: u64 = 32 << 10;

fn dropped() -> u64 {
    state()["dropped"].as_u64().unwrap()
}

#[test]
fn senders_that_never_stop_cannot_keep_a_pause_from_ending() {
    let Some(fixture) = Fixture::enter("hostile::senders_that_never_stop_cannot_keep_a_pause_from_ending")
    else {
        return;
    };
    // As on the base `micro`: with the kernel's default of ten datagrams the senders would mostly wait.
    std::fs::write("/proc/sys/net/unix/max_dgram_qlen", "512").unwrap();
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    let floods = [1, 2].map(|writer| Sender::start(NOBODY, writer, Task::Flood(1000)));
    let by_root = Writers::start(0..1, 500);
    fixture.wait_until("they flood", |fixture| {
        std::fs::metadata(fixture.spool()).is_ok_and(|facts| facts.len() > 1 << 20)
    });
    assert_eq!(pause.end(), 0, "the pause ends while they go on");
    by_root.finish();
    // The daemon has its name again: a message now reaches it although the floods go on.
    let direct = Sender::start(0, 3, Task::Say(1, 0));
    wait_for_seen(&log, 1, |seen| seen.text.contains(" writer3: 0"));
    let said: u64 = floods.into_iter().map(Sender::end).sum();
    direct.end();
    fixture.wait_until("the proxy has ended", |fixture| fixture.proxy().is_none());
    let dropped = dropped();
    let of_floods = |log: &Log| {
        let all = seen(log);
        let texts = all.iter().filter(|seen| seen.uid == NOBODY).map(|seen| seen.text.clone());
        let distinct: std::collections::BTreeSet<String> = texts.clone().collect();
        assert_eq!(texts.count(), distinct.len(), "none is doubled");
        u64::try_from(distinct.len()).unwrap()
    };
    fixture.wait_until("all that was not dropped is there", |_| of_floods(&log) + dropped == said);
    log.holds_each_once_of(0..1, 500);
    daemon.terminate();
}

#[test]
fn messages_beyond_a_users_share_are_dropped_counted_and_reported() {
    let Some(fixture) =
        Fixture::enter("hostile::messages_beyond_a_users_share_are_dropped_counted_and_reported")
    else {
        return;
    };
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    let flood = Sender::start(NOBODY, 1, Task::Say(20_000, 1000));
    let by_root = Writers::start(0..1, 300);
    by_root.finish();
    let (kept, limit) = (SHARE / (1000 + RECORD), MEMORY_KIB);
    let memory = fixture.memory_of_proxy();
    assert!(memory < limit, "{memory} KiB for 20 MB");
    assert!(std::fs::metadata(fixture.spool()).unwrap().len() < SHARE + 100_000);
    assert_eq!(pause.end(), 0);
    let report = format!(
        "syslog pause: dropped {} messages ({} bytes): the share of uid {NOBODY} of the spool was full",
        20_000 - kept,
        (20_000 - kept) * 1000
    );
    wait_for_seen(&log, 1, |seen| seen.text.ends_with(&report) && seen.uid == 0);
    let of_flood = seen(&log).iter().filter(|seen| seen.uid == NOBODY).count();
    assert_eq!(u64::try_from(of_flood).unwrap(), kept);
    let state = state();
    assert_eq!((&state["stage"], &state["dropped"]), (&"ended".into(), &(20_000 - kept).into()));
    assert_eq!(state["drops"]["users"]["65534"]["bytes"], (20_000 - kept) * 1000);
    log.holds_each_once_of(0..1, 300);
    flood.end();
    daemon.terminate();
}

#[test]
fn a_full_medium_costs_neither_memory_nor_the_messages_of_others() {
    let Some(fixture) =
        Fixture::enter("hostile::a_full_medium_costs_neither_memory_nor_the_messages_of_others")
    else {
        return;
    };
    std::fs::create_dir_all("/var/log/psyops").unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none", "/var/log/psyops"]).status();
    assert!(mounted.unwrap().success());
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    let flood = Sender::start(NOBODY, 9, Task::Say(100_000, 1000));
    let by_root = Writers::start(0..2, 300);
    by_root.finish();
    let memory = fixture.memory_of_proxy();
    assert!(memory < MEMORY_KIB, "{memory} KiB for 100 MB");
    assert_eq!(pause.end(), 0);
    log.holds_each_once_of(0..2, 300);
    let of_flood = seen(&log).iter().filter(|seen| seen.uid == NOBODY).count();
    assert_eq!(u64::try_from(of_flood).unwrap() + dropped(), 100_000);
    flood.end();
    daemon.terminate();
}

#[test]
fn a_proxy_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let Some(fixture) =
        Fixture::enter("hostile::a_proxy_that_is_killed_again_and_again_loses_and_doubles_nothing")
    else {
        return;
    };
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    let writers = Writers::start_strict(0..4, 2500);
    for round in 1..=5 {
        writers.wait_for(round * 400);
        let killed = fixture.proxy();
        fixture.kill_proxy();
        fixture.wait_until("another proxy runs", |fixture| {
            fixture.proxy().is_some_and(|pid| Some(pid) != killed)
        });
    }
    writers.finish();
    assert_eq!(pause.end(), 0);
    log.holds_each_once(4, 2500);
    assert!(!fixture.spool().exists());
    daemon.terminate();
}

#[test]
fn a_socket_whose_path_only_reads_like_the_log_socket_is_left_alone() {
    let Some(fixture) =
        Fixture::enter("hostile::a_socket_whose_path_only_reads_like_the_log_socket_is_left_alone")
    else {
        return;
    };
    // As with journald, whose socket PID 1 has: no other process has the socket.
    let log = Log::new("witness");
    let socket = UnixDatagram::bind("/dev/log").unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions("/dev/log", open_to_all).unwrap();
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::PassCred, &true).unwrap();
    let path = log.path().to_owned();
    std::thread::spawn(move || note_what_comes(&socket, &path));
    let forger = Sender::start(NOBODY, 1, Task::Forge);
    let pause = fixture.pause();
    let proxy = fixture.proxy().unwrap();
    let descriptors = std::fs::canonicalize(format!("/proc/{proxy}/fd")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "only the number of entries counts")]
    let before = std::fs::read_dir(&descriptors).unwrap().count();
    forger.end();
    let writers = Writers::start(0..2, 200);
    writers.finish();
    #[expect(clippy::disallowed_methods, reason = "only the number of entries counts")]
    let after = std::fs::read_dir(&descriptors).unwrap().count();
    assert_eq!(before, after, "nothing of the forger was held");
    assert_eq!(pause.end(), 0);
    fixture.wait_until("the pause ended well", |fixture| !fixture.spool().exists());
    log.holds_each_once(2, 200);
    assert!(!seen(&log).iter().any(|seen| seen.text.contains("forged")));
}

#[test]
fn descriptors_that_a_sender_attaches_are_closed_and_its_message_is_kept() {
    let Some(fixture) =
        Fixture::enter("hostile::descriptors_that_a_sender_attaches_are_closed_and_its_message_is_kept")
    else {
        return;
    };
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    let proxy = fixture.proxy().unwrap();
    let open = || {
        #[expect(clippy::disallowed_methods, reason = "only the number of entries counts")]
        let entries = std::fs::read_dir(format!("/proc/{proxy}/fd")).unwrap().count();
        entries
    };
    let before = open();
    // More descriptors than a process may have open by default.
    let sender = Sender::start(1234, 0, Task::Descriptors(20, 253));
    fixture.wait_until("all is in the spool", |fixture| fixture.spooled(1, 20));
    fixture.wait_until("all descriptors are closed", |_| open() == before);
    assert_eq!(pause.end(), 0);
    log.holds_each_once(1, 20);
    // A sender that attaches descriptors is recorded as unknown, never as root.
    assert!(seen(&log).iter().all(|seen| seen.uid == NOBODY));
    sender.end();
    daemon.terminate();
}

#[test]
fn a_descriptor_that_takes_hours_to_close_does_not_delay_the_pause() {
    let Some(fixture) =
        Fixture::enter("hostile::a_descriptor_that_takes_hours_to_close_does_not_delay_the_pause")
    else {
        return;
    };
    assert!(Command::new("busybox").args(["ip", "link", "set", "lo", "up"]).status().unwrap().success());
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    // The sender closes its own descriptors first, so that those in the queue are the last ones.
    let proxy = fixture.proxy().unwrap();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &proxy]).status().unwrap().success());
    signal("-STOP");
    let sender = Sender::start(NOBODY, 0, Task::Linger(5));
    signal("-CONT");
    let writers = Writers::start(1..2, 100);
    writers.finish();
    assert_eq!(pause.end(), 0);
    log.holds_each_once_of(0..1, 5);
    log.holds_each_once_of(1..2, 100);
    sender.end();
    daemon.terminate();
}

#[test]
fn a_daemon_killed_just_before_the_end_loses_no_message() {
    let Some(fixture) = Fixture::enter("hostile::a_daemon_killed_just_before_the_end_loses_no_message")
    else {
        return;
    };
    let log = Log::new("witness");
    let mut daemon = witness(&log);
    let before = Writers::start(0..2, 2500);
    let during = Writers::start(2..4, 2500);
    for _ in 0..8 {
        let pause = fixture.pause();
        std::thread::sleep(std::time::Duration::from_millis(50));
        daemon.kill();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let ended = std::thread::spawn(move || pause.end());
        daemon = witness(&log);
        assert_eq!(ended.join().unwrap(), 0);
    }
    before.finish();
    during.finish();
    fixture.wait_until("the proxy has ended", |fixture| fixture.proxy().is_none());
    log.holds_each(4, 2500);
    daemon.terminate();
}

#[test]
fn a_proxy_killed_while_it_replays_loses_nothing() {
    let Some(fixture) = Fixture::enter("hostile::a_proxy_killed_while_it_replays_loses_nothing") else {
        return;
    };
    let log = Log::new("messages");
    let daemon = Daemon::busybox(&log);
    let pause = fixture.pause();
    let writers = Writers::start(0..4, 2500);
    writers.finish();
    let ended = std::thread::spawn(move || pause.end());
    fixture.wait_until("it replays", |_| log.lines() > 100);
    fixture.kill_proxy();
    assert_eq!(ended.join().unwrap(), 0);
    log.holds_each(4, 2500);
    // Only the datagram that was sent and not yet marked can be there twice.
    assert!(log.lines() <= 10_001, "{} lines", log.lines());
    daemon.terminate();
}

#[test]
fn the_spool_is_on_data_only_where_no_other_user_can_write_there() {
    let Some(fixture) =
        Fixture::enter("hostile::the_spool_is_on_data_only_where_no_other_user_can_write_there")
    else {
        return;
    };
    let root = std::path::Path::new("/run/root");
    for (mode, spool) in [
        (Some("mode=0755"), "data/psyops/syslog.spool"),
        (Some("mode=1777"), "var/log/psyops/syslog.spool"),
        (None, "var/log/psyops/syslog.spool"),
    ] {
        for folder in ["dev", "data"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        if let Some(mode) = mode {
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", mode, "none"])
                .arg(root.join("data"))
                .status();
            assert!(mount.unwrap().success());
        }
        let _daemon = UnixDatagram::bind(root.join("dev/log")).unwrap();
        let mut pause = Command::new(fixture.agent());
        pause.arg("--root").arg(root).args(["pause-syslog", "--", "test", "-f"]).arg(root.join(spool));
        assert!(pause.status().unwrap().success(), "{mode:?}: not in {spool}");
        assert!(!root.join(spool).exists());
        std::fs::remove_file(root.join("dev/log")).unwrap();
        if mode.is_some() {
            assert!(Command::new("umount").arg(root.join("data")).status().unwrap().success());
        }
    }
}
