//! The end of a failed boot attempt: restart or rescue, and what follows rescue. These functions do not return.

use crate::boot::Boot;
use crate::failure::{Failure, FailureKind};
use crate::next::{self, Next};
use crate::process;
use crate::rescue::{self, Left};
use crate::steps::{early, handover};
use crate::{reason, restart, teardown};
use nix::sys::reboot::RebootMode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::CString;
use std::time::Duration;

/// Ends an attempt that failed: restarts the machine, or runs rescue and what follows it.
pub(crate) fn of(mut boot: Boot, failure: &Failure) -> ! {
    if failure.kind != FailureKind::RescueRequested {
        boot.note(failure);
        reason::leave(&mut boot, failure);
    }
    match next::next(failure.kind.action(&boot.policy), boot.selection.as_ref()) {
        Next::Restart => other_slot(boot),
        Next::Rescue { not_restarted: Some(why) } => boot.log.error(&format!("no restart: {why}")),
        Next::Rescue { not_restarted: None } => {}
    }
    match rescue::run(&mut boot, failure) {
        Left::Retry => again(boot),
        Left::Restart(mode) => restart::now(mode),
    }
}

/// Unmounts everything and restarts the machine, so that the selector starts the other slot in the end.
fn other_slot(mut boot: Boot) -> ! {
    boot.watch("restart", Duration::from_secs(20));
    boot.log.error(
        "restarting: this try is used up; the selector starts the other slot when this one has none left",
    );
    teardown::everything(&mut boot.log);
    boot.log.drain();
    restart::now(RebootMode::RB_AUTOBOOT)
}

/// Starts this program again. It keeps only the log of the attempt before, and finds the kernel's file systems mounted
/// and the modules loaded.
fn again(mut boot: Boot) -> ! {
    boot.watch("retry", Duration::from_mins(1));
    teardown::everything(&mut boot.log);
    // A user of the shell may have unmounted everything.
    if let Err(error) = early::mount() {
        boot.log.error(&error.to_string());
    }
    boot.log.info("trying to boot again");
    rescue::remember_visit();
    handover::leave_word(&mut boot);
    boot.stop_watchdog();
    while waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG))
        .is_ok_and(|status| status != WaitStatus::StillAlive)
    {}
    let arguments: Vec<CString> = std::env::args_os()
        .filter_map(|word| CString::new(std::os::unix::ffi::OsStringExt::into_vec(word)).ok())
        .collect();
    let errno = process::execute(c"/init", &arguments, &process::environment(&[]));
    boot.log.error(&format!("/init does not start: {}", errno.desc()));
    restart::later(&boot.arguments, |line| boot.log.error(line))
}
