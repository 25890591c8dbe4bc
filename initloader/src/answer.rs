//! What is done about a failure that ends a boot attempt: the site's policy, as far as it makes sense.

use crate::boot::Boot;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::{rescue, teardown};
use handoff::fault::Answer;
use handoff::marker;
use handoff::selection::Selection;
use nix::poll::PollTimeout;
use nix::sys::reboot::{RebootMode, reboot};
use std::time::Duration;

/// How long a message stays on the screen before the machine restarts by itself, where `panic=` does not say.
const READING_TIME: Duration = Duration::from_secs(30);

/// Answers a failure. Nothing comes after it: PID 1 never ends.
pub(crate) fn to(mut boot: Boot, failure: &Failure) -> ! {
    let answer = failure.kind.answer(&boot.policy);
    if failure.kind != Kind::RescueRequested {
        boot.note(failure);
    }
    if answer == Answer::Reboot {
        match another_slot_follows(boot.selection.as_ref()) {
            Ok(()) => restart(boot),
            Err(why) => boot.log.error(&format!("no restart: {why}")),
        }
    }
    rescue::run(boot, failure)
}

/// Whether a restart leads anywhere: to the other slot, or to the selector's own rescue start when no try is left.
fn another_slot_follows(selection: Option<&Selection>) -> Result<(), &'static str> {
    match selection {
        None => Err("this system was not started by the selector, so the same would follow"),
        Some(selection) if !selection.counted => {
            Err("the selector could not count this start (read-only medium), so the same slot would follow")
        }
        Some(_) => Ok(()),
    }
}

/// Takes everything down and restarts the machine.
pub(crate) fn restart(mut boot: Boot) -> ! {
    boot.watch("restart", Duration::from_secs(20));
    boot.log.error("restarting: the try is spent, the other slot follows");
    teardown::everything(&mut boot.log);
    boot.log.drain();
    restart_now()
}

/// Restarts the machine after people had time to read.
pub(crate) fn restart_later(mut boot: Boot) -> ! {
    let seconds = boot.arguments.value("panic").and_then(|text| text.parse().ok());
    let time = seconds.filter(|&seconds| seconds > 0).map_or(READING_TIME, Duration::from_secs);
    boot.log.error(&format!("restarting in {} s", time.as_secs()));
    wait(time);
    restart_now()
}

fn restart_now() -> ! {
    nix::unistd::sync();
    loop {
        let _ = reboot(RebootMode::RB_AUTOBOOT);
        // A machine that cannot restart stands still; PID 1 must not return.
        wait(READING_TIME);
    }
}

fn wait(time: Duration) {
    let _ = nix::poll::poll(&mut [], PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
}

/// Sees to it that a mistake in this program does not end PID 1, which would leave only the kernel's word for it.
pub(crate) fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let mut console = Console::open();
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        let message = panic.payload().downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.payload().downcast_ref::<String>().map(String::as_str));
        let (place, message) = (place.unwrap_or_default(), message.unwrap_or("?"));
        console.line(&format!("{}the loader has an error at {place}: {message}", marker::FAULT));
        console.line(&format!("{}what to do: report this; the machine restarts in 30 s", marker::FAULT));
        wait(READING_TIME);
        restart_now()
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::selection::Mode;
    use handoff::slot::Slot;

    #[test]
    fn a_restart_needs_a_selector_that_counts() {
        let counted = Selection {
            slot: Slot::A,
            mode: Mode::Normal,
            tries_left: 0,
            counted: true,
            reason: "first in order".into(),
        };
        assert_eq!(another_slot_follows(Some(&counted)), Ok(()));
        let not_counted = Selection { counted: false, ..counted };
        assert!(another_slot_follows(Some(&not_counted)).unwrap_err().contains("read-only medium"));
        assert!(another_slot_follows(None).unwrap_err().contains("not started by the selector"));
    }
}
