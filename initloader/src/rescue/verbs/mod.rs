//! The commands of the rescue shell: this program under other names, as an ordinary process.

mod disks;
mod secrets;

use crate::process;
use crate::rescue::SCREEN;
use crate::rescue::visitors::RETRY;
use handoff::{paths, rescue};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::ffi::CString;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// Wrong use, as the workstation's commands have it.
const USAGE: u8 = 2;

/// Does what the first word says.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (name, rest) = arguments.split_first().map_or(("", arguments), |(name, rest)| (name.as_str(), rest));
    let name = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (name, words.as_slice()) {
        ("status", []) => show(SCREEN),
        ("log", []) => page(paths::BOOT_LOG),
        ("retry", []) => retry(),
        ("disks", []) => disks::list(),
        ("secrets", ["check"]) => secrets::check(),
        ("secrets", ["fix"]) => secrets::fix(),
        _ => {
            complain(&format!("known here: {}", rescue::VERBS.map(|(_, usage)| usage).join(", ")));
            ExitCode::from(USAGE)
        }
    }
}

/// Prints a line; nobody there to read is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn complain(problem: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{problem}");
}

fn show(path: &str) -> ExitCode {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{path}: {error}; `retry` makes it anew"));
            ExitCode::FAILURE
        }
    }
}

/// Long texts are turned over page by page where a person looks.
fn page(path: &str) -> ExitCode {
    if std::io::stdout().is_terminal() {
        let program = CString::new(paths::INITRAMFS_BUSYBOX).unwrap_or_default();
        let file = CString::new(path).unwrap_or_default();
        let _ = process::execute(&program, &[c"less".into(), file], &process::environment(&[]));
    }
    show(path)
}

fn retry() -> ExitCode {
    match kill(Pid::from_raw(1), RETRY) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            complain(&format!("cannot reach the loader: {}; `reboot -f` restarts the machine", errno.desc()));
            ExitCode::FAILURE
        }
    }
}
