//! The disk that this program was started from, and its partitions by role.
//!
//! Partitions are identified by name and type GUID, and only those below the same device path as the own ESP are used:
//! another stick in the machine is never read.
#![cfg(target_os = "uefi")]

use crate::block::Blocks;
use crate::console::say;
use crate::fault::Fault;
use crate::protocol;
use alloc::vec::Vec;
use handoff::gpt::{self, Geometry, Table};
use handoff::partition::Role;
use uefi::proto::device_path::media::{HardDrive, PartitionSignature};
use uefi::proto::device_path::{DevicePath, DevicePathNode};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::block::BlockIO;
use uefi::{Guid, Handle, boot};

/// A partition of the own disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partition {
    /// The role of the partition.
    pub(crate) role: Role,
    /// The firmware's handle of the partition.
    pub(crate) handle: Handle,
}

/// The disk with the ESP that this program was started from.
#[derive(Debug)]
pub(crate) struct OwnDisk {
    esp: Guid,
    table: Table,
    handles: Vec<(Guid, Handle)>,
}

impl OwnDisk {
    /// Finds the partition of the loaded image, and the other partitions of its disk.
    pub(crate) fn of_this_image() -> Result<Self, Fault> {
        let image = protocol::get::<LoadedImage>(boot::image_handle());
        let device = image.ok().and_then(|image| image.device()).ok_or(Fault::NotFromAPartition)?;
        let own = PartitionPlace::of(device).ok_or(Fault::NotFromAPartition)?;
        let handles = boot::find_handles::<BlockIO>();
        let handles = handles.map_err(|error| Fault::NoDevices(error.status()))?;
        let whole = handles.iter().find(|&&handle| path_of(handle).as_ref() == Some(&own.disk));
        let table = read_table(*whole.ok_or(Fault::NotFromAPartition)?)?;
        let below = |handle| PartitionPlace::of(handle).filter(|place| place.disk == own.disk);
        let handles =
            handles.into_iter().filter_map(|handle| Some((below(handle)?.partition, handle))).collect();
        Ok(Self { esp: own.partition, table, handles })
    }

    /// The unique GUID of the ESP that this program came from, by which the loader finds the same disk.
    pub(crate) fn esp(&self) -> Guid {
        self.esp
    }

    /// The partition for `role`; two are refused, because the right one cannot be known.
    pub(crate) fn partition(&self, role: Role) -> Result<Partition, Fault> {
        let entry =
            self.table.partition(role).map_err(Fault::TwoPartitions)?.ok_or(Fault::NoPartition(role))?;
        let own = entry.unique_partition_guid.to_disk();
        let mut fitting = self.handles.iter().filter(|(guid, _)| guid.to_bytes() == own);
        match (fitting.next(), fitting.next()) {
            (Some(&(_, handle)), None) => Ok(Partition { role, handle }),
            _ => Err(Fault::NoPartition(role)),
        }
    }
}

/// Reads the table itself. Firmware has a protocol for names and types (`EFI_PARTITION_INFO_PROTOCOL`), but only since
/// about 2018, and sticks are put into older machines. The firmware has checked where partitions begin and end, so
/// these values come from it.
fn read_table(disk: Handle) -> Result<Table, Fault> {
    let mut blocks = Blocks::open(disk, "the disk")?;
    let geometry = Geometry::new(blocks.block(), blocks.size()).map_err(Fault::NoGeometry)?;
    let found = gpt::read::first(geometry, |offset, length| blocks.read_bytes(offset, length));
    let found = found.map_err(Fault::NoTable)?;
    if let Some(fault) = &found.fault {
        say(format_args!("{fault}"));
    }
    Ok(found.table)
}

/// The device path of a partition's disk, and the partition's GUID in the table.
struct PartitionPlace {
    disk: Vec<u8>,
    partition: Guid,
}

impl PartitionPlace {
    /// Splits a partition's device path before its last node, which identifies the part of the disk.
    fn of(handle: Handle) -> Option<Self> {
        let path = protocol::get::<DevicePath>(handle).ok()?;
        let mut nodes: Vec<&DevicePathNode> = path.node_iter().collect();
        let last = <&HardDrive>::try_from(nodes.pop()?).ok()?;
        let PartitionSignature::Guid(partition) = last.partition_signature() else { return None };
        Some(Self { disk: bytes_of(&nodes), partition })
    }
}

/// The device path of a handle, without its end.
fn path_of(handle: Handle) -> Option<Vec<u8>> {
    let path = protocol::get::<DevicePath>(handle).ok()?;
    Some(bytes_of(&path.node_iter().collect::<Vec<_>>()))
}

fn bytes_of(nodes: &[&DevicePathNode]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for node in nodes {
        bytes.extend_from_slice(&[node.device_type().0, node.sub_type().0]);
        bytes.extend_from_slice(&node.length().to_le_bytes());
        bytes.extend_from_slice(node.data());
    }
    bytes
}
