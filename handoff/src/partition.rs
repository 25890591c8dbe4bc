//! The partitions of a stick: the name and the type of each.
//!
//! Names and types are fixed for good: the table of a running stick is never written. Types are those of the UAPI
//! Discoverable Partitions Specification if it has one for the role; the rest are psyopsOS's own.

use crate::architecture::Architecture;
use crate::slot::Slot;
use core::fmt;

/// Bytes of a logical sector in the images that the builder writes (other media may have larger ones).
pub const SECTOR: u64 = 512;

/// What a partition is for. Its name and type follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// FAT32 with the selector, written once.
    Esp,
    /// Two control records and the failure area, raw.
    Control,
    /// The UKI at offset 0 and its boot record at the end, raw.
    Boot(Slot),
    /// The squashfs of the immutable root.
    Root(Slot),
    /// The dm-verity hash tree over the root.
    Verity(Slot),
    /// The node's seal, raw.
    Seal(Slot),
    /// ext4 with the node's identity and files.
    Secret,
    /// Logs and state that outlive a reboot; optional.
    Data,
}

impl Role {
    /// All roles in their order on the disk.
    pub const ALL: [Self; 12] = [
        Self::Esp,
        Self::Control,
        Self::Boot(Slot::A),
        Self::Root(Slot::A),
        Self::Verity(Slot::A),
        Self::Boot(Slot::B),
        Self::Root(Slot::B),
        Self::Verity(Slot::B),
        Self::Seal(Slot::A),
        Self::Seal(Slot::B),
        Self::Secret,
        Self::Data,
    ];

    /// The partition's name in the table (`PARTLABEL`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Control => "control",
            Self::Boot(Slot::A) => "boot-a",
            Self::Boot(Slot::B) => "boot-b",
            Self::Root(Slot::A) => "root-a",
            Self::Root(Slot::B) => "root-b",
            Self::Verity(Slot::A) => "verity-a",
            Self::Verity(Slot::B) => "verity-b",
            Self::Seal(Slot::A) => "seal-a",
            Self::Seal(Slot::B) => "seal-b",
            Self::Secret => "secret",
            Self::Data => "data",
        }
    }

    /// The partition's type GUID on a stick for this architecture, in the textual form (RFC 9562).
    #[must_use]
    pub fn type_guid(self, architecture: &Architecture) -> &'static str {
        match self {
            // UEFI 2.10, table 5.7.
            Self::Esp => "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            Self::Root(_) => architecture.root_type,
            Self::Verity(_) => architecture.verity_type,
            // UAPI.2 Discoverable Partitions Specification: generic Linux data.
            Self::Data => "0fc63daf-8483-4772-8e79-3d69d8477de4",
            // psyopsOS's own, random GUIDs.
            Self::Control => "6a0f5d1c-3b0e-4b3a-9c55-3c1f6de0c7a1",
            Self::Boot(_) => "0b8ae3f4-2b56-4a7e-8d0c-7f6a4b7b1e52",
            Self::Seal(_) => "f2d7c4b9-61a5-4c0f-a1f0-54c8e9d3ab06",
            Self::Secret => "97c2e0d5-8f34-4e6b-b5a9-1d0b7c68f2e3",
        }
    }

    /// The role that has this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_by_their_names() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("boot-c"), None);
    }
}
