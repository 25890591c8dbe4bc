//! The disk that this program was started from, and its partitions by role.
//!
//! Partitions count by name and type GUID, and only those below the same device path as the own ESP: another stick in
//! the machine is never looked at.
#![cfg(target_os = "uefi")]

use crate::block::Blocks;
use crate::fault::Fault;
use crate::protocol;
use crate::table::{self, Entry};
use alloc::vec::Vec;
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
    partitions: Vec<Partition>,
}

impl OwnDisk {
    /// Follows the loaded image to its partition, and that to its siblings.
    pub(crate) fn of_this_image() -> Result<Self, Fault> {
        let image = protocol::get::<LoadedImage>(boot::image_handle());
        let device = image.ok().and_then(|image| image.device()).ok_or(Fault::NotFromAPartition)?;
        let own = Place::of(device).ok_or(Fault::NotFromAPartition)?;
        let handles = boot::find_handles::<BlockIO>();
        let handles = handles.map_err(|error| Fault::NoDevices(error.status()))?;
        let whole = handles.iter().find(|&&handle| path_of(handle).as_ref() == Some(&own.disk));
        let entries = table::read(&mut Blocks::open(*whole.ok_or(Fault::NotFromAPartition)?, "the disk")?)?;
        let partitions = handles
            .into_iter()
            .filter_map(|handle| Some((handle, Place::of(handle).filter(|place| place.disk == own.disk)?)))
            .filter_map(|(handle, place)| {
                Some(Partition { role: role_of(&entries, place.partition)?, handle })
            })
            .collect();
        Ok(Self { esp: own.partition, partitions })
    }

    /// The unique GUID of the ESP that this program came from: by it the loader finds the same disk.
    pub(crate) fn esp(&self) -> Guid {
        self.esp
    }

    /// The partition for `role`; two are refused, because nothing says which one is meant.
    pub(crate) fn partition(&self, role: Role) -> Result<&Partition, Fault> {
        let mut fitting = self.partitions.iter().filter(|partition| partition.role == role);
        match (fitting.next(), fitting.next()) {
            (Some(partition), None) => Ok(partition),
            (None, _) => Err(Fault::NoPartition(role)),
            (Some(_), Some(_)) => Err(Fault::TwoPartitions(role)),
        }
    }
}

/// Where a partition is: the device path of its disk, and its GUID in the table.
struct Place {
    disk: Vec<u8>,
    partition: Guid,
}

impl Place {
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

/// The role of a partition whose name and type in the table both fit one.
fn role_of(entries: &[Entry], partition: Guid) -> Option<Role> {
    let entry = entries.iter().find(|entry| entry.partition == partition)?;
    let role = Role::from_name(&entry.name)?;
    (Guid::try_parse(role.type_guid()) == Ok(entry.kind)).then_some(role)
}
