//! The key window: for one second, somebody at the keyboard or the serial port can change what will be started.
#![cfg(target_os = "uefi")]

use crate::console::{say, typed};
use core::time::Duration;
use handoff::decision::Wish;
use handoff::slot::Slot;
use uefi::boot;

const WINDOW: Duration = Duration::from_secs(1);
/// Short enough that a key feels answered at once. Waiting on the firmware's key event would save nothing: the
/// firmware polls its keyboards, and some never signal the event of a serial port.
const STEP: Duration = Duration::from_millis(20);

/// What was asked for.
pub(crate) enum Asked {
    /// Something about the slots, or nothing.
    For(Wish),
    /// The firmware's set-up.
    FirmwareSetup,
}

/// Listens. A key that was typed before the window opened counts, so nobody has to hit the second.
pub(crate) fn listen() -> Asked {
    say(format_args!("keys for a second: r rescue, a or b slot, f firmware set-up"));
    let mut waited = Duration::ZERO;
    while waited < WINDOW {
        while let Some(key) = typed() {
            if let Some(asked) = meaning(key) {
                return asked;
            }
        }
        boot::stall(STEP);
        waited += STEP;
    }
    Asked::For(Wish::None)
}

fn meaning(key: char) -> Option<Asked> {
    match key.to_ascii_lowercase() {
        'r' => Some(Asked::For(Wish::Rescue)),
        'a' => Some(Asked::For(Wish::Slot(Slot::A))),
        'b' => Some(Asked::For(Wish::Slot(Slot::B))),
        'f' => Some(Asked::FirmwareSetup),
        _ => None,
    }
}
