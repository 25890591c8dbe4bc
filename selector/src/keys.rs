//! The key window: for one second, a person at the keyboard or the serial port can change what will be started.
#![cfg(target_os = "uefi")]

use crate::clock::Clock;
use crate::console::{say, typed};
use core::time::Duration;
use handoff::decision::BootRequest;
use handoff::slot::Slot;
use uefi::boot;

/// How long the window is open, in microseconds.
const WINDOW: u64 = 1_000_000;
/// The time between two looks at the keyboard, short enough that the answer to a key feels instant. Waiting for the
/// firmware's key event would save nothing: the firmware polls its keyboards, and some never signal the event of a
/// serial port.
const STEP: Duration = Duration::from_millis(20);

/// The request of the person at the keyboard.
pub(crate) enum Asked {
    /// A request about the slots, or none.
    For(BootRequest),
    /// To show the firmware's setup.
    FirmwareSetup,
}

/// An open window: other work of the selector meanwhile does not lengthen the boot.
pub(crate) struct Window {
    opened: u64,
}

impl Window {
    /// Prints the list of keys and opens the window.
    pub(crate) fn open(clock: &Clock) -> Self {
        say(format_args!("keys for a second: r rescue, a or b slot, f firmware set-up"));
        Self { opened: clock.now() }
    }

    /// Waits until the window's second is over. A key that was typed before counts, so the second need not be met
    /// exactly; the keyboard is read at least once, however late it is.
    pub(crate) fn listen(self, clock: &Clock) -> Asked {
        loop {
            while let Some(key) = typed() {
                if let Some(asked) = meaning(key) {
                    return asked;
                }
            }
            if clock.now().saturating_sub(self.opened) >= WINDOW {
                return Asked::For(BootRequest::None);
            }
            boot::stall(STEP);
        }
    }
}

fn meaning(key: char) -> Option<Asked> {
    match key.to_ascii_lowercase() {
        'r' => Some(Asked::For(BootRequest::Rescue)),
        'a' => Some(Asked::For(BootRequest::Slot(Slot::A))),
        'b' => Some(Asked::For(BootRequest::Slot(Slot::B))),
        'f' => Some(Asked::FirmwareSetup),
        _ => None,
    }
}
