//! Lines on the firmware's console, that is on screen and serial port, each after the marker of the selector.
//!
//! A missing or broken console must not stop the boot: every error is ignored here.
#![cfg(target_os = "uefi")]

use core::fmt::{Arguments, Write as _};
use handoff::marker;
use uefi::proto::console::text::{Input, Key};
use uefi::{system, table};

/// Prints one line.
pub(crate) fn say(line: Arguments<'_>) {
    if present().output {
        system::with_stdout(|out| {
            // The firmware's cursor may be after its own text.
            let _ = out.write_fmt(format_args!("{}{line}\n", marker::SELECTOR));
        });
    }
}

/// The next key that was typed, or `None`; never waits.
pub(crate) fn typed() -> Option<char> {
    if !present().input {
        return None;
    }
    match system::with_stdin(Input::read_key) {
        Ok(Some(Key::Printable(key))) => Some(char::from(key)),
        // A key without a character also shows that a person is at the keyboard.
        Ok(Some(Key::Special(_))) => Some('\0'),
        Ok(None) | Err(_) => None,
    }
}

/// Which consoles the firmware has.
struct Present {
    output: bool,
    input: bool,
}

/// Reads the system table directly, because `uefi::system` panics if a console is missing.
fn present() -> Present {
    let Some(table) = table::system_table_raw() else { return Present { output: false, input: false } };
    #[expect(unsafe_code, reason = "the system table is only handed out as a pointer")]
    // SAFETY: the pointer is the one that the firmware gave to the entry point; boot services are never left here.
    let table = unsafe { table.as_ref() };
    Present { output: !table.stdout.is_null(), input: !table.stdin.is_null() }
}
