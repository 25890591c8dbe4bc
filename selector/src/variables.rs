//! The EFI variables that this program sets: its selection for the loader, and the Boot Loader Interface of systemd.
//!
//! All are volatile: the machine must not keep anything of an old stick when a new one is started. The only exception
//! is `OsIndications`, which the firmware itself deletes again (UEFI 2.10, 8.5.4).
#![cfg(target_os = "uefi")]

use crate::clock::Clock;
use crate::console::say;
use alloc::format;
use alloc::vec::Vec;
use handoff::selection::{self, Selection};
use uefi::runtime::{self, VariableAttributes, VariableVendor};
use uefi::{CStr16, CString16, Guid, cstr16, guid};

/// The vendor GUID of the Boot Loader Interface.
const LOADER: VariableVendor = VariableVendor(guid!("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"));
const SELECTION: VariableVendor = VariableVendor(Guid::parse_or_panic(selection::VENDOR_GUID));
const VOLATILE: VariableAttributes =
    VariableAttributes::BOOTSERVICE_ACCESS.union(VariableAttributes::RUNTIME_ACCESS);
const BOOT_TO_FIRMWARE_SETUP: u64 = 1;

/// Passes the selection, in UTF-8, to the loader of the started system.
pub(crate) fn set_selection(selected: &Selection) {
    match CString16::try_from(selection::VARIABLE) {
        Ok(name) => set(&name, &SELECTION, selected.encode().as_bytes()),
        Err(_) => say(format_args!("the name {} cannot be set", selection::VARIABLE)),
    }
}

/// Sets the variables that systemd-analyze, bootctl and the loader read. It claims no feature: there is no menu and no
/// configuration.
pub(crate) fn set_loader_interface(esp: Guid, entry: &str, clock: &Clock) {
    set_text(cstr16!("LoaderInfo"), &format!("psyops-selector {}", env!("CARGO_PKG_VERSION")));
    set_text(cstr16!("LoaderDevicePartUUID"), &format!("{esp}"));
    set_text(cstr16!("LoaderEntrySelected"), entry);
    set(cstr16!("LoaderFeatures"), &LOADER, &0_u64.to_le_bytes());
    set_text(cstr16!("LoaderTimeInitUSec"), &format!("{}", clock.began()));
    set_text(cstr16!("LoaderTimeExecUSec"), &format!("{}", clock.now()));
}

/// Asks the firmware to show its setup after the next reset; `false` if it does not offer that.
pub(crate) fn ask_for_firmware_setup() -> bool {
    let global = VariableVendor::GLOBAL_VARIABLE;
    if number(cstr16!("OsIndicationsSupported")) & BOOT_TO_FIRMWARE_SETUP == 0 {
        return false;
    }
    let asked = number(cstr16!("OsIndications")) | BOOT_TO_FIRMWARE_SETUP;
    let kept = VOLATILE | VariableAttributes::NON_VOLATILE;
    runtime::set_variable(cstr16!("OsIndications"), &global, kept, &asked.to_le_bytes()).is_ok()
}

fn number(name: &CStr16) -> u64 {
    let mut bytes = [0; 8];
    match runtime::get_variable(name, &VariableVendor::GLOBAL_VARIABLE, &mut bytes) {
        Ok(_) => u64::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

/// Text in these variables is UTF-16 and ends with a NUL.
fn set_text(name: &CStr16, text: &str) {
    let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    set(name, &LOADER, &units);
}

/// Sets a variable. An error is only printed: the loader has other ways to find each of these facts.
fn set(name: &CStr16, vendor: &VariableVendor, content: &[u8]) {
    let first = runtime::set_variable(name, vendor, VOLATILE, content);
    let done = first.or_else(|_| {
        // Another program may have left a permanent variable of this name, whose attributes cannot be changed, only
        // deleted.
        runtime::delete_variable(name, vendor)?;
        runtime::set_variable(name, vendor, VOLATILE, content)
    });
    if let Err(error) = done {
        say(format_args!("EFI variable {name} not set: {}", error.status()));
    }
}
