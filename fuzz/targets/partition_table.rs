//! Partition tables, with damaged checksums and with right ones.
#![no_main]

use initloader::fuzzing::{crc32, partition_table};
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;
const HEADER: std::ops::Range<usize> = SECTOR..SECTOR + 92;

fuzz_target!(|bytes: &[u8]| {
    partition_table(bytes);
    if let Some(disk) = with_right_checksums(bytes) {
        partition_table(&disk);
    }
});

/// The disk whose primary table has the checksums of what it holds.
fn with_right_checksums(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut disk = bytes.to_vec();
    let header = disk.get_mut(HEADER)?;
    header[..8].copy_from_slice(b"EFI PART");
    let start = u64::from_le_bytes(header[72..80].try_into().ok()?);
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(header[at..at + 4].try_into().ok()?)));
    let place = usize::try_from(number(80)?.saturating_mul(number(84)?)).ok().and_then(|length| {
        let start = usize::try_from(start.checked_mul(SECTOR as u64)?).ok()?;
        Some(start..start.checked_add(length)?)
    });
    // A header may ask for entries that no disk has; its own checksum is right all the same.
    let entries = place.and_then(|place| disk.get(place)).map(crc32);
    let header = disk.get_mut(HEADER)?;
    if let Some(entries) = entries {
        header[88..92].copy_from_slice(&entries.to_le_bytes());
    }
    header[16..20].fill(0);
    let own = crc32(header);
    header[16..20].copy_from_slice(&own.to_le_bytes());
    Some(disk)
}
