//! Rescue: a screen with what went wrong, a login for the users that the site allows, and another attempt when they
//! leave.
//!
//! Who can log in, and to a shell or only commands, is part of the loader configuration, signed with the system. Shells
//! are children; PID 1 waits for them and reaps orphans. Before the first one starts, everything is unmounted, so that
//! no key can be read, unless the site sets `keep_keys`.

pub(crate) mod addresses;
pub(crate) mod called;
mod commands;
mod password;
mod remote;
mod restricted;
mod screen;
mod sessions;
mod terminal;

use crate::boot::Boot;
use crate::failure::{Failure, FailureKind};
use crate::steps::{handover, modules};
use crate::teardown::{self, VISITED};
use handoff::kernel_arguments;
use handoff::report::Outcome;
use handoff::selection::Mode;
use nix::sys::reboot::RebootMode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sessions::Sessions;
use std::path::Path;
use std::time::Duration;

/// The file with the text of the screen, to be shown again.
pub(crate) const SCREEN: &str = "/run/psyops/rescue-screen";

/// How rescue ended.
pub(crate) enum Left {
    /// A shell ended, a user asked for another attempt, or rescue has no login and its time is over.
    Retry,
    /// A user asked for a restart or to switch off.
    Restart(RebootMode),
}

/// The reason to end the attempt if the kernel command line or the selector requests rescue: once, not after rescue.
pub(crate) fn requested(boot: &Boot) -> Option<Failure> {
    let reason = match &boot.selection {
        _ if boot.arguments.has(kernel_arguments::RESCUE) => "the kernel command line asks for it".into(),
        Some(selection) if selection.mode == Mode::Rescue => {
            format!("the selector asks for it: {}", selection.reason)
        }
        _ => return None,
    };
    let remedy = "leave rescue to boot".into();
    let request = Failure { step: "selection", kind: FailureKind::RescueRequested, problem: reason, remedy };
    (!Path::new(VISITED).exists()).then_some(request)
}

/// Records for the next attempt that the request for rescue was fulfilled.
pub(crate) fn remember_visit() {
    let _ = std::fs::write(VISITED, "");
}

/// Shows what is wrong, and lets the users log in that the site allows, until rescue ends.
pub(crate) fn run(boot: &mut Boot, failure: &Failure) -> Left {
    boot.watch("rescue", Duration::from_mins(2));
    modules::load_set_aside(boot); // The keyboard's drivers are among them.
    if !boot.rescue.keep_keys {
        teardown::everything(&mut boot.log);
    }
    boot.report.outcome = Outcome::Rescue;
    let screen = screen::compose(boot, failure);
    screen::show(boot, &screen);
    handover::leave_word(boot);
    boot.stop_watchdog();
    remember_visit();
    let left = Sessions::let_in(boot).wait(boot);
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    if !boot.rescue.ssh_keys.is_empty() {
        remote::close();
    }
    left
}
