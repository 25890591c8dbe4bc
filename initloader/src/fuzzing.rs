//! The parsers of PID 1 as functions of bytes, for the fuzz targets in `fuzz/`: the same code that a boot runs.
//!
//! Each function also checks properties of every result, so that more than crashes is found.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a fuzz target says that something is wrong")]

use crate::ext4::FileSystemState;
use crate::uevent::Event;
use crate::{efivar, program, teardown};
use handoff::modules;

/// Parses the list of kernel modules.
pub fn modules(text: &str) {
    let modules = modules::decode(text);
    let device = "pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30".to_owned();
    assert_eq!(modules::needed(&modules, &[device]).len(), modules.len(), "one answer for each module");
    assert_eq!(modules::decode(&modules::encode(&modules)), modules, "what was read can be written");
}

/// Examines the beginning of a program in the root.
pub fn program(bytes: &[u8]) {
    program::examine(bytes);
}

/// Parses the superblock of a secret store.
pub fn superblock(bytes: &[u8]) {
    let _ = FileSystemState::of_store(bytes);
}

/// Parses a datagram of the kernel's device events.
pub fn uevent(bytes: &[u8]) {
    if let Some(event) = Event::parse(bytes) {
        assert!(!event.subsystem.contains('\0') && !event.action.contains('\0'), "fields end at zero");
    }
}

/// Parses the value of an EFI variable.
pub fn efi_text(bytes: &[u8]) {
    if let Some(text) = efivar::utf16(bytes) {
        assert!(!text.contains('\0'), "texts end at zero");
    }
}

/// Parses the kernel's table of mounts.
pub fn mount_table(text: &str) {
    let places = teardown::places(text);
    assert!(places.iter().all(|place| place != "/"), "the root of the initramfs stays");
}
