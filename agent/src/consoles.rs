//! The system's consoles: their names, which of them work, and writing to all of them.
//!
//! A console that is named on the command line but does not exist returns errors or ignores output; nothing here fails
//! or waits for long because of one.

use crate::clock::Deadline;
use crate::file;
use crate::root::Root;
use handoff::shown::Shown;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long one console may take to accept a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// The names of the active consoles (`tty1`, `ttyS0`) whose devices can be written to.
#[must_use]
pub fn working(root: &Root) -> Vec<String> {
    let is_terminal =
        |name: &String| open(root, name).is_some_and(|device| rustix::termios::tcgetattr(&device).is_ok());
    active(root).into_iter().filter(is_terminal).collect()
}

/// The active consoles. `tty0` is the virtual terminal that is in front; it is replaced by `tty1`, where the login is.
#[must_use]
pub fn active(root: &Root) -> Vec<String> {
    let list = file::read_text(&root.at("/sys/class/tty/console/active")).unwrap_or_default();
    list.split_ascii_whitespace().map(|name| if name == "tty0" { "tty1" } else { name }.to_owned()).collect()
}

/// Writes `line` on every active console, on its own line. Control characters are escaped.
pub fn announce(root: &Root, line: &str) {
    let text = format!("\r\n{}\r\n", Shown(line));
    for name in active(root) {
        if let Some(device) = open(root, &name) {
            write_all(&device, text.as_bytes());
        }
    }
}

fn open(root: &Root, name: &str) -> Option<OwnedFd> {
    let path = root.at("/dev").join(name);
    rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .ok()
}

fn write_all(device: &OwnedFd, mut text: &[u8]) {
    let deadline = Deadline::after(PATIENCE);
    while !text.is_empty() && !deadline.passed() {
        match rustix::io::write(device, text) {
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let span = deadline.left().try_into().ok();
                let _ = poll(&mut [PollFd::new(device, PollFlags::OUT)], span.as_ref());
            }
            Err(_) => return,
        }
    }
}
