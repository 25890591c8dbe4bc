//! The header of a copy of the table (UEFI 2.10, table 5.5), under the names of its fields there.

use super::{Copy, Geometry, Lba, Problem, crc32};
use crate::bytes::Reader;
use crate::guid::Guid;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
/// Bytes of the fields of this revision; `HeaderSize` may be larger.
const FIELDS: u32 = 92;
/// The bytes of `HeaderCRC32`, which are taken as zero when the checksum is computed.
const HEADER_CRC32: core::ops::Range<usize> = 16..20;
/// The specification requires room for at least 16 KiB of entries. 1 MiB is 128 entries of 8 KiB each.
const LARGEST_ARRAY: u64 = 1 << 20;
/// `MyLBA` of the primary copy.
pub(super) const PRIMARY: Lba = Lba(1);

/// A header whose checksum matches and whose numbers are possible on its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GptHeader {
    /// The block of this header.
    pub my_lba: Lba,
    /// The block of the other copy.
    pub alternate_lba: Lba,
    /// The first block that partitions may use.
    pub first_usable_lba: Lba,
    /// The last block that partitions may use.
    pub last_usable_lba: Lba,
    /// `DiskGUID`, the GUID of the whole disk.
    pub disk_guid: Guid,
    /// The first block of the entries.
    pub partition_entry_lba: Lba,
    /// How many entries there are, used or not.
    pub number_of_partition_entries: u32,
    /// Bytes of an entry: 128 times a power of two.
    pub size_of_partition_entry: u32,
    /// CRC-32 of all entries.
    pub partition_entry_array_crc32: u32,
}

impl GptHeader {
    /// Reads the header out of `block`, which is block `read_at` of the disk.
    pub fn read(block: &[u8], copy: Copy, read_at: Lba, disk: Geometry) -> Result<Self, Problem> {
        let raw = RawHeader::read(block).ok_or(Problem::Signature)?;
        if raw.signature != *SIGNATURE {
            return Err(Problem::Signature);
        }
        if raw.revision != REVISION {
            return Err(Problem::Revision { found: raw.revision });
        }
        let found = raw.crc32_of(block).ok_or(Problem::HeaderSize { found: raw.header_size })?;
        if found != raw.header_crc32 {
            return Err(Problem::HeaderCrc32 { says: raw.header_crc32, found });
        }
        let header = raw.header;
        if header.my_lba != read_at {
            return Err(Problem::MyLba { says: header.my_lba, read_at });
        }
        let (first, last) = (header.first_usable_lba, header.last_usable_lba);
        if first > last {
            return Err(Problem::UsableLbas { first, last });
        }
        let fits = match copy {
            Copy::Primary => header.alternate_lba > last,
            Copy::Backup => header.alternate_lba == PRIMARY,
        };
        if !fits {
            return Err(Problem::AlternateLba { says: header.alternate_lba });
        }
        header.check_array(copy, disk)?;
        Ok(header)
    }

    /// Bytes of the entries.
    #[must_use]
    pub fn array_length(&self) -> u64 {
        u64::from(self.number_of_partition_entries).saturating_mul(self.size_of_partition_entry.into())
    }

    fn check_array(&self, copy: Copy, disk: Geometry) -> Result<(), Problem> {
        let (count, size) = (self.number_of_partition_entries, self.size_of_partition_entry);
        if size < 128 || !size.is_power_of_two() {
            return Err(Problem::SizeOfPartitionEntry { found: size });
        }
        if self.array_length() > LARGEST_ARRAY {
            return Err(Problem::TooManyEntries { count, size });
        }
        // After the primary header and before the partitions, or after the partitions and before the backup header.
        let blocks = disk.blocks_of(self.array_length());
        let (least, end) = match copy {
            Copy::Primary => (Lba(2), self.first_usable_lba.0),
            Copy::Backup => (Lba(self.last_usable_lba.0.saturating_add(1)), self.my_lba.0),
        };
        let says = self.partition_entry_lba;
        let own_end = says.0.checked_add(blocks).filter(|&own_end| says >= least && own_end <= end);
        let own_end = own_end.ok_or(Problem::PartitionEntryLba { says, blocks })?;
        if own_end > disk.blocks() {
            return Err(disk.cut_before(Lba(own_end.saturating_sub(1))));
        }
        Ok(())
    }
}

/// The fields as they are on the disk.
struct RawHeader {
    signature: [u8; 8],
    revision: u32,
    header_size: u32,
    header_crc32: u32,
    header: GptHeader,
}

impl RawHeader {
    /// Reads the fields; `None` if the block is too short.
    fn read(block: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(block);
        let (signature, revision, header_size, header_crc32) =
            (fields.array()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let _reserved = fields.u32()?;
        let header = GptHeader {
            my_lba: Lba(fields.u64()?),
            alternate_lba: Lba(fields.u64()?),
            first_usable_lba: Lba(fields.u64()?),
            last_usable_lba: Lba(fields.u64()?),
            disk_guid: Guid::from_disk(fields.array()?),
            partition_entry_lba: Lba(fields.u64()?),
            number_of_partition_entries: fields.u32()?,
            size_of_partition_entry: fields.u32()?,
            partition_entry_array_crc32: fields.u32()?,
        };
        Some(Self { signature, revision, header_size, header_crc32, header })
    }

    /// The checksum computed over the header's bytes; `None` if `HeaderSize` is larger than the block.
    fn crc32_of(&self, block: &[u8]) -> Option<u32> {
        let size = usize::try_from(self.header_size).ok().filter(|_| self.header_size >= FIELDS)?;
        let mut bytes = block.get(..size)?.to_vec();
        bytes.get_mut(HEADER_CRC32)?.fill(0);
        Some(crc32(&bytes))
    }
}
