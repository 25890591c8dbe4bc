//! The GUID partition table with both its copies (UEFI 2.10, chapter 5), written with the `gpt` crate.

use super::ids::ImageIds;
use super::plan::Plan;
use super::table_reader::{FoundPartition, Table};
use crate::input::ReadAt as _;
use crate::site::Bytes;
use crate::width::to_u64;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::{MBRError, ProtectiveMBR};
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use gpt::{DiskDevice, GptConfig, GptError};
use handoff::partition::{Role, SECTOR};
use handoff::slot::Slot;
use std::collections::BTreeMap;
use std::io;

/// The attribute of the Discoverable Partitions Specification for read-only partitions: roots and their hash trees.
const READ_ONLY: u64 = 1 << 60;
/// The attribute that makes tools that look for a root by its type skip a partition, because it is empty.
const NO_AUTO: u64 = 1 << 63;

/// The bytes of the protective MBR with the primary table, and of the backup table (UEFI 2.10, section 5.3).
const ENDS: [usize; 2] = [34 * 512, 33 * 512];

impl Table {
    /// The table of a planned image.
    pub fn planned(plan: &Plan, ids: &ImageIds<'_>) -> io::Result<Self> {
        let mut partitions = Vec::new();
        for (number, planned) in (1..).zip(&plan.partitions) {
            let role = planned.role;
            partitions.push(FoundPartition {
                number,
                name: role.name().to_owned(),
                role: Some(role),
                guid: ids.partition(role),
                type_guid: role.type_guid(ids.architecture).parse().map_err(io::Error::other)?,
                attributes: flags(role),
                offset: planned.offset,
                size: planned.size,
            });
        }
        Ok(Self { disk_guid: ids.disk(), partitions })
    }

    /// Both ends of a disk of that size: the protective MBR with the primary table, and the backup, each with its
    /// offset.
    pub fn ends(&self, disk_size: Bytes) -> io::Result<[(u64, Vec<u8>); 2]> {
        let mut disk = tempfile::tempfile()?;
        disk.set_len(disk_size.0)?;
        self.write(&mut disk, disk_size)?;
        let [mut head, mut tail] = ENDS.map(|length| vec![0; length]);
        let end = disk_size.0.saturating_sub(to_u64(tail.len()));
        disk.fill_at(&mut head, 0)?;
        disk.fill_at(&mut tail, end)?;
        Ok([(0, head), (end, tail)])
    }

    /// Writes the protective MBR and both tables to `device`, which must have that size.
    fn write<D: DiskDevice>(&self, mut device: D, disk_size: Bytes) -> io::Result<()> {
        let sectors = disk_size.0 / SECTOR;
        // On a disk of 2 TiB and more the MBR has the largest number (UEFI 2.10, table 5.4).
        let covered = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
        ProtectiveMBR::with_lb_size(covered).overwrite_lba0(&mut device).map_err(mbr_error)?;
        let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
        let mut disk = config.create_from_device(device, Some(self.disk_guid)).map_err(gpt_error)?;
        let partitions: BTreeMap<u32, Partition> =
            self.partitions.iter().map(|entry| (entry.number, gpt_partition(entry))).collect();
        disk.update_partitions(partitions).map_err(gpt_error)?;
        disk.write().map_err(gpt_error)?;
        Ok(())
    }
}

fn gpt_partition(entry: &FoundPartition) -> Partition {
    let first_lba = entry.offset.0 / SECTOR;
    Partition {
        part_type_guid: Type { guid: entry.type_guid, os: OperatingSystem::None },
        part_guid: entry.guid,
        first_lba,
        last_lba: (first_lba + entry.size.0 / SECTOR).saturating_sub(1),
        flags: entry.attributes,
        name: entry.name.clone(),
    }
}

fn flags(role: Role) -> u64 {
    match role {
        Role::Root(Slot::A) | Role::Verity(Slot::A) => READ_ONLY,
        Role::Root(Slot::B) | Role::Verity(Slot::B) => READ_ONLY | NO_AUTO,
        _ => 0,
    }
}

/// The I/O error in the crate's error, if there is one, so that a full disk is recognised.
fn gpt_error(error: GptError) -> io::Error {
    match error {
        GptError::Io(error) => error,
        error => io::Error::other(error),
    }
}

fn mbr_error(error: MBRError) -> io::Error {
    match error {
        MBRError::Io(error) => error,
        error => io::Error::other(error),
    }
}
