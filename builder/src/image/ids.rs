//! The GUIDs of an image: all are derived, none is random.

use crate::ids::{Owner, derived_serial, derived_uuid};
use crate::root::verity::partition_guids;
use handoff::architecture::Architecture;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use uuid::Uuid;

/// What the ids of an image are derived from.
#[derive(Debug, Clone, Copy)]
pub struct ImageIds<'a> {
    /// The architecture, which decides the types of partitions.
    pub architecture: &'static Architecture,
    /// The id of the site.
    pub site: &'a Name,
    /// The name of the node.
    pub node: &'a Name,
    /// The root hash of the system in slot a.
    pub root: RootHash,
}

impl ImageIds<'_> {
    /// The GUID of the disk.
    #[must_use]
    pub fn disk(&self) -> Uuid {
        derived_uuid(self.site, Owner::Node(self.node), "disk")
    }

    /// The GUID of a partition. For root and hash tree of slot a it is derived from the root hash, as the Discoverable
    /// Partitions Specification requires; for every other partition, from site and node.
    #[must_use]
    pub fn partition(&self, role: Role) -> Uuid {
        let (root, verity) = partition_guids(self.root);
        match role {
            Role::Root(Slot::A) => root,
            Role::Verity(Slot::A) => verity,
            role => derived_uuid(self.site, Owner::Node(self.node), role.name()),
        }
    }

    /// The serial number for the ESP's file system.
    #[must_use]
    pub fn esp_serial(&self) -> u32 {
        derived_serial(self.site, Owner::Node(self.node), Role::Esp.name())
    }
}
