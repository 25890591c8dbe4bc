//! Volumes made by [`crate::image::esp`], whole and changed.

use super::*;
use crate::image::esp;
use crate::site::Bytes;

const SIZE: u64 = 33 << 20;

fn volume() -> Vec<u8> {
    esp::make(&handoff::architecture::X86_64, Bytes(SIZE), 7, &[9; 1300]).unwrap()
}

fn read(bytes: &Vec<u8>) -> Result<Vec<(String, u64)>, String> {
    let volume = Volume::read(bytes, SIZE).map_err(|error| error.to_string())?;
    Ok(volume.entries().iter().map(|(path, found)| (path.clone(), found.size)).collect())
}

fn layout(bytes: &[u8]) -> Layout {
    Layout::read(&bytes[..512], SIZE).unwrap()
}

/// Sets an entry of the first table.
fn link(bytes: &mut [u8], cluster: u32, next: u32) {
    let at = usize::try_from(layout(bytes).tables_at).unwrap() + usize::try_from(cluster).unwrap() * 4;
    bytes[at..at + 4].copy_from_slice(&next.to_le_bytes());
}

fn first_cluster(bytes: &Vec<u8>, path: &str) -> u32 {
    Volume::read(bytes, SIZE).unwrap().get(path).unwrap().clusters[0]
}

#[test]
fn files_and_folders_are_found_and_read() {
    let bytes = volume();
    let found = read(&bytes).unwrap();
    let names: Vec<(&str, u64)> = found.iter().map(|(path, size)| (path.as_str(), *size)).collect();
    assert_eq!(names, [("EFI", 0), ("EFI/BOOT", 0), ("EFI/BOOT/BOOTX64.EFI", 1300), ("STARTUP.NSH", 28)]);
    let volume = Volume::read(&bytes, SIZE).unwrap();
    let selector = volume.get("efi/boot/BootX64.efi").unwrap();
    assert_eq!(volume.content(selector).unwrap(), [9; 1300]);
    compare_copies(&bytes, SIZE).unwrap();
}

#[test]
fn chains_that_never_end_or_meet_are_named() {
    let whole = volume();
    let selector = first_cluster(&whole, "EFI/BOOT/BOOTX64.EFI");
    let folder = first_cluster(&whole, "EFI/BOOT");
    let root = layout(&whole).root;
    let named = |cluster: u32, next: u32| {
        let mut bytes = whole.clone();
        link(&mut bytes, cluster, next);
        read(&bytes).unwrap_err()
    };
    let crossed = |cluster: u32, path: &str| {
        format!(
            "its file allocation table is damaged: cluster {cluster} is used by {path} and by another file, or twice by it"
        )
    };
    assert_eq!(named(selector, selector), crossed(selector, "EFI/BOOT/BOOTX64.EFI"));
    assert_eq!(named(folder, folder), crossed(folder, "EFI/BOOT"));
    assert_eq!(named(root, root), crossed(root, "its top folder"));
    assert_eq!(named(root, selector), crossed(selector, "EFI/BOOT/BOOTX64.EFI"));
    assert_eq!(
        named(selector, 0x0fff_fff0),
        "its file allocation table is damaged: the chain of EFI/BOOT/BOOTX64.EFI leads to cluster 268435440, \
         which does not exist"
    );
    assert_eq!(
        named(selector, 0x0fff_ffff),
        "its file allocation table is damaged: EFI/BOOT/BOOTX64.EFI has 1300 bytes and 1 clusters"
    );
}

#[test]
fn each_field_of_the_boot_sector_is_checked_and_named() {
    let whole = volume();
    for (at, value, field) in [
        (510, 0, "Signature_word is 43520, expected is 43605"),
        (12, 4, "BPB_BytsPerSec is 1024, expected is 512"),
        (13, 3, "BPB_SecPerClus is 3, expected is a power of two"),
        (13, 0, "BPB_SecPerClus is 0, expected is 1 to 128"),
        (14, 2, "BPB_RsvdSecCnt is 2, expected is 7 to 65535"),
        (16, 1, "BPB_NumFATs is 1, expected is 2"),
        (35, 0x7f, "BPB_TotSec32 is 2130774016, expected is 65525 to 67584"),
        (39, 0x7f, "BPB_FATSz32 is 21307"),
        (47, 0x0f, "BPB_RootClus is 251658242"),
        (48, 2, "BPB_FSInfo is 2, expected is 1"),
        (50, 7, "BPB_BkBootSec is 7, expected is 6"),
    ] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        let error = read(&bytes).unwrap_err();
        let expected = format!("its boot sector is not that of a FAT32 volume: {field}");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_volume_over_the_limit_is_not_read() {
    let error = Volume::read(&volume(), 50 << 30).err().unwrap().to_string();
    assert!(error.starts_with("the ESP has 53687091200 bytes, more than the limit of 1073741824"), "{error}");
}
