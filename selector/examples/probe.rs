//! The program that tests start in a slot in place of a UKI: it prints what the selector told it, then powers off.
//!
//! The tests may change one byte of it (see [`BEHAVIOUR`]) to make it return instead. It is not part of an image.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

#[cfg(target_os = "uefi")]
mod probe {
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::fmt::{Arguments, Write as _};
    use handoff::selection;
    use uefi::runtime::{self, ResetType, VariableVendor};
    use uefi::{CString16, Guid, Status, guid, system};

    /// The last byte selects the behaviour: `s` to shut down, `r` to return with an error.
    pub(super) static BEHAVIOUR: [u8; 17] = *b"probe-behaviour:s";
    const LOADER: Guid = guid!("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
    const TEXTS: [&str; 5] = [
        "LoaderInfo",
        "LoaderDevicePartUUID",
        "LoaderEntrySelected",
        "LoaderTimeInitUSec",
        "LoaderTimeExecUSec",
    ];

    #[uefi::entry]
    fn main() -> Status {
        let vendor = Guid::parse_or_panic(selection::VENDOR_GUID);
        let told = String::from_utf8(variable(selection::VARIABLE, vendor)).unwrap_or_default();
        for line in told.lines() {
            say(format_args!("selection {line}"));
        }
        for name in TEXTS {
            let content = variable(name, LOADER);
            let units: Vec<u16> =
                content.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            say(format_args!("{name}={}", String::from_utf16_lossy(&units).trim_end_matches('\0')));
        }
        if core::hint::black_box(&BEHAVIOUR).last() == Some(&b'r') {
            say(format_args!("coming back"));
            return Status::ABORTED;
        }
        runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None)
    }

    fn variable(name: &str, vendor: Guid) -> Vec<u8> {
        let Ok(name) = CString16::try_from(name) else { return Vec::new() };
        match runtime::get_variable_boxed(&name, &VariableVendor(vendor)) {
            Ok((content, _)) => content.into_vec(),
            Err(_) => Vec::new(),
        }
    }

    pub(super) fn say(line: Arguments<'_>) {
        system::with_stdout(|out| {
            let _ = out.write_fmt(format_args!("probe: {line}\n"));
        });
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        say(format_args!("{info}"));
        runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
    }
}

/// The probe is a UEFI program; this empty function replaces it when the workspace is built for the host.
#[cfg(not(target_os = "uefi"))]
fn main() {}
