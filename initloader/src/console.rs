//! The one writer of messages for people: to every active console and the kernel's log.
//!
//! Every error is ignored: a `console=` may name a UART that does not exist (EIO), and PID 1 must not end because of
//! it. Writing never waits long: a terminal that takes nothing for [`PATIENCE`] gets only what fits from then on.

use crate::sysfs;
use handoff::shown::Shown;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Which consoles the kernel prints on, the one behind `/dev/console` last.
const ACTIVE: &str = "/sys/class/tty/console/active";
/// How long a line may wait for a slow terminal: 4 KiB take a third of a second at 115200 baud.
const PATIENCE: u16 = 2000;
/// A record of `/dev/kmsg` holds about 1000 bytes; a longer one is refused as a whole.
const LONGEST_RECORD: usize = 900;

/// The paths of the terminals that the kernel prints on; `/dev/console` if it names none.
pub(crate) fn terminals() -> Vec<String> {
    let active = sysfs::attribute(ACTIVE).unwrap_or_default();
    let named: Vec<String> = active.split_whitespace().map(|name| format!("/dev/{name}")).collect();
    if named.is_empty() { vec!["/dev/console".into()] } else { named }
}

/// Every console that messages go to.
pub(crate) struct Console {
    kernel_log: Option<File>,
    terminals: Vec<Terminal>,
}

struct Terminal {
    file: File,
    slow: bool,
}

impl Console {
    /// Opens every console that can be opened; it is not an error if there is none.
    pub(crate) fn open() -> Self {
        let open = |path: &str| {
            let flags = nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK;
            OpenOptions::new().write(true).custom_flags(flags).open(path).ok()
        };
        let terminals = terminals().into_iter().filter_map(|path| open(&path));
        Self {
            kernel_log: open("/dev/kmsg"),
            terminals: terminals.map(|file| Terminal { file, slow: false }).collect(),
        }
    }

    /// A console that is only the standard output of this process.
    pub(crate) fn standard_output() -> Self {
        let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
        Self {
            kernel_log: None,
            terminals: file.into_iter().map(|file| Terminal { file, slow: false }).collect(),
        }
    }

    /// Writes a line everywhere. Control characters are escaped: the line may have names of files and disks in it.
    pub(crate) fn line(&mut self, text: &str) {
        self.write(&Shown(text).to_string());
    }

    /// Writes a line for this process's parent: `kind`, which never comes from outside, then a tab and the text.
    pub(crate) fn record(&mut self, kind: &str, text: &str) {
        self.write(&format!("{kind}\t{}", Shown(text)));
    }

    fn write(&mut self, line: &str) {
        for terminal in &mut self.terminals {
            terminal.write(line);
        }
        self.kernel_log(line);
    }

    /// Writes a line to the kernel's log only.
    pub(crate) fn kernel_log(&mut self, text: &str) {
        // Facility 3 (daemons). The kernel does not print level 7 on the consoles a second time; without a console of
        // our own it should print the line, so it gets level 6 then.
        let level = if self.terminals.is_empty() { "<30>" } else { "<31>" };
        if let Some(file) = &mut self.kernel_log {
            for part in pieces(&Shown(text).to_string(), LONGEST_RECORD) {
                let _ = file.write_all(format!("{level}psyops: {part}\n").as_bytes());
            }
        }
    }

    /// Waits until the terminals have sent everything, before the machine restarts.
    pub(crate) fn drain(&mut self) {
        for terminal in &self.terminals {
            let _ = nix::sys::termios::tcdrain(terminal.file.as_fd());
        }
    }
}

impl Terminal {
    fn write(&mut self, text: &str) {
        let line = format!("{text}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !self.slow => {
                    let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    self.slow = !matches!(poll(&mut ready, PollTimeout::from(PATIENCE)), Ok(1..));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}

/// Cuts a text at character boundaries into pieces of at most `longest` bytes.
fn pieces(text: &str, longest: usize) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while rest.len() > longest {
        let end = (1..=longest).rev().find(|&end| rest.is_char_boundary(end)).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(end);
        out.push(head);
        rest = tail;
    }
    out.push(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(pieces("abc", 3), ["abc"]);
        assert_eq!(pieces("abcd", 3), ["abc", "d"]);
        assert_eq!(pieces("aüüb", 4), ["aü", "üb"]);
        assert_eq!(pieces("", 4), [""]);
    }
}
