//! The disk that this program was started from, and its partitions by role.
//!
//! Partitions count by name and type GUID, and only those below the same device path as the own ESP: another stick in
//! the machine is never looked at. The firmware's partition driver has read and checked the table already.
#![cfg(target_os = "uefi")]

use crate::fault::Fault;
use crate::protocol;
use alloc::string::String;
use alloc::vec::Vec;
use handoff::partition::Role;
use uefi::proto::device_path::DevicePath;
use uefi::proto::device_path::media::{HardDrive, PartitionSignature};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::partition::PartitionInfo;
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
        let handles = boot::find_handles::<PartitionInfo>();
        let handles = handles.map_err(|error| Fault::NoDevices(error.status()))?;
        let partitions = handles
            .into_iter()
            .filter(|&handle| Place::of(handle).is_some_and(|place| place.disk == own.disk))
            .filter_map(|handle| Some(Partition { role: role_of(handle)?, handle }))
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
        let mut nodes: Vec<_> = path.node_iter().collect();
        let last = <&HardDrive>::try_from(nodes.pop()?).ok()?;
        let PartitionSignature::Guid(partition) = last.partition_signature() else { return None };
        let mut disk = Vec::new();
        for node in nodes {
            disk.extend_from_slice(&[node.device_type().0, node.sub_type().0]);
            disk.extend_from_slice(&node.length().to_le_bytes());
            disk.extend_from_slice(node.data());
        }
        Some(Self { disk, partition })
    }
}

/// The role of a partition whose name and type both fit one.
fn role_of(handle: Handle) -> Option<Role> {
    let info = protocol::get::<PartitionInfo>(handle).ok()?;
    // The entry is packed: its fields are copied before they are looked at.
    let entry = *info.gpt_partition_entry()?;
    let name = entry.partition_name;
    let name: String = name.into_iter().map(char::from).take_while(|&c| c != '\0').collect();
    let role = Role::from_name(&name)?;
    let kind = entry.partition_type_guid.0;
    (Guid::try_parse(role.type_guid()) == Ok(kind)).then_some(role)
}
