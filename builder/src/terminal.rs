//! The settings of the terminal before a program changed them.

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io;

/// The settings of the terminal on the standard input, to be restored later.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Echo, line mode, signals from keys; `None` if there is no terminal.
    terminal: Option<Termios>,
    /// Whether reads block. A shell that gets back a nonblocking terminal takes that for the end of its input.
    flags: Option<OFlags>,
}

impl Settings {
    /// Reads the present settings.
    pub(crate) fn now() -> Self {
        Self { terminal: tcgetattr(io::stdin()).ok(), flags: fcntl_getfl(io::stdin()).ok() }
    }

    /// Restores the settings. If that fails, there is no terminal any more.
    pub(crate) fn restore(&self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, terminal);
            if let Some(flags) = self.flags {
                let _ = fcntl_setfl(io::stdin(), flags);
            }
        }
    }
}
