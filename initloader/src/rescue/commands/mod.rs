//! The commands of rescue: this program under other names, as an ordinary process. In the shell each command has its
//! own name; without a shell, the command reader runs them.

mod disks;
mod fsck;
pub(super) mod lease;
mod secrets;

use crate::process;
use crate::rescue::SCREEN;
use crate::rescue::sessions::RETRY;
use handoff::shown::ShownLines;
use handoff::{paths, rescue};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::CString;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

/// The exit code for wrong usage, as in the workstation's commands.
const USAGE: u8 = 2;

/// How output is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// For a person in a shell: long texts go through a pager, which can start programs.
    Paged,
    /// Directly; no program is started for it.
    Plain,
}

/// Runs one command.
pub(super) fn execute(name: &str, words: &[&str], output: Output) -> ExitCode {
    match (name, words) {
        ("status", []) => show(SCREEN),
        ("log", []) if output == Output::Paged => page(paths::BOOT_LOG),
        ("log", []) => show(paths::BOOT_LOG),
        ("retry", []) => retry(),
        ("disks", []) => disks::list(),
        ("secrets", ["check"]) => secrets::check(),
        ("secrets", ["fix"]) => secrets::fix(),
        ("fsck", []) if output == Output::Plain => fsck::run(),
        ("reboot", []) if output == Output::Plain => ask(Signal::SIGTERM),
        ("poweroff", []) if output == Output::Plain => ask(Signal::SIGUSR2),
        ("help", []) if output == Output::Plain => {
            say(&restricted_commands());
            ExitCode::SUCCESS
        }
        _ => usage(output),
    }
}

/// Prints the commands that can be typed.
pub(super) fn usage(output: Output) -> ExitCode {
    complain(&match output {
        Output::Paged => {
            format!("known commands: {}", rescue::SHELL_COMMANDS.map(|(_, usage)| usage).join(", "))
        }
        Output::Plain => restricted_commands(),
    });
    ExitCode::from(USAGE)
}

/// The list of commands that can be typed without a shell.
pub(super) fn restricted_commands() -> String {
    format!("known commands: {}", rescue::RESTRICTED_COMMANDS.map(|(_, usage)| usage).join(", "))
}

/// Prints a line; a closed output is not an error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", ShownLines(line));
}

fn complain(problem: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{}", ShownLines(problem));
}

fn show(path: &str) -> ExitCode {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{path}: {error}; `retry` boots again and makes it"));
            ExitCode::FAILURE
        }
    }
}

/// Shows a long text in a pager if the output is a terminal.
fn page(path: &str) -> ExitCode {
    if std::io::stdout().is_terminal() {
        let program = CString::new(paths::INITRAMFS_BUSYBOX).unwrap_or_default();
        let file = CString::new(path).unwrap_or_default();
        let _ = process::execute(&program, &[c"less".into(), file], &process::environment(&[]));
    }
    show(path)
}

fn retry() -> ExitCode {
    ask(RETRY)
}

/// Sends PID 1 a request by a signal.
fn ask(signal: Signal) -> ExitCode {
    match kill(Pid::from_raw(1), signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            complain(&format!("cannot reach the loader: {}; switch the machine off and on", errno.desc()));
            ExitCode::FAILURE
        }
    }
}
