//! A machine's serial console on the terminal of a person: QEMU reads the keys itself, and what the machine says comes
//! through a pipe and a [`Filter`].
//!
//! QEMU sets the terminal so that each key reaches it, Ctrl-C too, and sets it back when it ends by itself. Where it is
//! killed, this does.

use super::filter::Filter;
use crate::input::filled;
use crate::terminal::Settings;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long the terminal may take for the last words of a machine that has ended. It may be stopped (Ctrl-S).
const PATIENCE: Duration = Duration::from_secs(2);

/// A console that is shown for as long as this lives; then the terminal is as it was before. To be dropped after the
/// machine's end.
#[derive(Debug)]
pub(super) struct Console {
    settings: Settings,
    /// Ends with the thread that shows the console.
    shown: Option<Receiver<()>>,
}

impl Console {
    /// The terminal is QEMU's from now on, with all that the machine says.
    pub(super) fn of_qemu(settings: Settings) -> Self {
        Self { settings, shown: None }
    }

    /// The same, but what comes out of `serial` goes through the filter.
    pub(super) fn filtered(settings: Settings, serial: impl Read + Send + 'static) -> Self {
        let (end, shown) = channel();
        thread::spawn(move || {
            let _end = end;
            // A terminal that is gone shows nothing more.
            let _ = copy(serial, &io::stdout());
        });
        Self { settings, shown: Some(shown) }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(shown) = &self.shown {
            // Nothing is ever sent: this is the thread's end, or too late.
            let _ = shown.recv_timeout(PATIENCE);
        }
        self.settings.restore();
    }
}

/// Shows what comes from `serial` up to its end.
fn copy(mut serial: impl Read, terminal: &impl AsFd) -> io::Result<()> {
    let (mut filter, mut buffer) = (Filter::default(), [0; 4096]);
    loop {
        match serial.read(&mut buffer) {
            Ok(0) => return write_all(terminal, &filter.end()),
            Ok(count) => write_all(terminal, &filter.pass(filled(&buffer, count)?))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// QEMU makes its input, which mostly is the same open terminal as our output, one that does not wait.
fn write_all(terminal: &impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(terminal, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(terminal.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_terminal_that_does_not_wait_gets_everything() {
        let (mut shown, terminal) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&terminal, true).unwrap();
        let (serial, mut machine) = io::pipe().unwrap();
        let said = "0123456789\u{1b}[6t\n".repeat(20_000);
        let wanted = said.replace('\u{1b}', "\\u001b") + "\u{1b}[m";
        let writer = thread::spawn(move || machine.write_all(said.as_bytes()).unwrap());
        let copying = thread::spawn(move || copy(serial, &terminal).unwrap());
        // The pipe is full before anybody reads.
        thread::sleep(Duration::from_millis(100));
        let mut text = String::new();
        shown.read_to_string(&mut text).unwrap();
        writer.join().unwrap();
        copying.join().unwrap();
        assert!(text == wanted, "{} bytes", text.len());
    }
}
