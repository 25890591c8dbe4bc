//! Reading EFI variables from efivarfs: four bytes of attributes, then the value.

use std::path::Path;

/// The mount point of efivarfs; the kernel makes this folder if the firmware has variables.
pub(crate) const FOLDER: &str = "/sys/firmware/efi/efivars";
/// The vendor GUID of the Boot Loader Interface (<https://systemd.io/BOOT_LOADER_INTERFACE>).
pub(crate) const BOOT_LOADER_VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The partition GUID of the ESP that the boot loader was started from.
pub(crate) const DEVICE_PART_UUID: &str = "LoaderDevicePartUUID";

/// When the boot loader began, and when it started the kernel: microseconds since the machine was switched on.
pub(crate) const TIMES: [&str; 2] = ["LoaderTimeInitUSec", "LoaderTimeExecUSec"];

/// The value of a variable; `None` if it does not exist.
pub(crate) fn read(folder: &Path, name: &str, vendor: &str) -> Option<Vec<u8>> {
    let bytes = std::fs::read(folder.join(format!("{name}-{vendor}"))).ok()?;
    bytes.get(4..).map(<[u8]>::to_vec)
}

/// A value that is text in UTF-16, with or without the zero at its end.
pub(crate) fn utf16(value: &[u8]) -> Option<String> {
    let units = value.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_le_bytes));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16(&units).ok()
}

/// A value that is a decimal number in UTF-16.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    utf16(value)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_cut_off_and_texts_end_at_zero() {
        let folder = std::env::temp_dir();
        let name = format!("Variable{}", std::process::id());
        let path = folder.join(format!("{name}-v"));
        std::fs::write(&path, b"\x06\0\0\0A\0b\0\0\0x\0").unwrap();
        let value = read(&folder, &name, "v").unwrap();
        assert_eq!(utf16(&value).as_deref(), Some("Ab"));
        assert_eq!((number(&value), number(b"1\x002\0\0\0")), (None, Some(12)));
        std::fs::write(&path, b"\x06\0").unwrap();
        assert_eq!(read(&folder, &name, "v"), None, "shorter than its attributes");
        std::fs::remove_file(path).unwrap();
        assert_eq!(read(&folder, &name, "v"), None);
        assert_eq!(utf16(&[0x41, 0, 0, 0xd8]), None, "half a surrogate pair");
    }
}
