//! The processor architectures of nodes: one row each, with every name and number that differs between them.
//!
//! Nothing else in the workspace knows an architecture, except code that is machine code itself (the folders
//! `selector/src/clock/` and `preload/src/system_call/`, with a file for each). A new architecture is a row here, a
//! build of the selector, the loader and the agent for it, and tests.

use core::fmt;
use core::str::FromStr;

/// What differs between architectures.
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// The name in site files and messages.
    pub name: &'static str,
    /// Partition type of a root (UAPI.2, Discoverable Partitions Specification).
    pub root_type: &'static str,
    /// Partition type of the hash tree of a root (the same).
    pub verity_type: &'static str,
    /// The file that firmware starts from a removable medium, in `EFI/BOOT` (UEFI 2.10, section 3.5.1.1).
    pub efi_file: &'static str,
    /// `e_machine` of ELF files (elf(5)).
    pub elf_machine: u16,
    /// `Machine` of PE files (PE format, "Machine Types").
    pub pe_machine: u16,
    /// Debian's name of the architecture, as in `dpkg --print-architecture`.
    pub debian: &'static str,
    /// Debian's name of the folder for its libraries (`/usr/lib/...`), the multiarch tuple.
    pub multiarch: &'static str,
    /// The file name of the dynamic linker of the C library.
    pub dynamic_linker: &'static str,
    /// The path at which programs expect the dynamic linker.
    pub dynamic_linker_path: &'static str,
    /// Debian's package that depends on the newest kernel.
    pub kernel_package: &'static str,
    /// OCI's name of the architecture (Go's `GOARCH`).
    pub oci: &'static str,
    /// The file name of systemd's boot stub.
    pub stub: &'static str,
    /// The first serial port, as the kernel's `console=` names it.
    pub serial_console: &'static str,
    /// Rust's name of the processor, as in `std::env::consts::ARCH`.
    pub rust: &'static str,
    /// Rust's target for the loader and the agent.
    pub linux_target: &'static str,
    /// Rust's target for the selector.
    pub uefi_target: &'static str,
    /// How QEMU emulates it.
    pub qemu: Qemu,
}

/// How QEMU emulates an architecture, with the names of Debian's packages.
#[derive(Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The file name of the emulator.
    pub program: &'static str,
    /// The package that has the emulator.
    pub package: &'static str,
    /// The machine type, for `-machine`.
    pub machine: &'static str,
    /// UEFI firmware without Secure Boot.
    pub firmware_code: &'static str,
    /// The factory state of that firmware's variables.
    pub firmware_variables: &'static str,
    /// The package of the firmware and its variables.
    pub firmware_package: &'static str,
}

/// x86-64, with UEFI.
pub static X86_64: Architecture = Architecture {
    name: "x86-64",
    root_type: "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
    verity_type: "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
    efi_file: "BOOTX64.EFI",
    elf_machine: 62,
    pe_machine: 0x8664,
    debian: "amd64",
    multiarch: "x86_64-linux-gnu",
    dynamic_linker: "ld-linux-x86-64.so.2",
    dynamic_linker_path: "/lib64/ld-linux-x86-64.so.2",
    kernel_package: "linux-image-amd64",
    oci: "amd64",
    stub: "linuxx64.efi.stub",
    serial_console: "ttyS0",
    rust: "x86_64",
    linux_target: "x86_64-unknown-linux-musl",
    uefi_target: "x86_64-unknown-uefi",
    qemu: Qemu {
        program: "qemu-system-x86_64",
        package: "qemu-system-x86",
        machine: "q35",
        firmware_code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
        firmware_variables: "/usr/share/OVMF/OVMF_VARS_4M.fd",
        firmware_package: "ovmf",
    },
};

/// 64-bit Arm, with UEFI. Everything compiles for it, but no site can ask for it: it is not in [`Architecture::ALL`],
/// because no test boots it yet.
pub static ARM64: Architecture = Architecture {
    name: "arm64",
    root_type: "b921b045-1df0-41c3-af44-4c6f280d3fae",
    verity_type: "df3300ce-d69f-4c92-978c-9bfb0f38d820",
    efi_file: "BOOTAA64.EFI",
    elf_machine: 183,
    pe_machine: 0xaa64,
    debian: "arm64",
    multiarch: "aarch64-linux-gnu",
    dynamic_linker: "ld-linux-aarch64.so.1",
    dynamic_linker_path: "/lib/ld-linux-aarch64.so.1",
    kernel_package: "linux-image-arm64",
    oci: "arm64",
    stub: "linuxaa64.efi.stub",
    serial_console: "ttyAMA0",
    rust: "aarch64",
    linux_target: "aarch64-unknown-linux-musl",
    uefi_target: "aarch64-unknown-uefi",
    qemu: Qemu {
        program: "qemu-system-aarch64",
        package: "qemu-system-arm",
        machine: "virt",
        firmware_code: "/usr/share/AAVMF/AAVMF_CODE.fd",
        firmware_variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
        firmware_package: "qemu-efi-aarch64",
    },
};

/// A name that no architecture has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownArchitecture;

impl Architecture {
    /// Every architecture that a site can ask for.
    pub const ALL: [&'static Self; 1] = [&X86_64];

    /// The architecture of a site that names none, and of a lock from before there was a choice.
    pub const DEFAULT: &'static Self = &X86_64;

    /// The architecture that this program was compiled for.
    #[cfg(target_arch = "x86_64")]
    pub const OF_THIS_PROGRAM: &'static Self = &X86_64;
    /// The architecture that this program was compiled for.
    #[cfg(target_arch = "aarch64")]
    pub const OF_THIS_PROGRAM: &'static Self = &ARM64;
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for &'static Architecture {
    type Err = UnknownArchitecture;

    fn from_str(name: &str) -> Result<Self, UnknownArchitecture> {
        Architecture::ALL.into_iter().find(|row| row.name == name).ok_or(UnknownArchitecture)
    }
}

impl fmt::Display for UnknownArchitecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("known architectures are:")?;
        Architecture::ALL.iter().try_for_each(|row| write!(f, " {row}"))
    }
}

impl core::error::Error for UnknownArchitecture {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid::Guid;
    use alloc::vec::Vec;

    const ROWS: [&Architecture; 2] = [&X86_64, &ARM64];

    #[test]
    fn rows_are_told_apart_by_name_and_by_partition_types() {
        for row in Architecture::ALL {
            assert_eq!(row.name.parse(), Ok(row));
        }
        let types: Vec<Guid> = ROWS
            .iter()
            .flat_map(|row| [row.root_type, row.verity_type])
            .map(|guid| guid.parse().unwrap())
            .collect();
        assert!(types.iter().enumerate().all(|(at, guid)| !types[..at].contains(guid)), "{types:?}");
        assert_eq!("amd64".parse::<&Architecture>(), Err(UnknownArchitecture));
    }

    #[test]
    fn no_site_can_ask_for_an_architecture_that_no_test_boots() {
        assert_eq!("arm64".parse::<&Architecture>(), Err(UnknownArchitecture));
    }

    #[test]
    fn the_targets_of_a_row_are_for_its_processor() {
        for row in ROWS {
            for target in [row.linux_target, row.uefi_target] {
                assert_eq!(target.split('-').next(), Some(row.rust));
            }
        }
    }
}
