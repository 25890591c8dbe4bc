//! GUID partition tables, read (UEFI 2.10, section 5.3): the one reader of the selector, the loader and the builder.
//!
//! Bytes in, values out: the caller reads the blocks that [`read::first`] and [`read::both`] ask for. An unknown stick
//! must not stop any of the three programs, so sizes are limited before blocks are asked for, and a [`Table`] exists
//! only where header, entries and checksums are valid. The result also says which copy is used and what is wrong with
//! the other.
//!
//! It does not write tables (the builder does that, with the `gpt` crate). Of the protective MBR it reads only where
//! the disk ends.

mod crc32;
mod entries;
mod geometry;
mod header;
mod problem;
pub mod read;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use crc32::crc32;
pub use entries::GptPartitionEntry;
pub use geometry::{Geometry, Lba};
pub use header::GptHeader;
pub use problem::{CopyFault, DuplicateRole, EntryName, NoTable, Problem};
pub use read::{BothCopies, FirstCopy};

use crate::guid::Guid;
use crate::partition::Role;
use alloc::vec::Vec;
use core::fmt;

/// One of the two copies of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The copy in block 1.
    Primary,
    /// The copy in the last block.
    Backup,
}

impl Copy {
    /// The other copy.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Primary => Self::Backup,
            Self::Backup => Self::Primary,
        }
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Backup => "backup",
        })
    }
}

/// A valid copy of a table: every used entry is within the range for partitions, and no two overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: GptHeader,
    partitions: Vec<GptPartitionEntry>,
}

impl Table {
    /// The header of this copy.
    #[must_use]
    pub fn header(&self) -> &GptHeader {
        &self.header
    }

    /// The disk's GUID, from the header.
    #[must_use]
    pub fn disk_guid(&self) -> Guid {
        self.header.disk_guid
    }

    /// The used entries by number.
    #[must_use]
    pub fn partitions(&self) -> &[GptPartitionEntry] {
        &self.partitions
    }

    /// The partition with a role, if there is one.
    pub fn partition(&self, role: Role) -> Result<Option<&GptPartitionEntry>, DuplicateRole> {
        let mut fitting = self.partitions.iter().filter(|entry| entry.role() == Some(role));
        match (fitting.next(), fitting.next()) {
            (first, None) => Ok(first),
            (first, Some(second)) => {
                Err(DuplicateRole { role, numbers: [first.map_or(0, |first| first.number), second.number] })
            }
        }
    }

    /// Every role that more than one partition has.
    #[must_use]
    pub fn duplicate_roles(&self) -> Vec<DuplicateRole> {
        Role::ALL.into_iter().filter_map(|role| self.partition(role).err()).collect()
    }

    /// Whether the table is made for a larger disk than this one.
    #[must_use]
    pub fn cut(&self, disk: Geometry) -> Option<Problem> {
        let last = self.header.last_usable_lba;
        (last >= Lba(disk.blocks())).then(|| disk.cut_before(last))
    }

    /// Whether two copies have the same content: the disk's GUID and all entries.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.disk_guid() == other.disk_guid() && self.partitions == other.partitions
    }
}
