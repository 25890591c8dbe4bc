//! The disk that this program was started from, and its partitions by role.
//!
//! Partitions count by name and type GUID, and only those below the same device path as the own ESP: another stick in
//! the machine is never looked at.
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
    /// What it is for.
    pub(crate) role: Role,
    /// The firmware's handle of it.
    pub(crate) handle: Handle,
}

/// The own disk.
#[derive(Debug)]
pub(crate) struct OwnDisk {
    esp: Guid,
    table: Table,
    handles: Vec<(Guid, Handle)>,
}

impl OwnDisk {
    /// Follows the loaded image to its partition, and that to its siblings.
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

    /// The unique GUID of the ESP that this program came from: by it the loader finds the same disk.
    pub(crate) fn esp(&self) -> Guid {
        self.esp
    }

    /// The partition for `role`; two are refused, because nothing says which one is meant.
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

/// The table itself. Firmware has a protocol that tells names and types (`EFI_PARTITION_INFO_PROTOCOL`), but only since
/// about 2018, and sticks are put into older machines. Where partitions begin and end is left to the firmware, which
/// checked that.
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

/// Where a partition is: the device path of its disk, and its GUID in the table.
struct PartitionPlace {
    disk: Vec<u8>,
    partition: Guid,
}

impl PartitionPlace {
    /// Splits a partition's device path before its last node, which says which part of the disk it is.
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
