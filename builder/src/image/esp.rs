//! The EFI system partition: a FAT32 with the selector and a script that starts it from a UEFI shell, made with the
//! `fatfs` crate.
//!
//! It is made in memory. Serial number and times are fixed, so the same selector gives the same bytes. Nothing writes
//! this file system after flashing, because a power cut during a FAT write can destroy it.

use crate::site::Bytes;
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use handoff::architecture::Architecture;
use std::io::{self, Cursor, Write as _};

/// The folders in which firmware looks on a removable medium (UEFI 2.10, section 3.5.1.1).
pub const FOLDERS: [&str; 2] = ["EFI", "EFI/BOOT"];
/// The script that a UEFI shell runs if it is in a root folder (UEFI Shell 2.2, section 3.6).
const SHELL_SCRIPT: &str = "STARTUP.NSH";
/// Firmware may look for sticks before a slow hub has reported one, and then start its own shell. `%0` is the script's
/// own path, so the selector of another medium is never started.
fn start_selector(architecture: &Architecture) -> String {
    format!("%0\\..\\EFI\\BOOT\\{}\r\n", architecture.efi_file)
}

/// The path of the selector on the ESP.
#[must_use]
pub fn selector(architecture: &Architecture) -> String {
    format!("EFI/BOOT/{}", architecture.efi_file)
}

/// The bytes of a cluster, one sector: FAT32 needs many clusters, and the ESP is small.
const CLUSTER: u32 = 512;
const LABEL: [u8; 11] = *b"PSYOPS-ESP ";

/// FAT's own epoch: the ESP is the same for all releases with one selector, so it has no build time.
#[derive(Debug)]
struct Epoch;

static EPOCH: Epoch = Epoch;

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// The volume's serial number, from its boot sector (FAT32, section 3.3: `BS_VolID`).
#[must_use]
pub fn serial(volume: &[u8]) -> Option<u32> {
    volume.get(67..71)?.try_into().ok().map(u32::from_le_bytes)
}

/// The content of an ESP of `size` with the selector for `architecture` on it.
pub fn make(architecture: &Architecture, size: Bytes, serial: u32, selector: &[u8]) -> io::Result<Vec<u8>> {
    let length = usize::try_from(size.0).map_err(io::Error::other)?;
    let mut volume = Cursor::new(vec![0; length]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(CLUSTER)
        .volume_id(serial)
        .volume_label(LABEL);
    fatfs::format_volume(&mut volume, options)?;
    let options = FsOptions::new().time_provider(&EPOCH).update_accessed_date(false);
    let file_system = FileSystem::new(&mut volume, options)?;
    {
        let root = file_system.root_dir();
        for folder in FOLDERS {
            root.create_dir(folder)?;
        }
        let (place, script) = (self::selector(architecture), start_selector(architecture));
        for (name, content) in [(place.as_str(), selector), (SHELL_SCRIPT, script.as_bytes())] {
            let mut file = root.create_file(name)?;
            file.write_all(content)?;
            file.flush()?;
        }
    }
    // Counting the free clusters once writes their number to the FSInfo sector.
    file_system.stats()?;
    file_system.unmount()?;
    let mut volume = volume.into_inner();
    mend_parent_entry(&mut volume)
        .ok_or_else(|| io::Error::other("the new file system has no folder EFI"))?;
    Ok(volume)
}

/// fatfs 0.3 points the `..` entry of a folder in the root to the root's cluster. The specification (FAT32, section
/// 6.5) requires 0 there, and fsck.vfat repairs it; this function does so in the only folder in the root.
fn mend_parent_entry(volume: &mut [u8]) -> Option<()> {
    const ENTRY: usize = 32;
    let byte = |at: usize| volume.get(at).copied().map(usize::from);
    let word = |at: usize| Some(byte(at)? | byte(at + 1)? << 8);
    let long = |at: usize| Some(word(at)? | word(at + 2)? << 16);
    let sector = word(11)?;
    let data_start = (word(14)? + byte(16)? * long(36)?) * sector;
    let cluster = |number: usize| Some(data_start + number.checked_sub(2)? * sector * byte(13)?);
    let root = cluster(long(44)?)?;
    let folder = (root..)
        .step_by(ENTRY)
        .take(16)
        .find(|&entry| volume.get(entry..entry + 11) == Some(b"EFI        "))?;
    let parent_entry = cluster(word(folder + 26)? | word(folder + 20)? << 16)? + ENTRY;
    if volume.get(parent_entry..parent_entry + 11)? != b"..         " {
        return None;
    }
    for at in [20, 21, 26, 27] {
        *volume.get_mut(parent_entry + at)? = 0;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::architecture::X86_64;
    use std::process::Command;

    #[test]
    fn fsck_finds_nothing_and_two_are_equal() {
        let selector: Vec<u8> = (0..200_000_u32).map(|i| u8::try_from(i % 253).unwrap()).collect();
        let image = make(&X86_64, Bytes::mib(33), 0x1234_abcd, &selector).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("esp");
        std::fs::write(&path, &image).unwrap();
        let output = Command::new("/usr/sbin/fsck.vfat").args(["-n", "-v"]).arg(&path).output();
        let output = output.expect("fsck.vfat is needed: install dosfstools");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("32 bit entries"), "{text}");
        assert!(make(&X86_64, Bytes::mib(33), 0x1234_abcd, &selector).unwrap() == image);
        assert!(make(&X86_64, Bytes::mib(33), 0x1234_abce, &selector).unwrap() != image);
    }

    #[test]
    fn a_selector_that_does_not_fit_is_an_error() {
        let error = make(&X86_64, Bytes::mib(33), 1, &vec![1; 33 << 20]).unwrap_err();
        assert_eq!(error.to_string(), "No space left on device");
    }
}
