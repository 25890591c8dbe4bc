//! Taking the log socket's name, and giving it back.

use super::*;
use crate::file::names;
use crate::syslog::daemon::Delivery;
use crate::syslog::datagram::{Datagram, Sender};
use std::io;

fn heard(socket: &UnixDatagram) -> String {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

const UTC: LocalOffset = LocalOffset::UTC;

fn take(device: &Path) -> (LogSocket, UnixDatagram) {
    let socket = UnixDatagram::unbound().unwrap();
    (LogSocket::take(device, &socket).unwrap(), socket)
}

fn replay(socket: &LogSocket, text: &str) {
    let text = format!("Nov 29 00:50:59 {text}").into_bytes();
    let datagram = Datagram { text, sender: Sender::ours(), time_ns: 0, received_ms: u64::MAX };
    assert_eq!(socket.connect(UTC).unwrap().deliver(&datagram), Delivery::Taken);
}

fn send(path: &Path, text: &str) -> io::Result<usize> {
    UnixDatagram::unbound()?.send_to(text.as_bytes(), path)
}

#[test]
fn the_socket_is_taken_over_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("log");
    let daemon = UnixDatagram::bind(&device).unwrap();
    let (socket, ours) = take(&device);
    assert_eq!(socket.holder(), Holder::Us);
    send(&device, "paused").unwrap();
    assert_eq!((heard(&ours), heard(&daemon)), ("paused".into(), String::new()));
    replay(&socket, "replayed");
    assert_eq!(heard(&daemon), "Nov 29 00:50:59 replayed");
    assert!(socket.give_back().unwrap());
    send(&device, "after").unwrap();
    assert_eq!(heard(&daemon), "after");
    assert_eq!(names(folder.path()).unwrap(), ["log"], "nothing is left beside it");
}

#[test]
fn a_daemon_that_starts_during_the_pause_gets_the_socket_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("log");
    let first = UnixDatagram::bind(&device).unwrap();
    let (socket, _ours) = take(&device);
    drop(first);
    fs::remove_file(&device).unwrap();
    assert_eq!(socket.holder(), Holder::None);
    let second = UnixDatagram::bind(&device).unwrap();
    assert_eq!(socket.holder(), Holder::Another);
    assert!(socket.take_over().unwrap());
    assert_eq!(socket.holder(), Holder::Us);
    assert!(socket.give_back().unwrap());
    send(&device, "after").unwrap();
    assert_eq!(heard(&second), "after");
}

#[test]
fn a_daemon_that_binds_at_the_last_moment_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("log");
    let _first = UnixDatagram::bind(&device).unwrap();
    let (socket, _ours) = take(&device);
    fs::remove_file(&device).unwrap();
    let second = UnixDatagram::bind(&device).unwrap();
    assert!(!socket.give_back().unwrap());
    send(&device, "to the second").unwrap();
    assert_eq!(heard(&second), "to the second");
}

#[test]
fn the_socket_of_a_dead_proxy_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("log");
    let daemon = UnixDatagram::bind(&device).unwrap();
    drop(take(&device));
    let error = send(&device, "lost").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "the socket of the dead one: {error}");
    let (socket, _ours) = take(&device);
    assert!(socket.give_back().unwrap());
    send(&device, "heard").unwrap();
    assert_eq!(heard(&daemon), "heard");
    assert_eq!(names(folder.path()).unwrap(), ["log"]);
}

#[test]
fn a_link_comes_back_as_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (device, target) = (folder.path().join("log"), folder.path().join("journal"));
    let journal = UnixDatagram::bind(&target).unwrap();
    std::os::unix::fs::symlink(&target, &device).unwrap();
    let (socket, _ours) = take(&device);
    assert_eq!(socket.link_target(), Some(target.clone()));
    replay(&socket, "replayed");
    assert_eq!(heard(&journal), "Nov 29 00:50:59 replayed");
    assert!(socket.give_back().unwrap());
    assert_eq!(fs::read_link(&device).unwrap(), target);
}

#[test]
fn a_link_that_leads_nowhere_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (device, target) = (folder.path().join("log"), folder.path().join("journal"));
    std::os::unix::fs::symlink("journal", &device).unwrap();
    let (socket, _ours) = take(&device);
    assert_eq!((socket.holder(), socket.link_target()), (Holder::Us, Some(target)));
    assert!(socket.connect(UTC).is_none());
    socket.release().unwrap();
    assert_eq!(fs::read_link(&device).unwrap(), Path::new("journal"));
    assert_eq!(names(folder.path()).unwrap(), ["log"]);
}

#[test]
fn without_a_daemon_before_the_pause_no_socket_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("log");
    let (socket, _ours) = take(&device);
    assert!(socket.connect(UTC).is_none());
    socket.release().unwrap();
    assert!(names(folder.path()).unwrap().is_empty());
}
