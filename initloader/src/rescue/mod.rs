//! Rescue: a screenful of what went wrong, a way in for those whom the site lets in, and another attempt when they leave.
//!
//! Who gets in, and whether they get a shell or only commands, is in the trust file, signed with the system. Shells are children; PID 1 waits and reaps. Before the
//! first one starts, everything is unmounted, so that no key lies open, unless the site wants it otherwise.

pub(crate) mod addresses;
pub(crate) mod commands;
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

/// What stands on the screen, to be read again.
pub(crate) const SCREEN: &str = "/run/psyops/rescue-screen";

/// How rescue is left.
pub(crate) enum Left {
    /// A shell ended, somebody asked for another attempt, or nobody can get in and the time is over.
    Retry,
    /// Somebody asked for a restart or to switch off.
    Restart(RebootMode),
}

/// What ends the attempt where the kernel command line or the selector asks for rescue: once, not after a visit there.
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

/// Leaves word for the next attempt that a wish for rescue was fulfilled.
pub(crate) fn remember_visit() {
    let _ = std::fs::write(VISITED, "");
}

/// Shows what is wrong, and lets in whom the site lets in, until it is left.
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
