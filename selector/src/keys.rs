//! The key window: for one second, somebody at the keyboard or the serial port can change what will be started.
#![cfg(target_os = "uefi")]

use crate::clock::Clock;
use crate::console::{say, typed};
use core::time::Duration;
use handoff::decision::Wish;
use handoff::slot::Slot;
use uefi::boot;

/// In microseconds.
const WINDOW: u64 = 1_000_000;
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

/// An open window: what the selector does meanwhile does not lengthen the boot.
pub(crate) struct Window {
    opened: u64,
}

impl Window {
    /// Says which keys there are.
    pub(crate) fn open(clock: &Clock) -> Self {
        say(format_args!("keys for a second: r rescue, a or b slot, f firmware set-up"));
        Self { opened: clock.now() }
    }

    /// Listens until the window's second is over. A key that was typed before counts, so nobody has to hit the second;
    /// the keyboard is asked at least once, however late it is.
    pub(crate) fn listen(self, clock: &Clock) -> Asked {
        loop {
            while let Some(key) = typed() {
                if let Some(asked) = meaning(key) {
                    return asked;
                }
            }
            if clock.now().saturating_sub(self.opened) >= WINDOW {
                return Asked::For(Wish::None);
            }
            boot::stall(STEP);
        }
    }
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
