//! Partition tables, with damaged checksums and with right ones, in blocks of 512 and of 4096 bytes.

use handoff::gpt::{Geometry, GptPartitionEntry, Table, crc32, read};

const SECTOR: usize = 512;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    for block in [512, 4096] {
        partition_table(bytes, block);
    }
    let mut disk = bytes.to_vec();
    if with_right_checksums(&mut disk, SECTOR).is_some() {
        // The backup, too, where its header begins as one.
        if let Some(last) = disk.len().checked_sub(SECTOR) {
            with_right_checksums(&mut disk, last - last % SECTOR);
        }
        partition_table(&disk, 512);
    }
}

fn partition_table(bytes: &[u8], block: u64) {
    let disk = Geometry::new(block, bytes.len() as u64).expect("both are sizes of blocks");
    let read = |offset: u64, length: usize| {
        assert!(length <= (1 << 20) + 4096, "nothing larger than a table is asked for");
        assert!(
            offset.is_multiple_of(block) && (length as u64).is_multiple_of(block),
            "whole blocks are asked for"
        );
        let start = usize::try_from(offset).map_err(|_| "far away")?;
        bytes.get(start..).and_then(|rest| rest.get(..length)).map(<[u8]>::to_vec).ok_or("past the end")
    };
    let first = read::first(disk, read);
    let both = read::both(disk, read);
    for table in both.primary.iter().chain(&both.backup) {
        holds(table);
    }
    match (first, both.used()) {
        (Ok(first), Ok((used, _))) => {
            assert_eq!(first.table, used, "both ways use the same copy");
            let _ = used.duplicate_roles();
        }
        (Err(first), Err(both)) => assert_eq!(first.to_string(), both.to_string()),
        (first, both) => panic!("only one of two ways reads a table: {first:?}, {both:?}"),
    }
}

fn holds(table: &Table) {
    let header = table.header();
    let mut partitions: Vec<&GptPartitionEntry> = table.partitions().iter().collect();
    partitions.sort_by_key(|entry| entry.starting_lba);
    for entry in &partitions {
        assert!(entry.number > 0, "the kernel counts from 1");
        assert!(header.first_usable_lba <= entry.starting_lba && entry.starting_lba <= entry.ending_lba);
        assert!(entry.ending_lba <= header.last_usable_lba);
    }
    assert!(partitions.windows(2).all(|pair| pair[0].ending_lba < pair[1].starting_lba), "two overlap");
}

/// Corrects the checksums of the copy whose header is at byte `at`.
fn with_right_checksums(disk: &mut [u8], at: usize) -> Option<()> {
    let header = disk.get_mut(at..at.checked_add(92)?)?;
    header[..8].copy_from_slice(b"EFI PART");
    let start = u64::from_le_bytes(header[72..80].try_into().ok()?);
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(header[at..at + 4].try_into().ok()?)));
    let place = usize::try_from(number(80)?.saturating_mul(number(84)?)).ok().and_then(|length| {
        let start = usize::try_from(start.checked_mul(SECTOR as u64)?).ok()?;
        Some(start..start.checked_add(length)?)
    });
    // A header may have more entries than the disk; its own checksum is correct anyway.
    let entries = place.and_then(|place| disk.get(place)).map(crc32);
    let header = disk.get_mut(at..at + 92)?;
    if let Some(entries) = entries {
        header[88..92].copy_from_slice(&entries.to_le_bytes());
    }
    header[16..20].fill(0);
    let own = crc32(header);
    header[16..20].copy_from_slice(&own.to_le_bytes());
    Some(())
}
