//! The deadline of each step: a child process that restarts the machine when a step does not end.
//!
//! Waiting has its own deadlines. The watchdog is for what cannot be interrupted: a read from a stick that hangs in the
//! kernel. A thread would work as well, but it would make every fork of PID 1 a fork of a program with threads. The
//! child is forked before any key is read, so it has none in its memory.

use crate::clock::Uptime;
use crate::console::Console;
use crate::process;
use handoff::marker;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// A message on the pipe: milliseconds, then the step's name padded with spaces.
const MESSAGE: usize = 8 + 24;

/// The watchdog's child process, or `None` if it could not be started.
pub(crate) struct Watchdog {
    child: Option<(Pid, File)>,
}

impl Watchdog {
    /// Starts the child.
    pub(crate) fn start() -> nix::Result<Self> {
        let (read, write) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let (read, mut write) = (File::from(read), Some(File::from(write)));
        let child = process::fork(|| {
            // The child's copy of the writing end: if it stayed open, the child would never see the parent close its
            // own.
            write = None;
            watch(read)
        })?;
        Ok(Self { child: write.map(|write| (child, write)) })
    }

    /// A watchdog that does nothing.
    pub(crate) fn none() -> Self {
        Self { child: None }
    }

    /// Tells the child which step runs now, and how long it may take.
    pub(crate) fn expect(&mut self, step: &str, deadline: Duration) {
        if let Some((_, pipe)) = &mut self.child {
            let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            let mut message = milliseconds.to_le_bytes().to_vec();
            message.extend_from_slice(step.as_bytes());
            message.resize(MESSAGE, b' ');
            // If a message is lost, the deadline of the step before stays.
            let _ = pipe.write_all(&message);
        }
    }

    /// Ends the watchdog and its child.
    pub(crate) fn stop(&mut self) {
        if let Some((child, _)) = self.child.take() {
            // The end of the pipe would not reach the child while another child of PID 1, which may hang in the kernel,
            // has a copy of the writing end.
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
        }
    }
}

/// The work of the child process: until the pipe closes, or a deadline passes.
fn watch(mut pipe: File) -> i32 {
    let mut expected: Option<(String, Duration, Uptime)> = None;
    loop {
        let timeout = expected.as_ref().map_or(PollTimeout::NONE, |(_, _, until)| {
            PollTimeout::try_from(until.remaining()).unwrap_or(PollTimeout::MAX)
        });
        let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            _ => {
                let mut message = [0; MESSAGE];
                if pipe.read_exact(&mut message).is_err() {
                    return 0;
                }
                let (milliseconds, step) = message.split_at(8);
                let milliseconds = milliseconds.try_into().map_or(u64::MAX, u64::from_le_bytes);
                let deadline = Duration::from_millis(milliseconds);
                let step = String::from_utf8_lossy(step).trim_end().to_owned();
                expected = Some((step, deadline, Uptime::now().plus(deadline)));
                continue;
            }
        }
        if let Some((step, deadline, _)) = expected.take_if(|(_, _, until)| until.remaining().is_zero()) {
            let mut console = Console::open();
            let problem = format!("did not end within its {} s; the machine restarts", deadline.as_secs());
            console.line(&format!("{}deadline (step {step}): it {problem}", marker::FAULT));
            console.line(&format!("{}what to do: look above for what the kernel waits for", marker::FAULT));
            // Not sync(2): it would wait for the device that hangs.
            let _ = reboot(RebootMode::RB_AUTOBOOT);
        }
    }
}
