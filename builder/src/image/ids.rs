//! The GUIDs of an image: all derived, none drawn.

use crate::ids::{Owner, derived_serial, derived_uuid};
use crate::root::verity::partition_guids;
use handoff::architecture::Architecture;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use uuid::Uuid;

/// What the ids of an image derive from.
#[derive(Debug, Clone, Copy)]
pub struct ImageIds<'a> {
    /// The architecture, on which types of partitions depend.
    pub architecture: &'static Architecture,
    /// The site.
    pub site: &'a Name,
    /// The node.
    pub node: &'a Name,
    /// The root hash of the system in slot a.
    pub root: RootHash,
}

impl ImageIds<'_> {
    /// The disk's GUID.
    #[must_use]
    pub fn disk(&self) -> Uuid {
        derived_uuid(self.site, Owner::Node(self.node), "disk")
    }

    /// A partition's GUID. Root and hash tree of slot a bear the root hash, as the Discoverable Partitions Specification
    /// has it; every other partition is the stick's own.
    #[must_use]
    pub fn partition(&self, role: Role) -> Uuid {
        let (root, verity) = partition_guids(self.root);
        match role {
            Role::Root(Slot::A) => root,
            Role::Verity(Slot::A) => verity,
            role => derived_uuid(self.site, Owner::Node(self.node), role.name()),
        }
    }

    /// The serial number of the ESP's file system.
    #[must_use]
    pub fn esp_serial(&self) -> u32 {
        derived_serial(self.site, Owner::Node(self.node), Role::Esp.name())
    }
}
