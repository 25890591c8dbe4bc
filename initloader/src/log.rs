//! The loader's log: every line with its time in memory, the important ones on every console too.

use crate::clock::Uptime;
use crate::console::Console;
use handoff::shown::Shown;
use handoff::{kernel_arguments, marker};
use nix::errno::Errno;
use std::time::Duration;

/// The most bytes that are kept: a log must not use up the memory of a small machine.
const LONGEST: usize = 256 * 1024;

/// The kinds of lines that a child process sends to PID 1.
const ERROR: &str = "error";
const INFO: &str = "info";
const DEBUG: &str = "debug";
const MARKED: &str = "marked";

/// How important a line is, and which lines the consoles show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Only errors.
    Error,
    /// What the loader does.
    Info,
    /// Details for debugging.
    Debug,
}

/// The log of this boot.
pub(crate) struct Log {
    console: Console,
    text: String,
    level: Level,
    /// Whether this is the log of a child process, which sends its lines to PID 1 and keeps none.
    passed_on: bool,
}

impl Log {
    /// A log that continues `earlier` lines (of the attempt before a rescue shell).
    pub(crate) fn new(console: Console, earlier: String) -> Self {
        Self { console, text: earlier, level: Level::Info, passed_on: false }
    }

    /// The log of a child of PID 1: each line goes to standard output after its kind and a tab, for [`Self::take`].
    pub(crate) fn of_child() -> Self {
        Self { passed_on: true, ..Self::new(Console::standard_output(), String::new()) }
    }

    /// Adds a line from the log of a child.
    pub(crate) fn take(&mut self, kind: &str, line: &str) {
        match kind {
            ERROR => self.error(line),
            DEBUG => self.debug(line),
            MARKED => self.marked("", line),
            INFO => self.info(line),
            // Output of a library in the child, without a kind.
            rest => self.info(&format!("{rest} {line}")),
        }
    }

    /// Sets the level from the kernel command line.
    pub(crate) fn set_level(&mut self, arguments: &kernel_arguments::KernelArguments) {
        self.level = match arguments.value(kernel_arguments::LOG) {
            Some("error") => Level::Error,
            Some("debug") => Level::Debug,
            _ => Level::Info,
        };
    }

    /// Logs an error, after which the boot may go on.
    pub(crate) fn error(&mut self, line: &str) {
        self.write(Level::Error, line);
    }

    /// Logs what the loader does.
    pub(crate) fn info(&mut self, line: &str) {
        self.write(Level::Info, line);
    }

    /// Logs a detail.
    pub(crate) fn debug(&mut self, line: &str) {
        self.write(Level::Debug, line);
    }

    /// Logs how loading a kernel module went. A module that cannot be loaded is not a fault by itself: whether it was
    /// needed shows in the steps that follow.
    pub(crate) fn module(&mut self, name: &str, result: Result<(), Errno>, took: Duration) {
        match result {
            Ok(()) => self.debug(&format!("module {name} took {} ms", took.as_millis())),
            // The module looked for its hardware (CPU features, firmware) and found none.
            Err(Errno::ENODEV) => self.debug(&format!("module {name}: this machine has no device for it")),
            Err(errno) => self.error(&format!("module {name}: {}", errno.desc())),
        }
    }

    /// Logs a line for programs that read the console: on every console at any level, with its marker at the beginning.
    pub(crate) fn marked(&mut self, marker: &str, line: &str) {
        let line = format!("{marker}{line}");
        if self.passed_on {
            return self.console.record(MARKED, &line);
        }
        self.keep(&line);
        self.console.line(&line);
    }

    /// Logs a line of a failed step, with its marker.
    pub(crate) fn fault(&mut self, line: &str) {
        self.marked(marker::FAULT, line);
    }

    /// Waits until the consoles have sent all output.
    pub(crate) fn drain(&mut self) {
        self.console.drain();
    }

    /// All lines so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn write(&mut self, level: Level, line: &str) {
        if self.passed_on {
            let kind = match level {
                Level::Error => ERROR,
                Level::Info => INFO,
                Level::Debug => DEBUG,
            };
            return self.console.record(kind, line);
        }
        self.keep(line);
        if level <= self.level {
            self.console.line(&format!("[{}] psyops: {line}", Uptime::now()));
        } else {
            self.console.kernel_log(line);
        }
    }

    fn keep(&mut self, line: &str) {
        if self.text.len() < LONGEST {
            self.text.push_str(&format!("[{}] {}\n", Uptime::now(), Shown(line)));
            if self.text.len() >= LONGEST {
                self.text.push_str("the log is full; later lines are on the consoles only\n");
            }
        }
    }
}
