//! The names and types of partitions, from the disk's own table (UEFI 2.10, section 5.3).
//!
//! Firmware has a protocol that tells them (`EFI_PARTITION_INFO_PROTOCOL`), but only since about 2018, and sticks are
//! put into older machines. Where partitions begin and end is left to the firmware, which checked that.
#![cfg(target_os = "uefi")]

use crate::block::Blocks;
use crate::fault::Fault;
use alloc::string::String;
use alloc::vec::Vec;
use handoff::bytes::Reader;
use uefi::{Guid, boot};

/// More bytes of entries than any real table has; keeps a damaged length from taking all memory.
const LARGEST_TABLE: usize = 1024 * 1024;

/// A used entry of the table.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its type GUID.
    pub(crate) kind: Guid,
    /// Its own GUID.
    pub(crate) partition: Guid,
    /// Its name.
    pub(crate) name: String,
}

/// Where a header says that the entries are.
struct Header {
    entries_block: u64,
    count: usize,
    entry_size: usize,
    checksum: u32,
}

/// Reads the first copy of the table, or the last where the first does not hold.
pub(crate) fn read(disk: &mut Blocks) -> Result<Vec<Entry>, Fault> {
    let block = disk.block();
    let last = disk.size().saturating_sub(block);
    let first = read_copy(disk, block);
    first.or_else(|| read_copy(disk, last)).ok_or(Fault::NoTable)
}

fn read_copy(disk: &mut Blocks, offset: u64) -> Option<Vec<Entry>> {
    let header = read_bytes(disk, offset, usize::try_from(disk.block()).ok()?)?;
    let header = Header::decode(&header)?;
    let length = header.count.checked_mul(header.entry_size).filter(|&length| length <= LARGEST_TABLE)?;
    let offset = header.entries_block.checked_mul(disk.block())?;
    let entries = read_bytes(disk, offset, length)?;
    if boot::calculate_crc32(&entries).ok()? != header.checksum {
        return None;
    }
    Some(entries.chunks_exact(header.entry_size).filter_map(Entry::decode).collect())
}

/// `length` bytes from `offset`, a multiple of the block size; less than a block more may be read.
fn read_bytes(disk: &mut Blocks, offset: u64, length: usize) -> Option<Vec<u8>> {
    let whole = length.next_multiple_of(usize::try_from(disk.block()).ok()?);
    let mut buffer = disk.buffer(whole).ok()?;
    disk.read(offset, buffer.as_slice_mut().split_at_mut_checked(whole)?.0).ok()?;
    Some(buffer.as_slice().split_at_checked(length)?.0.to_vec())
}

impl Header {
    fn decode(block: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(block);
        if fields.take(8)? != b"EFI PART" {
            return None;
        }
        let (_revision, size, checksum) = (fields.u32()?, fields.u32()?, fields.u32()?);
        fields.take(72 - 20)?;
        let entries_block = fields.u64()?;
        let (count, entry_size) =
            (usize::try_from(fields.u32()?).ok()?, usize::try_from(fields.u32()?).ok()?);
        // The checksum counts as zero in its own computation.
        let mut summed = block.split_at_checked(usize::try_from(size).ok()?)?.0.to_vec();
        summed.get_mut(16..20)?.fill(0);
        let holds = boot::calculate_crc32(&summed).ok()? == checksum && entry_size >= 128;
        holds.then_some(Self { entries_block, count, entry_size, checksum: fields.u32()? })
    }
}

impl Entry {
    /// Reads an entry; `None` where it is not used.
    fn decode(entry: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(entry);
        let kind = Guid::from_bytes(fields.array()?);
        let partition = Guid::from_bytes(fields.array()?);
        fields.take(24)?;
        let units = fields.take(72)?.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let name = char::decode_utf16(units.take_while(|&unit| unit != 0)).collect::<Result<_, _>>().ok()?;
        (kind != Guid::ZERO).then_some(Self { kind, partition, name })
    }
}
