//! What the selector does if it can start nothing: it prints why and what to do, and waits for a key or a timeout.
//!
//! After five minutes the machine restarts by itself: a stick that was slow or loose may be readable then, and a
//! machine without a person at its console has no other way to recover.
#![cfg(target_os = "uefi")]

use crate::console::{say, typed};
use crate::variables;
use core::fmt::Display;
use core::time::Duration;
use handoff::advice::WRITE_STICK;
use uefi::Status;
use uefi::boot;
use uefi::runtime::{self, ResetType};

const PATIENCE: Duration = Duration::from_mins(5);
const STEP: Duration = Duration::from_millis(50);

/// Prints why nothing was started, and restarts when a key is pressed or the time is over.
pub(crate) fn halt(why: &dyn Display) -> ! {
    say(format_args!("nothing can be started: {why}"));
    say(format_args!("to do: write this stick again on the workstation: {WRITE_STICK}"));
    say(format_args!("to do: or start the machine from another stick"));
    say(format_args!("press f for the firmware's set-up, any other key to restart; restarts in 5 minutes"));
    // The firmware's own watchdog would interrupt a person who reads the screen; an error means that there is none.
    let _ = boot::set_watchdog_timer(0, 0x1_0000, None);
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        match typed() {
            Some('f' | 'F') => to_firmware_setup(),
            Some(_) => break,
            None => boot::stall(STEP),
        }
        waited += STEP;
    }
    restart()
}

/// Restarts into the firmware's setup, or normally if the firmware does not offer that.
pub(crate) fn to_firmware_setup() -> ! {
    if variables::ask_for_firmware_setup() {
        say(format_args!("restarting into the firmware's set-up"));
    } else {
        say(format_args!(
            "this firmware cannot start its set-up on request: restarting; press the firmware's own key"
        ));
    }
    restart()
}

fn restart() -> ! {
    runtime::reset(ResetType::COLD, Status::SUCCESS, None)
}
