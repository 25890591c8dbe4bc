//! Restarting the machine or switching it off. These functions do not return, because PID 1 never ends.

use crate::clock::Uptime;
use crate::console::Console;
use crate::process;
use handoff::kernel_arguments::KernelArguments;
use handoff::marker;
use nix::poll::PollTimeout;
use nix::sys::reboot::{RebootMode, reboot};
use std::time::Duration;

/// How long a message stays on the screen before the machine restarts by itself, unless `panic=` sets another time.
const READING_TIME: Duration = Duration::from_secs(30);

/// How long a slow stick may take to write cached data.
const WRITING_TIME: Duration = Duration::from_secs(30);

/// Restarts, halts or switches off, once all data is written.
pub(crate) fn now(mode: RebootMode) -> ! {
    // In a child: sync(2) also waits for a device that hangs, and then does not return.
    if process::run(Uptime::now().plus(WRITING_TIME), write_all, |_| {}).is_err() {
        write_all();
    }
    loop {
        let _ = reboot(mode);
        // A machine that cannot do it keeps waiting here.
        wait(READING_TIME);
    }
}

/// Restarts the machine after time to read the message; tells how long that is.
pub(crate) fn later(arguments: &KernelArguments, tell: impl FnOnce(&str)) -> ! {
    let seconds = arguments.value("panic").and_then(|text| text.parse().ok());
    let time = seconds.filter(|&seconds| seconds > 0).map_or(READING_TIME, Duration::from_secs);
    tell(&format!("restarting in {} s", time.as_secs()));
    wait(time);
    now(RebootMode::RB_AUTOBOOT)
}

/// Ensures that a bug in this program does not end PID 1, which would leave only the kernel's message.
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
        now(RebootMode::RB_AUTOBOOT)
    }));
}

fn write_all() -> i32 {
    nix::unistd::sync();
    0
}

fn wait(time: Duration) {
    let _ = nix::poll::poll(&mut [], PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
}
