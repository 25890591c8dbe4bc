//! `psyops-agent pause-syslog`: runs a command with syslog paused; and the commands of the proxy.

use super::{PauseArguments, ProxyArguments, complain};
use crate::file;
use crate::root::Root;
use crate::syslog::{self, PausedSyslog, Places, Resumed};
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

/// Exit codes as in shells and `env(1)`.
const CANNOT_PAUSE: u8 = 125;
const CANNOT_START: u8 = 126;
const NOT_FOUND: u8 = 127;
const SIGNAL_BASE: i32 = 128;

pub(super) fn run(root: &Root, arguments: &PauseArguments) -> ExitCode {
    let paused = match PausedSyslog::begin(Places::of(root)) {
        Ok(paused) => paused,
        Err(error) => {
            complain(&error);
            return ExitCode::from(CANNOT_PAUSE);
        }
    };
    let code = command(arguments);
    resume(root, paused);
    ExitCode::from(code)
}

/// Ends a pause. If the proxy died too often, its spool is replayed at once.
pub(super) fn resume(root: &Root, paused: PausedSyslog) {
    let resumed = paused.end().or_else(|error| {
        complain(&error);
        syslog::recover(Places::of(root))
    });
    match resumed {
        Ok(Resumed::Replayed { dropped: 0, .. } | Resumed::Shared | Resumed::Kept) => {}
        Ok(Resumed::Replayed { dropped, .. }) => {
            super::say(&format!("syslog: {dropped} messages were dropped; see psyops-agent status"));
        }
        Ok(Resumed::Waiting) => {
            super::say("syslog: no daemon listens; the kept messages are replayed when one does");
        }
        Ok(Resumed::Busy) => {
            super::say("syslog: the daemon is slow; the remaining messages are replayed in the background");
        }
        Err(error) => complain(&error),
    }
}

pub(super) fn keep(arguments: &ProxyArguments) -> ExitCode {
    let ProxyArguments { device, spool, total, lock, state } = arguments.clone();
    match syslog::keep(&Places { device, spool, total, lock, state }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

pub(super) fn discard() -> ExitCode {
    if syslog::discard() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn command(arguments: &PauseArguments) -> u8 {
    let mut words = arguments.command.iter();
    let Some(program) = words.next() else { return CANNOT_START };
    let mut command = Command::new(program);
    command.args(words);
    if let Some(path) = &arguments.logfile {
        let log = file::open_log(path).and_then(|log| {
            file::failing("copy the handle of", path, log.try_clone()).map(|copy| (log, copy))
        });
        match log {
            Ok((log, copy)) => {
                command.stdout(log).stderr(copy);
            }
            Err(error) => {
                complain(&error);
                return CANNOT_START;
            }
        }
    }
    match command.status() {
        Ok(status) => code(status),
        Err(error) => {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            complain(&NotStarted { program, source: error });
            if missing { NOT_FOUND } else { CANNOT_START }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot start {program:?}: {source}")]
struct NotStarted<'a> {
    program: &'a OsStr,
    source: std::io::Error,
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
