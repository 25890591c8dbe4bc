//! Reading partition tables with `handoff::gpt`: each of the two copies is read by itself, so that one cannot hide
//! damage of the other.

use super::storage::Storage;
use crate::input::ReadAt as _;
use crate::site::Bytes;
use gpt::mbr::ProtectiveMBR;
use handoff::gpt::{self as reader, BothCopies, Geometry, GptHeader, GptPartitionEntry, Problem};
use handoff::guid::Guid;
use handoff::partition::{Role, SECTOR};
use std::ops::Range;
use uuid::Uuid;

/// A partition as the table describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// The number in the table.
    pub number: u32,
    /// The name in the table.
    pub name: String,
    /// The role, if name and type are those of a psyopsOS partition.
    pub role: Option<Role>,
    /// The GUID of the partition itself.
    pub guid: Uuid,
    /// The GUID of the partition's type.
    pub type_guid: Uuid,
    /// The attributes (UEFI 2.10, table 5.8).
    pub attributes: u64,
    /// The offset on the disk.
    pub offset: Bytes,
    /// The size of the partition.
    pub size: Bytes,
}

/// A partition table, without the places of its copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The GUID of the disk.
    pub disk_guid: Uuid,
    /// The partitions by their number.
    pub partitions: Vec<FoundPartition>,
}

impl Table {
    /// The table in a valid copy.
    pub(super) fn read(table: &reader::Table) -> Self {
        let partitions = table.partitions().iter().map(FoundPartition::of).collect();
        Self { disk_guid: uuid(table.disk_guid()), partitions }
    }
}

impl FoundPartition {
    fn of(entry: &GptPartitionEntry) -> Self {
        Self {
            number: entry.number,
            name: entry.partition_name.clone(),
            role: entry.role(),
            guid: uuid(entry.unique_partition_guid),
            type_guid: uuid(entry.partition_type_guid),
            attributes: entry.attributes,
            offset: Bytes(entry.starting_lba.0.saturating_mul(SECTOR)),
            size: Bytes(entry.blocks().saturating_mul(SECTOR)),
        }
    }
}

fn uuid(guid: Guid) -> Uuid {
    Uuid::from_bytes_le(guid.to_disk())
}

/// Reads both copies of the table on a disk or image of this size.
pub(super) fn read(file: &Storage, size: Bytes) -> Result<BothCopies, Problem> {
    let bytes = |offset, length| {
        let mut bytes = vec![0; length];
        file.fill_at(&mut bytes, offset).map(|()| bytes)
    };
    Ok(reader::read::both(Geometry::new(SECTOR, size.0)?, bytes))
}

/// The ranges of the copies on the disk: the primary after the protective MBR, and the backup.
pub(super) fn places(header: &GptHeader) -> [Range<u64>; 2] {
    let array = header.array_length().next_multiple_of(SECTOR);
    let last = header.my_lba.max(header.alternate_lba).0;
    let end = last.saturating_add(1).saturating_mul(SECTOR);
    [0..array.saturating_add(2 * SECTOR), end.saturating_sub(array.saturating_add(SECTOR))..end]
}

/// What is wrong with the protective MBR, without which firmware does not use the GUID partition table. `last` is the
/// last sector of the disk that the table was made for.
pub(super) fn mbr_fault(file: &Storage, last: u64) -> Option<String> {
    let mut found = [0; 512];
    if let Err(error) = file.fill_at(&mut found, 0) {
        return Some(format!("the protective MBR cannot be read: {error}"));
    }
    let made = ProtectiveMBR::with_lb_size(u32::try_from(last).unwrap_or(u32::MAX)).to_bytes();
    let at = made.iter().zip(&found).position(|(made, found)| made != found)?;
    Some(format!("the protective MBR is damaged at byte {at}"))
}
