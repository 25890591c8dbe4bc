//! Partition tables that the builder never writes, and how every command reports them.

use super::fixture;
use super::ids::ImageIds;
use super::plan::{Contents, plan};
use super::reader::{ImageReader, ReadError, Table};
use super::table_fixture::Tables;
use crate::browse;
use crate::disks::content::{Content, ContentKind};
use crate::inspect::inspect;
use crate::site::{Bytes, Sizes};
use crate::verify::verify;
use handoff::gpt::{Geometry, read};
use handoff::hash::Sha256Digest;
use handoff::partition::{Role, SECTOR};
use handoff::verity::RootHash;
use std::fs::File;
use std::path::Path;

fn content(path: &Path) -> Content {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    Content::of(path, &file, size).unwrap()
}

#[test]
fn entries_of_256_bytes_are_read_by_every_command() {
    for size in [256, 1024] {
        let fixture = fixture::image();
        let path = fixture.image.path.as_path();
        let before = inspect(path).unwrap();
        Tables::of(path).with_entries_of(size).write(path);
        let after = inspect(path).unwrap();
        assert_eq!(after.partitions, before.partitions);
        assert_eq!(after.warnings, before.warnings);
        let verified = verify(&ImageReader::open(path).unwrap(), None, None).unwrap();
        assert!(verified.is_whole(), "{verified:?}");
        let content = content(path);
        assert_eq!(content.kind, ContentKind::Stick { site: "site".into(), node: "demo".into() });
        assert_eq!(content.table_faults, [""; 0]);
        assert_eq!(browse::list(path, "esp").unwrap().len(), 2);
    }
}

#[test]
fn overlapping_partitions_have_the_same_message_in_every_command() {
    let fixture = fixture::image();
    let path = fixture.image.path.as_path();
    let tables = Tables::of(path);
    let start: [u8; 8] = tables.bytes_of(1)[32..40].try_into().unwrap();
    tables.with(2, 32, &start).write(path);
    let lba = u64::from_le_bytes(start);
    let words = format!("partitions 1 (esp) and 2 (control) overlap at block {lba}");
    let Err(ReadError::NoTable { reason, .. }) = ImageReader::open(path) else { panic!("it was read") };
    assert_eq!(reason.to_string(), words);
    let error = inspect(path).unwrap_err().to_string();
    assert!(error.contains(&words), "{error}");
    assert_eq!(content(path).table_faults, [words]);
}

#[test]
fn a_partition_that_ends_before_it_begins_has_the_same_message_in_every_command() {
    let fixture = fixture::image();
    let path = fixture.image.path.as_path();
    Tables::of(path).with(1, 40, &40_u64.to_le_bytes()).write(path);
    let words = "partition 1 (esp) ends at block 40, before it begins at block 2048";
    let Err(ReadError::NoTable { reason, .. }) = ImageReader::open(path) else { panic!("it was read") };
    assert_eq!(reason.to_string(), words);
    assert_eq!(content(path).table_faults, [words]);
}

#[test]
fn two_partitions_of_one_role_have_the_same_message_in_every_command() {
    let fixture = fixture::image();
    let path = fixture.image.path.as_path();
    let tables = Tables::of(path);
    let control = tables.bytes_of(2);
    tables.with(6, 0, &control[..16]).with(6, 56, &control[56..128]).write(path);
    let words = "two partitions control, numbers 2 and 6";
    let image = ImageReader::open(path).unwrap();
    let Err(ReadError::TwoPartitions { duplicate, .. }) = image.partition(Role::Control) else {
        panic!("one of them was taken");
    };
    assert_eq!(duplicate.to_string(), words);
    let warnings = inspect(path).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning == words), "{warnings:?}");
    let verified = verify(&image, None, None).unwrap();
    let bad = verified.checks[0].result.as_ref().unwrap_err();
    assert!(bad.starts_with(words), "{bad}");
    assert_eq!(content(path).table_faults, [words]);
}

/// The reader reads what the builder writes, for all sizes.
#[test]
fn every_written_table_is_read_back() {
    for mib in [1_u64, 3, 8, 64, 511] {
        for data in [None, Some(Bytes::mib(mib))] {
            let sizes = Sizes { data, ..Sizes::default() };
            let contents = Contents {
                selector: Bytes(1 << 16),
                uki: Bytes::mib(1),
                root: Bytes::mib(1),
                seal: Bytes(1000),
                secret: Bytes::mib(4),
            };
            let plan = plan(&sizes, &contents).unwrap();
            let (site, node) = ("site".parse().unwrap(), format!("node{mib}").parse().unwrap());
            let ids = ImageIds {
                architecture: &handoff::architecture::X86_64,
                site: &site,
                node: &node,
                root: RootHash(Sha256Digest::of(&[7])),
            };
            let table = Table::planned(&plan, &ids).unwrap();
            for room in [0, 512, 1 << 20] {
                let length = plan.disk_size.0 + room;
                let ends = table.ends(Bytes(length)).unwrap();
                let bytes = |offset: u64, count: usize| {
                    let (at, end) = ends.iter().rfind(|(at, _)| *at <= offset).unwrap();
                    let start = usize::try_from(offset - at).unwrap();
                    end.get(start..start + count).map(<[u8]>::to_vec).ok_or("not an end of the disk")
                };
                let found = read::both(Geometry::new(SECTOR, length).unwrap(), bytes);
                let (read, fault) = found.used().unwrap();
                assert_eq!((Table::read(&read), fault), (table.clone(), None));
            }
        }
    }
}
