//! Each test makes one field wrong and expects exactly the error for it.

use super::sample::{BLOCKS, EntryField, Field, Sample};
use super::*;
use alloc::string::ToString as _;
use alloc::{format, vec};

fn both(sample: &Sample) -> BothCopies {
    read::both(sample.geometry(), |offset, length| sample.read(offset, length))
}

fn first(sample: &Sample) -> Result<FirstCopy, NoTable> {
    read::first(sample.geometry(), |offset, length| sample.read(offset, length))
}

fn entry(number: u32, name: &str) -> EntryName {
    EntryName { number, name: name.to_string() }
}

#[test]
fn entries_of_every_size_that_uefi_allows_are_read() {
    for entry_size in [128, 256, 512, 1024] {
        let sample = Sample::new(entry_size);
        let found = both(&sample);
        let (primary, backup) = (found.primary.clone().unwrap(), found.backup.clone().unwrap());
        assert!(primary.says_the_same_as(&backup));
        assert_eq!(found.last, Lba(BLOCKS - 1));
        assert_eq!(found.used().unwrap().1, None);
        let roles: Vec<_> = primary.partitions().iter().filter_map(GptPartitionEntry::role).collect();
        assert_eq!(roles, Role::ALL);
        let third = &primary.partitions()[2];
        assert_eq!((third.number, third.starting_lba, third.blocks()), (3, Lba(544), 16));
        assert_eq!(first(&sample), Ok(FirstCopy { table: primary, fault: None }));
    }
}

#[test]
fn one_field_of_a_header_that_is_wrong_is_the_problem_that_is_named() {
    let (one, last) = (1_u64.to_le_bytes(), (BLOCKS - 1).to_le_bytes());
    let cases = [
        (Field::Revision, [0, 0, 2, 0].to_vec(), Problem::Revision { found: 0x2_0000 }),
        (Field::HeaderSize, 91_u32.to_le_bytes().to_vec(), Problem::HeaderSize { found: 91 }),
        (Field::HeaderSize, 513_u32.to_le_bytes().to_vec(), Problem::HeaderSize { found: 513 }),
        (Field::MyLba, last.to_vec(), Problem::MyLba { says: Lba(BLOCKS - 1), read_at: Lba(1) }),
        (Field::AlternateLba, one.to_vec(), Problem::AlternateLba { says: Lba(1) }),
        (
            Field::FirstUsableLba,
            last.to_vec(),
            Problem::UsableLbas { first: Lba(BLOCKS - 1), last: Lba(BLOCKS - 34) },
        ),
        (Field::LastUsableLba, one.to_vec(), Problem::UsableLbas { first: Lba(34), last: Lba(1) }),
        (Field::PartitionEntryLba, one.to_vec(), Problem::PartitionEntryLba { says: Lba(1), blocks: 32 }),
        (
            Field::PartitionEntryLba,
            u64::MAX.to_le_bytes().to_vec(),
            Problem::PartitionEntryLba { says: Lba(u64::MAX), blocks: 32 },
        ),
        (
            Field::NumberOfPartitionEntries,
            u32::MAX.to_le_bytes().to_vec(),
            Problem::TooManyEntries { count: u32::MAX, size: 128 },
        ),
        (
            Field::NumberOfPartitionEntries,
            129_u32.to_le_bytes().to_vec(),
            Problem::PartitionEntryLba { says: Lba(2), blocks: 33 },
        ),
        (
            Field::SizeOfPartitionEntry,
            64_u32.to_le_bytes().to_vec(),
            Problem::SizeOfPartitionEntry { found: 64 },
        ),
        (
            Field::SizeOfPartitionEntry,
            192_u32.to_le_bytes().to_vec(),
            Problem::SizeOfPartitionEntry { found: 192 },
        ),
        (
            Field::SizeOfPartitionEntry,
            0_u32.to_le_bytes().to_vec(),
            Problem::SizeOfPartitionEntry { found: 0 },
        ),
        (
            Field::SizeOfPartitionEntry,
            (1_u32 << 31).to_le_bytes().to_vec(),
            Problem::TooManyEntries { count: 128, size: 1 << 31 },
        ),
    ];
    let whole = first(&Sample::new(128)).unwrap().table;
    for (field, value, problem) in cases {
        let sample = Sample::new(128);
        let sample = match value.len() {
            4 => sample.with::<4>(true, field, value.try_into().unwrap()),
            _ => sample.with::<8>(true, field, value.try_into().unwrap()),
        };
        let found = both(&sample);
        assert_eq!(found.primary, Err(problem.clone()), "{field:?}");
        // The backup is used instead, and the result says so.
        let fault = CopyFault::Damaged { copy: Copy::Primary, problem };
        let used = first(&sample).unwrap();
        assert!(used.table.says_the_same_as(&whole), "{field:?}");
        assert_eq!(used.fault, Some(fault.clone()));
        assert_eq!(found.used().unwrap().1, Some(fault));
    }
}

#[test]
fn the_backup_must_name_the_primary_and_its_own_place() {
    let sample = Sample::new(128).with(false, Field::AlternateLba, 2_u64.to_le_bytes());
    assert_eq!(both(&sample).backup, Err(Problem::AlternateLba { says: Lba(2) }));
    let sample = Sample::new(128).with(false, Field::MyLba, 1_u64.to_le_bytes());
    assert_eq!(both(&sample).backup, Err(Problem::MyLba { says: Lba(1), read_at: Lba(BLOCKS - 1) }));
    let array = Lba(BLOCKS - 34);
    let sample = Sample::new(128).with(false, Field::PartitionEntryLba, array.0.to_le_bytes());
    assert_eq!(both(&sample).backup, Err(Problem::PartitionEntryLba { says: array, blocks: 32 }));
}

#[test]
fn a_byte_that_changed_is_found_by_the_checksum_over_it() {
    let sample = Sample::new(128);
    let header = sample.clone().torn(512 + 60);
    assert!(matches!(both(&header).primary, Err(Problem::HeaderCrc32 { .. })));
    let entries = sample.clone().torn(sample.entry(true, 3) + 57);
    assert!(matches!(both(&entries).primary, Err(Problem::PartitionEntryArrayCrc32 { .. })));
    assert_eq!(both(&sample.clone().torn(512)).primary, Err(Problem::Signature));
    for torn in [header, entries] {
        assert!(matches!(first(&torn).unwrap().fault, Some(CopyFault::Damaged { copy: Copy::Primary, .. })));
    }
}

#[test]
fn every_byte_of_the_header_and_bytes_of_all_entries_are_covered() {
    let mut sample = Sample::new(128);
    let table = first(&sample).unwrap().table;
    for at in (512..512 + 92).chain((1024..1024 + 128 * 128).step_by(131)) {
        sample.bytes[at] ^= 0x10;
        let found = first(&sample).unwrap();
        assert!(found.fault.is_some() && found.table.says_the_same_as(&table), "byte {at}");
        sample.bytes[at] ^= 0x10;
    }
}

#[test]
fn invalid_entries_are_refused_and_named() {
    let lba = |lba: u64| lba.to_le_bytes();
    let (first_usable, last_usable) = (Lba(34), Lba(BLOCKS - 34));
    let outside = |entry, starting, ending| Problem::OutsideUsableLbas {
        entry,
        starting: Lba(starting),
        ending: Lba(ending),
        first_usable,
        last_usable,
    };
    let cases = [
        (
            (2, EntryField::EndingLba, lba(543)),
            Problem::EndsBeforeItBegins { entry: entry(3, "boot-a"), starting: Lba(544), ending: Lba(543) },
        ),
        ((0, EntryField::StartingLba, lba(33)), outside(entry(1, "esp"), 33, 527)),
        ((11, EntryField::EndingLba, lba(BLOCKS - 33)), outside(entry(12, "data"), 688, BLOCKS - 33)),
        ((11, EntryField::EndingLba, lba(u64::MAX)), outside(entry(12, "data"), 688, u64::MAX)),
        (
            (1, EntryField::EndingLba, lba(544)),
            Problem::Overlap { first: entry(2, "control"), second: entry(3, "boot-a"), lba: Lba(544) },
        ),
        // A partition that surrounds all the others.
        (
            (11, EntryField::StartingLba, lba(100)),
            Problem::Overlap { first: entry(12, "data"), second: entry(1, "esp"), lba: Lba(512) },
        ),
    ];
    for ((index, field, value), problem) in cases {
        let sample = Sample::new(128).with_entry(index, field, value);
        let refused = NoTable::new(problem.clone(), problem);
        assert_eq!(first(&sample), Err(refused.clone()));
        assert_eq!(both(&sample).used(), Err(refused));
    }
}

#[test]
fn two_partitions_with_one_guid_are_refused() {
    let sample = Sample::new(256).with_entry(4, EntryField::UniquePartitionGuid, [1; 16]);
    let problem = Problem::SameGuid {
        first: entry(1, "esp"),
        second: entry(5, "verity-a"),
        guid: Guid::from_disk([1; 16]),
    };
    assert_eq!(*first(&sample).unwrap_err().primary, problem);
}

#[test]
fn two_partitions_with_one_role_are_reported_when_that_role_is_read() {
    let table = first(&Sample::new(256).with_role_of(1, 6)).unwrap().table;
    let twice = DuplicateRole { role: Role::Control, numbers: [2, 7] };
    assert_eq!(table.partition(Role::Control), Err(twice.clone()));
    assert_eq!(table.duplicate_roles(), core::slice::from_ref(&twice));
    assert_eq!(twice.to_string(), "two partitions control, numbers 2 and 7");
    assert_eq!(table.partition(Role::Root(crate::slot::Slot::B)), Ok(None));
    assert_eq!(table.partition(Role::Esp).unwrap().map(|entry| entry.number), Some(1));
}

#[test]
fn two_valid_copies_that_differ_are_reported() {
    let mut sample = Sample::new(128);
    let other = Sample::new(128).with_entry(0, EntryField::UniquePartitionGuid, [99; 16]);
    let end = sample.bytes.len() - 33 * 512;
    sample.bytes[end..].copy_from_slice(&other.bytes[end..]);
    let (table, fault) = both(&sample).used().unwrap();
    assert_eq!(fault, Some(CopyFault::Different));
    assert_eq!(table.partitions()[0].unique_partition_guid, Guid::from_disk([1; 16]));
}

#[test]
fn an_image_on_a_larger_medium_has_its_backup_where_the_primary_says_or_else_the_mbr() {
    let mut sample = Sample::new(128);
    sample.bytes.resize(sample.bytes.len() + 512 * 1000, 0);
    let found = both(&sample);
    assert_eq!((found.last, found.backup.is_ok()), (Lba(BLOCKS - 1), true));
    let torn = sample.torn(512);
    let found = both(&torn);
    assert_eq!((found.last, found.backup.is_ok()), (Lba(BLOCKS - 1), true));
    assert!(first(&torn).is_ok());
}

#[test]
fn a_truncated_image_is_reported_as_cut_off() {
    let mut sample = Sample::new(128);
    sample.bytes.truncate(1000 * 512);
    let found = both(&sample);
    let cut = |blocks: u64| Problem::Cut { end: blocks * 512, size: sample.bytes.len() as u64 };
    assert_eq!(found.backup, Err(cut(BLOCKS)));
    let table = found.primary.unwrap();
    assert_eq!(table.cut(sample.geometry()), Some(cut(BLOCKS - 33)));
    assert_eq!(table.cut(Sample::new(128).geometry()), None);
    for (length, end) in [(20 * 512 + 1, 34 * 512), (1023, 1024), (1, 1024), (0, 1024)] {
        sample.bytes.truncate(length);
        let cut = Problem::Cut { end, size: length as u64 };
        assert_eq!(*first(&sample).unwrap_err().primary, cut, "{length}");
    }
}

#[test]
fn reads_are_bounded_and_in_whole_blocks() {
    let mut sample = Sample::new(128);
    sample.bytes.truncate(1024);
    let sample = sample.with(true, Field::NumberOfPartitionEntries, u32::MAX.to_le_bytes());
    let geometry = Geometry::new(512, 1 << 40).unwrap();
    let mut asked = vec![];
    let _ = read::both(geometry, |offset, length| {
        asked.push((offset, length));
        sample.read(offset, length)
    });
    assert!(asked.iter().all(|(offset, length)| offset % 512 == 0 && *length == 512), "{asked:?}");
    assert_eq!(Geometry::new(100, 1000), Err(Problem::BlockSize { found: 100 }));
}

#[test]
fn a_name_from_the_table_cannot_change_what_a_message_says() {
    let problem = Problem::EndsBeforeItBegins {
        entry: entry(3, "a\npsyops: ok\u{1b}[2J\u{202e}"),
        starting: Lba(9),
        ending: Lba(8),
    };
    let text = "partition 3 (a\\npsyops: ok\\u001b[2J\\u202e) ends at block 8, before it begins at block 9";
    assert_eq!(format!("{problem}"), text);
}
