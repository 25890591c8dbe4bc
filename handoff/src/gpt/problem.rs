//! What can be wrong with a partition table. All programs say it in these words.

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
    /// Its number, from 1.
    pub number: u32,
    /// Its name, as the table has it.
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
    /// The device has blocks that no partition table is made for.
    BlockSize {
        /// Bytes of its blocks.
        found: u64,
    },
    /// The device gives nothing to read there.
    Unreadable {
        /// The first block of what was read.
        lba: Lba,
        /// What the system says.
        reason: String,
    },
    /// The block is not the header of a table.
    Signature,
    /// A header of another version of the format.
    Revision {
        /// Its `Revision`.
        found: u32,
    },
    /// A header that is shorter than its fields, or longer than a block.
    HeaderSize {
        /// Its `HeaderSize`.
        found: u32,
    },
    /// The header is damaged.
    HeaderCrc32 {
        /// Its `HeaderCRC32`.
        says: u32,
        /// The checksum of its bytes.
        found: u32,
    },
    /// The header was made for another place.
    MyLba {
        /// Its `MyLBA`.
        says: Lba,
        /// Where it was read.
        read_at: Lba,
    },
    /// The header names a place for the other copy that cannot be.
    AlternateLba {
        /// Its `AlternateLBA`.
        says: Lba,
    },
    /// The range that partitions may use ends before it begins.
    UsableLbas {
        /// Its `FirstUsableLBA`.
        first: Lba,
        /// Its `LastUsableLBA`.
        last: Lba,
    },
    /// Entries whose size is not 128 times a power of two.
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
    /// The entries are not where entries may be.
    PartitionEntryLba {
        /// The header's `PartitionEntryLBA`.
        says: Lba,
        /// How many blocks they take.
        blocks: u64,
    },
    /// The entries are damaged.
    PartitionEntryArrayCrc32 {
        /// The header's `PartitionEntryArrayCRC32`.
        says: u32,
        /// The checksum of the entries.
        found: u32,
    },
    /// A partition ends before it begins.
    EndsBeforeItBegins {
        /// The partition.
        entry: EntryName,
        /// Its `StartingLBA`.
        starting: Lba,
        /// Its `EndingLBA`.
        ending: Lba,
    },
    /// A partition is not in the range that partitions may use.
    OutsideUsableLbas {
        /// The partition.
        entry: EntryName,
        /// Its `StartingLBA`.
        starting: Lba,
        /// Its `EndingLBA`.
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
        /// The other.
        second: EntryName,
        /// The first block that both have.
        lba: Lba,
    },
    /// Two partitions have the same GUID of their own.
    SameGuid {
        /// The one with the lower number.
        first: EntryName,
        /// The other.
        second: EntryName,
        /// Their `UniquePartitionGUID`.
        guid: Guid,
    },
    /// The disk ends before the blocks that the table is made for: it was cut.
    Cut {
        /// The byte at which what the table needs ends.
        end: u64,
        /// How many bytes there are.
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
                write!(f, "GPT header damaged: its checksum is {found:08x}, it says {says:08x}")
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
                write!(f, "GPT entries damaged: their checksum is {found:08x}, the header says {says:08x}")
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
                write!(f, "it would end at byte {end}, and there are only {size}: the image was cut")
            }
        }
    }
}

impl core::error::Error for Problem {}

/// Two partitions that could both be the one with a role, and nothing says which is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateRole {
    /// The role.
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
    /// What is wrong with the backup.
    pub backup: Box<Problem>,
}

impl NoTable {
    /// Neither copy, for these reasons.
    #[must_use]
    pub fn new(primary: Problem, backup: Problem) -> Self {
        Self { primary: Box::new(primary), backup: Box::new(backup) }
    }

    /// Whether there is a table, though it cannot be used: one of its headers begins as such.
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
        // A blank disk has neither, and what is too short for one is too short for both: that is one thing to say.
        let too_short = |problem: &Problem| matches!(problem, Problem::Cut { .. });
        let is_same = self.primary == self.backup || (too_short(&self.primary) && too_short(&self.backup));
        if is_same { Ok(()) } else { write!(f, " (backup: {})", self.backup) }
    }
}

impl core::error::Error for NoTable {}

/// What is wrong with the copies of a table of which one is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFault {
    /// One copy is damaged; the other is used.
    Damaged {
        /// The damaged one.
        copy: Copy,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Both are whole, and different; the primary is used.
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
