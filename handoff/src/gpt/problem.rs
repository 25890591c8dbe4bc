//! What can be wrong with a partition table. All programs print these messages.

use super::{Copy, Lba};
use crate::guid::Guid;
use crate::partition::Role;
use crate::shown::Shown;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// An entry as errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// The partition's number, from 1.
    pub number: u32,
    /// The partition's name in the table.
    pub name: String,
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " ({})", Shown(&self.name)) }
    }
}

/// Why a copy of a partition table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The device has a block size for which there are no partition tables.
    BlockSize {
        /// The device's block size in bytes.
        found: u64,
    },
    /// The device could not be read at this block.
    Unreadable {
        /// The first block of the failed read.
        lba: Lba,
        /// The operating system's or firmware's message.
        reason: String,
    },
    /// The block is not the header of a partition table.
    Signature,
    /// A header of another version of the format.
    Revision {
        /// `Revision` in the header.
        found: u32,
    },
    /// A header that is shorter than its fields, or longer than a block.
    HeaderSize {
        /// `HeaderSize` in the header.
        found: u32,
    },
    /// The header's checksum does not match.
    HeaderCrc32 {
        /// `HeaderCRC32` in the header.
        says: u32,
        /// The checksum of the header's bytes.
        found: u32,
    },
    /// The header is a copy of one for another block.
    MyLba {
        /// `MyLBA` in the header.
        says: Lba,
        /// The block in which the header was found.
        read_at: Lba,
    },
    /// The header's block number for the other copy is not possible.
    AlternateLba {
        /// `AlternateLBA` in the header.
        says: Lba,
    },
    /// The range that partitions may use ends before it begins.
    UsableLbas {
        /// `FirstUsableLBA` in the header.
        first: Lba,
        /// `LastUsableLBA` in the header.
        last: Lba,
    },
    /// The size of an entry is not 128 times a power of two.
    SizeOfPartitionEntry {
        /// The header's `SizeOfPartitionEntry`.
        found: u32,
    },
    /// More bytes of entries than any table has.
    TooManyEntries {
        /// The header's `NumberOfPartitionEntries`.
        count: u32,
        /// The header's `SizeOfPartitionEntry`.
        size: u32,
    },
    /// The entries overlap the headers or the range for partitions.
    PartitionEntryLba {
        /// The header's `PartitionEntryLBA`.
        says: Lba,
        /// How many blocks the entries take.
        blocks: u64,
    },
    /// The checksum of the entries does not match.
    PartitionEntryArrayCrc32 {
        /// The header's `PartitionEntryArrayCRC32`.
        says: u32,
        /// The checksum of the entries.
        found: u32,
    },
    /// A partition ends before it begins.
    EndsBeforeItBegins {
        /// The partition with this problem.
        entry: EntryName,
        /// `StartingLBA` of the partition.
        starting: Lba,
        /// `EndingLBA` of the partition.
        ending: Lba,
    },
    /// A partition is not in the range that partitions may use.
    OutsideUsableLbas {
        /// The partition with this problem.
        entry: EntryName,
        /// `StartingLBA` of the partition.
        starting: Lba,
        /// `EndingLBA` of the partition.
        ending: Lba,
        /// The header's `FirstUsableLBA`.
        first_usable: Lba,
        /// The header's `LastUsableLBA`.
        last_usable: Lba,
    },
    /// Two partitions have blocks in common.
    Overlap {
        /// The one that begins first.
        first: EntryName,
        /// The one that begins later.
        second: EntryName,
        /// The first block that both have.
        lba: Lba,
    },
    /// Two partitions have the same unique GUID.
    SameGuid {
        /// The one with the lower number.
        first: EntryName,
        /// The one with the higher number.
        second: EntryName,
        /// `UniquePartitionGUID` of both.
        guid: Guid,
    },
    /// The disk ends before the blocks that the table is made for: it was cut.
    Cut {
        /// The offset in bytes up to which the table needs the disk.
        end: u64,
        /// The size of the disk in bytes.
        size: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize { found } => write!(f, "blocks of {found} bytes"),
            Self::Unreadable { lba, reason } => write!(f, "block {lba} cannot be read: {}", Shown(reason)),
            Self::Signature => f.write_str("no GPT"),
            Self::Revision { found } => write!(f, "GPT header of an unknown revision {found:#010x}"),
            Self::HeaderSize { found } => write!(f, "GPT header of {found} bytes"),
            Self::HeaderCrc32 { says, found } => {
                write!(f, "GPT header damaged: its checksum is {found:08x}, but it has {says:08x}")
            }
            Self::MyLba { says, read_at } => {
                write!(f, "GPT header of block {says} found in block {read_at}")
            }
            Self::AlternateLba { says } => write!(f, "GPT header whose other copy is in block {says}"),
            Self::UsableLbas { first, last } => {
                write!(f, "GPT header with room for partitions from block {first} to {last}")
            }
            Self::SizeOfPartitionEntry { found } => {
                write!(f, "GPT with entries of {found} bytes, which is not 128 times a power of two")
            }
            Self::TooManyEntries { count, size } => {
                write!(f, "GPT with {count} entries of {size} bytes, more than any disk needs")
            }
            Self::PartitionEntryLba { says, blocks } => {
                write!(f, "GPT with {blocks} blocks of entries from block {says}, where entries cannot be")
            }
            Self::PartitionEntryArrayCrc32 { says, found } => {
                write!(f, "GPT entries damaged: their checksum is {found:08x}, but the header has {says:08x}")
            }
            Self::EndsBeforeItBegins { entry, starting, ending } => {
                write!(f, "partition {entry} ends at block {ending}, before it begins at block {starting}")
            }
            Self::OutsideUsableLbas { entry, starting, ending, first_usable, last_usable } => write!(
                f,
                "partition {entry} has blocks {starting} to {ending}, outside of {first_usable} to {last_usable}"
            ),
            Self::Overlap { first, second, lba } => {
                write!(f, "partitions {first} and {second} overlap at block {lba}")
            }
            Self::SameGuid { first, second, guid } => {
                write!(f, "partitions {first} and {second} have the same GUID {guid}")
            }
            Self::Cut { end, size } => {
                write!(f, "it would end at byte {end}, but there are only {size}: the image is cut off")
            }
        }
    }
}

impl core::error::Error for Problem {}

/// Two partitions match the same role, so the right one cannot be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateRole {
    /// The role that both match.
    pub role: Role,
    /// The numbers of the first two that have it.
    pub numbers: [u32; 2],
}

impl fmt::Display for DuplicateRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.numbers;
        write!(f, "two partitions {}, numbers {first} and {second}", self.role)
    }
}

impl core::error::Error for DuplicateRole {}

/// Neither copy of a table can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTable {
    /// What is wrong with the primary copy.
    pub primary: Box<Problem>,
    /// What is wrong with the backup copy.
    pub backup: Box<Problem>,
}

impl NoTable {
    /// Combines what is wrong with both copies.
    #[must_use]
    pub fn new(primary: Problem, backup: Problem) -> Self {
        Self { primary: Box::new(primary), backup: Box::new(backup) }
    }

    /// Whether there is a damaged table, not a blank disk: one of its headers begins as one.
    #[must_use]
    pub fn is_of_a_gpt(&self) -> bool {
        let missing = |problem: &Problem| {
            matches!(problem, Problem::Signature | Problem::Cut { .. } | Problem::Unreadable { .. })
        };
        !(missing(&self.primary) && missing(&self.backup))
    }
}

impl fmt::Display for NoTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.primary.fmt(f)?;
        // A blank disk has neither copy, and a disk too short for one is too short for both: that is one message.
        let too_short = |problem: &Problem| matches!(problem, Problem::Cut { .. });
        let is_same = self.primary == self.backup || (too_short(&self.primary) && too_short(&self.backup));
        if is_same { Ok(()) } else { write!(f, " (backup: {})", self.backup) }
    }
}

impl core::error::Error for NoTable {}

/// What is wrong with the copies of a table that can still be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFault {
    /// One copy is damaged; the other is used.
    Damaged {
        /// The damaged copy.
        copy: Copy,
        /// What is wrong with the damaged copy.
        problem: Problem,
    },
    /// Both are valid but different; the primary is used.
    Different,
}

impl fmt::Display for CopyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { copy, problem } => {
                write!(f, "the {copy} partition table is damaged: {problem}; the {} is used", copy.other())
            }
            Self::Different => {
                f.write_str("the primary and the backup partition table differ; the primary is used")
            }
        }
    }
}
