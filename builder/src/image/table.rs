//! The GUID partition table with both its copies (UEFI 2.10, chapter 5), by the `gpt` crate.

use super::ids::ImageIds;
use super::plan::Plan;
use crate::input::ReadAt as _;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::{MBRError, ProtectiveMBR};
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use gpt::{DiskDevice, GptConfig, GptError};
use handoff::partition::{Role, SECTOR};
use handoff::slot::Slot;
use std::collections::BTreeMap;
use std::io;
use uuid::Uuid;

/// Attributes that the Discoverable Partitions Specification gives to roots and their hash trees.
const READ_ONLY: u64 = 1 << 60;
/// Tools that look for a root by its type pass this partition by: it is empty.
const NO_AUTO: u64 = 1 << 63;

/// Bytes of the protective MBR and of one copy of the table behind it, and of the other copy (UEFI 2.10, section 5.3).
const ENDS: [usize; 2] = [34 * 512, 33 * 512];

/// Both ends of the disk: the protective MBR with the primary table, and the backup, each with its place.
pub fn ends(plan: &Plan, ids: &ImageIds<'_>) -> io::Result<[(u64, Vec<u8>); 2]> {
    let mut disk = tempfile::tempfile()?;
    disk.set_len(plan.disk_size.0)?;
    write(&mut disk, plan, ids)?;
    let [mut head, mut tail] = ENDS.map(|length| vec![0; length]);
    let end = plan.disk_size.0.saturating_sub(u64::try_from(tail.len()).unwrap_or(0));
    disk.fill_at(&mut head, 0)?;
    disk.fill_at(&mut tail, end)?;
    Ok([(0, head), (end, tail)])
}

/// Writes the protective MBR and both tables to `device`, whose length must be the plan's.
fn write<D: DiskDevice>(mut device: D, plan: &Plan, ids: &ImageIds<'_>) -> io::Result<()> {
    let sectors = plan.disk_size.0 / SECTOR;
    // A disk of 2 TiB and more has the largest number there (UEFI 2.10, table 5.4).
    let covered = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(covered).overwrite_lba0(&mut device).map_err(mbr_error)?;
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut disk = config.create_from_device(device, Some(ids.disk())).map_err(gpt_error)?;
    let mut partitions = BTreeMap::new();
    for (number, planned) in (1..).zip(&plan.partitions) {
        let first_lba = planned.offset.0 / SECTOR;
        let partition = Partition {
            part_type_guid: type_of(planned.role)?,
            part_guid: ids.partition(planned.role),
            first_lba,
            last_lba: first_lba + planned.size.0 / SECTOR - 1,
            flags: flags(planned.role),
            name: planned.role.name().to_owned(),
        };
        partitions.insert(number, partition);
    }
    disk.update_partitions(partitions).map_err(gpt_error)?;
    disk.write().map_err(gpt_error)?;
    Ok(())
}

fn type_of(role: Role) -> io::Result<Type> {
    let guid = role.type_guid().parse::<Uuid>().map_err(io::Error::other)?;
    Ok(Type { guid, os: OperatingSystem::None })
}

fn flags(role: Role) -> u64 {
    match role {
        Role::Root(Slot::A) | Role::Verity(Slot::A) => READ_ONLY,
        Role::Root(Slot::B) | Role::Verity(Slot::B) => READ_ONLY | NO_AUTO,
        _ => 0,
    }
}

/// The system's own error where there is one, so that a full disk is known as such.
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
