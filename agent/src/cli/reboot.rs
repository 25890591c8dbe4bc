//! `psyops-agent reboot`: restarts the machine, to the rescue shell on request.

use super::{FORMAT, RebootArguments, complain, say};
use crate::mark_good;
use crate::root::Root;
use handoff::json::Object;
use std::process::{Command, ExitCode, Stdio};

pub(super) fn run(root: &Root, arguments: &RebootArguments) -> ExitCode {
    // The request for rescue comes first; if it cannot be written there is no restart, which would start the wrong
    // system.
    if arguments.rescue
        && let Err(error) = mark_good::request_rescue(root)
    {
        complain(&error);
        return ExitCode::from(74);
    }
    if arguments.json {
        say(&Object::new().number("format", FORMAT).boolean("rescue", arguments.rescue).finish());
    } else {
        say(if arguments.rescue { "restarting to rescue" } else { "restarting" });
    }
    if !root.is_running_system() {
        return ExitCode::SUCCESS;
    }
    match Command::new("reboot").stdin(Stdio::null()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
