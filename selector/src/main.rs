//! `EFI/BOOT/BOOTX64.EFI`: finds its own disk, asks `handoff::decision` which slot to start, and starts it.
//!
//! Specifications: UEFI 2.10, GPT, and systemd's Boot Loader Interface for the variables. Everything that can be
//! decided without firmware is in `handoff` and tested there; this program reads, writes, and does what was decided.
//! It knows no file system and never writes the ESP. On other targets it is an empty program, so that the whole
//! workspace can be checked at once.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

mod block;
mod clock;
mod console;
mod control;
mod disk;
mod fault;
mod halt;
mod keys;
mod protocol;
mod slot;
mod start;
mod turns;
mod variables;

/// The entry point for the firmware.
#[cfg(target_os = "uefi")]
#[uefi::entry]
fn main() -> uefi::Status {
    let clock = clock::Clock::start();
    console::say(format_args!("{}", env!("CARGO_PKG_VERSION")));
    match disk::OwnDisk::of_this_image() {
        Ok(disk) => halt::halt(&turns::take(&disk, &clock)),
        Err(fault) => halt::halt(&fault),
    }
}

/// A bug in this program is shown like any other fault, and the machine waits for a key: a black screen helps no user.
#[cfg(target_os = "uefi")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    halt::halt(info)
}

/// The selector is a UEFI program; this empty function replaces it when the workspace is built for the host.
#[cfg(not(target_os = "uefi"))]
fn main() {}
