//! The end of the road: says why and what to do, and waits for a key. Never silent, never for ever.
//!
//! After five minutes the machine restarts by itself: a stick that was slow or loose may be read the next time, and
//! a machine that nobody stands before has no other way back.
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

/// Says why nothing was started, and restarts when told to.
pub(crate) fn halt(why: &dyn Display) -> ! {
    say(format_args!("nothing can be started: {why}"));
    say(format_args!("to do: write this stick again on the workstation: {WRITE_STICK}"));
    say(format_args!("to do: or start the machine from another stick"));
    say(format_args!("press f for the firmware's set-up, any other key to restart; restarts in 5 minutes"));
    // The firmware's own watchdog would end the wait in the middle of somebody's reading; an error means it has none.
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

/// Restarts into the firmware's set-up, or just restarts where the firmware does not offer that.
pub(crate) fn to_firmware_setup() -> ! {
    if variables::ask_for_firmware_setup() {
        say(format_args!("restarting into the firmware's set-up"));
    } else {
        say(format_args!("this firmware cannot be asked for its set-up: restarting, use its own key"));
    }
    restart()
}

fn restart() -> ! {
    runtime::reset(ResetType::COLD, Status::SUCCESS, None)
}
