//! Replayed messages keep their sender, their order and their bytes.

use crate::fixture::{Fixture, Log};
use crate::users::{ODD, Seen, Sender, Task, message, seen, wait_for_seen, witness};
use crate::writers::Writers;

const NOBODY: u32 = 65534;

/// The messages of this writer that the witness received, in order.
fn of(all: &[Seen], writer: u32) -> Vec<Seen> {
    let (plain, with_pid) = (format!(" writer{writer}: "), format!(" writer{writer}["));
    all.iter().filter(|seen| seen.text.contains(&plain) || seen.text.contains(&with_pid)).cloned().collect()
}

#[test]
fn replayed_messages_keep_user_group_process_and_order() {
    let Some(fixture) = Fixture::enter("origin::replayed_messages_keep_user_group_process_and_order") else {
        return;
    };
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    let senders: Vec<(u32, u32, Sender)> = [(0, 0), (NOBODY, 1), (1234, 2)]
        .map(|(uid, writer)| (uid, writer, Sender::start(uid, writer, Task::Say(200, 0))))
        .into();
    let gone = Sender::start(NOBODY, 3, Task::Say(200, 0));
    let gone_pid = gone.pid;
    assert_eq!(gone.end(), 200);
    assert_eq!(seen(&log), [], "nothing is replayed before the end");
    assert_eq!(pause.end(), 0);
    wait_for_seen(&log, 800, |_| true);
    let all = seen(&log);
    assert_eq!(all.len(), 800);
    for (uid, writer, sender) in &senders {
        let wanted: Vec<Seen> = (0..200)
            .map(|number| {
                let text = message(*writer, number, 0);
                let (length, text) = (text.len(), text.escape_ascii().to_string());
                Seen { uid: *uid, gid: *uid, pid: sender.pid, length, text }
            })
            .collect();
        assert_eq!(of(&all, *writer), wanted);
    }
    // The kernel refuses the number of a process that has ended: user and group are kept, and the number is in the
    // text.
    let of_gone = of(&all, 3);
    assert_eq!(of_gone.len(), 200);
    for (number, seen) in of_gone.iter().enumerate() {
        assert_eq!((seen.uid, seen.gid), (NOBODY, NOBODY));
        assert_ne!(seen.pid, gone_pid);
        assert_eq!(seen.text, format!("<13>Nov 22 05:00:00 writer3[{gone_pid}]: {number} "));
    }
    for (_, _, sender) in senders {
        sender.end();
    }
    daemon.terminate();
}

#[test]
fn one_datagram_is_one_message_whatever_is_in_it_and_however_long_it_is() {
    let Some(fixture) =
        Fixture::enter("origin::one_datagram_is_one_message_whatever_is_in_it_and_however_long_it_is")
    else {
        return;
    };
    let log = Log::new("witness");
    let daemon = witness(&log);
    let pause = fixture.pause();
    // The longest datagram that an unprivileged sender can send with the kernel's defaults.
    let huge = Sender::start(NOBODY, 1, Task::Huge(400_000));
    let odd = Sender::start(NOBODY, 2, Task::Odd);
    let after = Writers::start(5..6, 10);
    after.finish();
    assert_eq!(pause.end(), 0);
    wait_for_seen(&log, 12, |_| true);
    let all = seen(&log);
    assert_eq!(all.len(), 12);
    assert_eq!((all[0].uid, all[0].pid, all[0].length), (NOBODY, huge.pid, 400_000));
    assert_eq!((all[1].uid, all[1].pid, all[1].length), (NOBODY, odd.pid, ODD.len()));
    assert_eq!(all[1].text, ODD.escape_ascii().to_string());
    log.holds_each_once_of(5..6, 10);
    daemon.terminate();
}

#[test]
fn rsyslog_sees_the_sender_of_a_replayed_message() {
    let Some(fixture) = Fixture::enter("origin::rsyslog_sees_the_sender_of_a_replayed_message") else {
        return;
    };
    let log = Log::new("rsyslog");
    let settings = "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
        input(type=\"imuxsock\" Socket=\"/dev/log\" Annotate=\"on\" ParseTrusted=\"on\" RateLimit.Interval=\"0\" \
              unlink=\"on\")\n\
        template(name=\"t\" type=\"string\" string=\"uid=%$!uid% gid=%$!gid% pid=%$!pid% %syslogtag%%msg%\\n\")\n\
        action(type=\"omfile\" file=\"/var/log/rsyslog\" template=\"t\")\n";
    std::fs::write("/run/rsyslog.conf", settings).unwrap();
    let rsyslogd =
        ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|path| std::path::Path::new(path).exists());
    let mut command = std::process::Command::new(rsyslogd.expect("rsyslogd is needed (package rsyslog)"));
    let daemon = crate::fixture::Daemon::program(command.args([
        "-n",
        "-i",
        "/run/rsyslog.pid",
        "-f",
        "/run/rsyslog.conf",
    ]));
    let pause = fixture.pause();
    let sender = Sender::start(NOBODY, 1, Task::Say(50, 0));
    let by_root = Sender::start(0, 2, Task::Say(50, 0));
    assert_eq!(pause.end(), 0);
    fixture.wait_until("rsyslog has all", |_| log.lines() == 100);
    let text = std::fs::read_to_string(log.path()).unwrap();
    for (writer, uid, pid) in [(1, NOBODY, sender.pid), (2, 0, by_root.pid)] {
        let name = format!("writer{writer}:");
        let found: Vec<&str> = text.lines().filter(|line| line.contains(&name)).map(str::trim_end).collect();
        let wanted: Vec<String> =
            (0..50).map(|number| format!("uid={uid} gid={uid} pid={pid} {name} {number}")).collect();
        assert_eq!(found, wanted);
    }
    sender.end();
    by_root.end();
    daemon.terminate();
}
