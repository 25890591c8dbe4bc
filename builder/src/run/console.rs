//! A machine's serial console on the user's terminal: QEMU reads the keys itself, and the machine's output comes
//! through a pipe and a [`Filter`].
//!
//! QEMU sets the terminal so that it gets each key, Ctrl-C too, and restores it when it exits by itself. If it is
//! killed, this code restores the terminal.

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

/// How long the terminal may take for the last output of a machine that has ended. The user may have stopped it
/// (Ctrl-S).
const PATIENCE: Duration = Duration::from_secs(2);

/// A console that is shown as long as this exists; then the terminal is restored. To be dropped after the machine's
/// end.
#[derive(Debug)]
pub(super) struct Console {
    settings: Settings,
    /// Closed by the thread that shows the console, when it ends.
    shown: Option<Receiver<()>>,
}

impl Console {
    /// From now on QEMU uses the terminal, with all of the machine's output.
    pub(super) fn of_qemu(settings: Settings) -> Self {
        Self { settings, shown: None }
    }

    /// The same, but the output from `serial` goes through the filter.
    pub(super) fn filtered(settings: Settings, serial: impl Read + Send + 'static) -> Self {
        let (end, shown) = channel();
        thread::spawn(move || {
            let _end = end;
            // A terminal that is gone cannot show anything.
            let _ = copy(serial, &io::stdout());
        });
        Self { settings, shown: Some(shown) }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(shown) = &self.shown {
            // Nothing is ever sent: this waits for the end of the thread, but not for long.
            let _ = shown.recv_timeout(PATIENCE);
        }
        self.settings.restore();
    }
}

/// Shows the output from `serial` up to its end.
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

/// QEMU makes its input nonblocking, and that is usually the same open terminal as our output.
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
        // The pipe is full before the test reads from it.
        thread::sleep(Duration::from_millis(100));
        let mut text = String::new();
        shown.read_to_string(&mut text).unwrap();
        writer.join().unwrap();
        copying.join().unwrap();
        assert!(text == wanted, "{} bytes", text.len());
    }
}
