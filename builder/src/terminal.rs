//! The terminal as it was before a program made it its own.

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io;

/// The settings of the terminal on the standard input, to be restored at any time.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Echo, lines, signals by keys; `None` where there is no terminal.
    terminal: Option<Termios>,
    /// Whether reading waits. A shell that is given back a terminal which does not wait takes that for the input's end.
    flags: Option<OFlags>,
}

impl Settings {
    /// As they are now.
    pub(crate) fn now() -> Self {
        Self { terminal: tcgetattr(io::stdin()).ok(), flags: fcntl_getfl(io::stdin()).ok() }
    }

    /// Sets them. Where that fails there is no terminal any more.
    pub(crate) fn restore(&self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, terminal);
            if let Some(flags) = self.flags {
                let _ = fcntl_setfl(io::stdin(), flags);
            }
        }
    }
}
