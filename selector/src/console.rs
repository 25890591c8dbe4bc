//! Lines on the firmware's console, which is screen and serial port alike, each behind the marker of the selector.
//!
//! A console that is missing or fails is no reason not to boot: every error is dropped here.
#![cfg(target_os = "uefi")]

use core::fmt::{Arguments, Write as _};
use handoff::marker;
use uefi::proto::console::text::{Input, Key};
use uefi::{system, table};

/// Says one line.
pub(crate) fn say(line: Arguments<'_>) {
    if present().output {
        system::with_stdout(|out| {
            // The firmware's cursor may stand behind text of its own.
            let _ = out.write_fmt(format_args!("{}{line}\n", marker::SELECTOR));
        });
    }
}

/// The next key that was typed, or nothing; never waits.
pub(crate) fn typed() -> Option<char> {
    if !present().input {
        return None;
    }
    match system::with_stdin(Input::read_key) {
        Ok(Some(Key::Printable(key))) => Some(char::from(key)),
        // A key that prints nothing is still somebody at the keyboard.
        Ok(Some(Key::Special(_))) => Some('\0'),
        Ok(None) | Err(_) => None,
    }
}

/// Which consoles there are.
struct Present {
    output: bool,
    input: bool,
}

/// Asks the system table before `uefi::system`, which panics where a console is missing.
fn present() -> Present {
    let Some(table) = table::system_table_raw() else { return Present { output: false, input: false } };
    #[expect(unsafe_code, reason = "the system table is only handed out as a pointer")]
    // SAFETY: the pointer is the one that the firmware gave to the entry point; boot services are never left here.
    let table = unsafe { table.as_ref() };
    Present { output: !table.stdout.is_null(), input: !table.stdin.is_null() }
}
