//! The events that the proxy waits for besides datagrams: changes of the name, the end of the run, signals.

use crate::file::{FileError, failing};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A watch for changes in the folder of the name.
#[derive(Debug)]
pub(super) struct FolderWatch(OwnedFd);

impl FolderWatch {
    /// Begins to watch the folder of `device`.
    pub(super) fn begin(device: &Path) -> Result<Self, FileError> {
        let folder = device.parent().unwrap_or(Path::new("/"));
        let watch = failing("watch", folder, init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC))?;
        let changes = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        failing("watch", folder, add_watch(&watch, folder, changes))?;
        Ok(Self(watch))
    }

    /// A descriptor that is readable when something changed.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Reads all pending changes; what they are is found by looking at the name. `true` if there were any.
    pub(super) fn drain(&self) -> bool {
        let mut buffer = [0; 4096];
        let mut changed = false;
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|length| length > 0) {
            changed = true;
        }
        changed
    }
}

/// Signals that ask the proxy to end the pause properly.
pub(super) fn ending_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// Whether the other end of the pipe on the standard input is closed: the run is over, or died. Does not wait.
pub(super) fn input_is_closed() -> bool {
    let stdin = io::stdin();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
    let mut buffer = [0; 64];
    poll(&mut ready, Some(&now)).is_ok_and(|ready| ready > 0)
        && !matches!(rustix::io::read(&stdin, &mut buffer), Ok(1..) | Err(Errno::AGAIN | Errno::INTR))
}
