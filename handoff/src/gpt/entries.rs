//! The entries of a table (UEFI 2.10, table 5.7), under the names of their fields there.

use super::{EntryName, GptHeader, Lba, Problem, Table, crc32};
use crate::architecture::Architecture;
use crate::bytes::Reader;
use crate::guid::Guid;
use crate::partition::Role;
use alloc::string::String;
use alloc::vec::Vec;

/// UTF-16 units of `PartitionName`.
const NAME: usize = 36;

/// A used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptPartitionEntry {
    /// The partition's number, from 1, as the kernel counts.
    pub number: u32,
    /// `PartitionTypeGUID`: what the partition is for.
    pub partition_type_guid: Guid,
    /// `UniquePartitionGUID`: this partition's own GUID.
    pub unique_partition_guid: Guid,
    /// `StartingLBA`: the first block of the partition.
    pub starting_lba: Lba,
    /// `EndingLBA`: the last block of the partition.
    pub ending_lba: Lba,
    /// `Attributes`, a set of bits (table 5.8).
    pub attributes: u64,
    /// `PartitionName` up to the first zero; units that are not UTF-16 become U+FFFD.
    pub partition_name: String,
}

impl GptPartitionEntry {
    /// The role whose name and type this entry has, on a stick for any architecture.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        let role = Role::from_name(&self.partition_name)?;
        let is_type = |row: &&Architecture| role.type_guid(row).parse() == Ok(self.partition_type_guid);
        Architecture::ALL.iter().any(is_type).then_some(role)
    }

    /// The size of the partition in blocks.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.ending_lba.0.saturating_sub(self.starting_lba.0).saturating_add(1)
    }

    /// Reads an entry; `None` if it is not used.
    fn read(bytes: &[u8], number: u32) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        let partition_type_guid = Guid::from_disk(fields.array()?);
        if partition_type_guid == Guid::ZERO {
            return None;
        }
        let unique_partition_guid = Guid::from_disk(fields.array()?);
        let (starting_lba, ending_lba) = (Lba(fields.u64()?), Lba(fields.u64()?));
        let attributes = fields.u64()?;
        let units = core::iter::from_fn(|| fields.u16()).take(NAME).take_while(|&unit| unit != 0);
        let partition_name =
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Some(Self {
            number,
            partition_type_guid,
            unique_partition_guid,
            starting_lba,
            ending_lba,
            attributes,
            partition_name,
        })
    }

    fn named(&self) -> EntryName {
        EntryName { number: self.number, name: self.partition_name.clone() }
    }

    fn check(&self, header: &GptHeader) -> Result<(), Problem> {
        let (starting, ending) = (self.starting_lba, self.ending_lba);
        let (first_usable, last_usable) = (header.first_usable_lba, header.last_usable_lba);
        if ending < starting {
            return Err(Problem::EndsBeforeItBegins { entry: self.named(), starting, ending });
        }
        if starting < first_usable || ending > last_usable {
            let entry = self.named();
            return Err(Problem::OutsideUsableLbas { entry, starting, ending, first_usable, last_usable });
        }
        Ok(())
    }
}

impl Table {
    /// Builds a table from a header and the bytes of its entries.
    pub(super) fn read(header: GptHeader, array: &[u8]) -> Result<Self, Problem> {
        let length = usize::try_from(header.array_length()).unwrap_or(usize::MAX);
        let array = array.get(..length).ok_or(Problem::PartitionEntryArrayCrc32 {
            says: header.partition_entry_array_crc32,
            found: crc32(array),
        })?;
        let (says, found) = (header.partition_entry_array_crc32, crc32(array));
        if says != found {
            return Err(Problem::PartitionEntryArrayCrc32 { says, found });
        }
        let size = usize::try_from(header.size_of_partition_entry).unwrap_or(usize::MAX).max(1);
        let partitions: Vec<_> = array
            .chunks_exact(size)
            .zip(1..)
            .filter_map(|(entry, number)| GptPartitionEntry::read(entry, number))
            .collect();
        partitions.iter().try_for_each(|entry| entry.check(&header))?;
        check_pairs(&partitions)?;
        Ok(Self { header, partitions })
    }
}

/// Checks that no two partitions share a block or their own GUID. After sorting, only neighbours can overlap.
fn check_pairs(partitions: &[GptPartitionEntry]) -> Result<(), Problem> {
    let mut sorted: Vec<&GptPartitionEntry> = partitions.iter().collect();
    sorted.sort_by_key(|entry| (entry.starting_lba, entry.number));
    for (first, second) in sorted.iter().zip(sorted.iter().skip(1)) {
        if second.starting_lba <= first.ending_lba {
            let (first, lba) = (first.named(), second.starting_lba);
            return Err(Problem::Overlap { first, second: second.named(), lba });
        }
    }
    sorted.sort_by_key(|entry| (entry.unique_partition_guid, entry.number));
    for (first, second) in sorted.iter().zip(sorted.iter().skip(1)) {
        let guid = first.unique_partition_guid;
        if second.unique_partition_guid == guid {
            return Err(Problem::SameGuid { first: first.named(), second: second.named(), guid });
        }
    }
    Ok(())
}
