//! Disks with tables of any shape, for the tests: written field by field, so that each can be wrong.
#![expect(clippy::cast_possible_truncation, reason = "the disk is of 1 MiB")]

use super::{Geometry, crc32};
use crate::guid::Guid;
use crate::partition::Role;
use alloc::vec::Vec;
use alloc::{format, vec};

pub(super) const BLOCKS: u64 = 2048;
const BLOCK: usize = 512;

/// A disk with the partitions of all roles, each of 16 blocks from block 512 on.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    entry_size: u32,
    array_blocks: u64,
}

/// A field of a header.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Revision = 8,
    HeaderSize = 12,
    MyLba = 24,
    AlternateLba = 32,
    FirstUsableLba = 40,
    LastUsableLba = 48,
    PartitionEntryLba = 72,
    NumberOfPartitionEntries = 80,
    SizeOfPartitionEntry = 84,
}

/// A field of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum EntryField {
    UniquePartitionGuid = 16,
    StartingLba = 32,
    EndingLba = 40,
}

impl Sample {
    pub(super) fn new(entry_size: u32) -> Self {
        let array_blocks = 128 * u64::from(entry_size) / 512;
        let mut sample = Self { bytes: vec![0; BLOCKS as usize * BLOCK], entry_size, array_blocks };
        sample.bytes[446 + 12..446 + 16].copy_from_slice(&(BLOCKS as u32 - 1).to_le_bytes());
        for primary in [true, false] {
            let header = Self::header(primary);
            let (own, other, array) =
                if primary { (1, BLOCKS - 1, 2) } else { (BLOCKS - 1, 1, BLOCKS - 1 - array_blocks) };
            let last_usable = BLOCKS - 2 - array_blocks;
            sample.bytes[header..header + 8].copy_from_slice(b"EFI PART");
            sample.put(header + 8, &0x1_0000_u32.to_le_bytes());
            sample.put(header + 12, &92_u32.to_le_bytes());
            for (at, value) in
                [(24, own), (32, other), (40, 2 + array_blocks), (48, last_usable), (72, array)]
            {
                sample.put(header + at, &value.to_le_bytes());
            }
            sample.put(header + 56, &[7; 16]);
            sample.put(header + 80, &128_u32.to_le_bytes());
            sample.put(header + 84, &entry_size.to_le_bytes());
            for (index, role) in Role::ALL.into_iter().enumerate() {
                let entry = sample.entry(primary, index);
                let kind: Guid = role.type_guid(&crate::architecture::X86_64).parse().unwrap();
                sample.put(entry, &kind.to_disk());
                sample.put(entry + 16, &[u8::try_from(index).unwrap() + 1; 16]);
                let start = 512 + 16 * index as u64;
                sample.put(entry + 32, &start.to_le_bytes());
                sample.put(entry + 40, &(start + 15).to_le_bytes());
                for (unit, c) in role.name().encode_utf16().enumerate() {
                    sample.put(entry + 56 + 2 * unit, &c.to_le_bytes());
                }
            }
            sample.sum(primary);
        }
        sample
    }

    pub(super) fn geometry(&self) -> Geometry {
        Geometry::new(512, self.bytes.len() as u64).unwrap()
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, alloc::string::String> {
        let start = usize::try_from(offset).unwrap();
        self.bytes.get(start..start + length).map(<[u8]>::to_vec).ok_or_else(|| format!("end at {offset}"))
    }

    fn header(primary: bool) -> usize {
        if primary { BLOCK } else { (BLOCKS as usize - 1) * BLOCK }
    }

    pub(super) fn entry(&self, primary: bool, index: usize) -> usize {
        let array = if primary { 2 } else { BLOCKS - 1 - self.array_blocks };
        array as usize * BLOCK + index * self.entry_size as usize
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Makes the checksums of a copy match its content.
    fn sum(&mut self, primary: bool) {
        let (array, header) = (self.entry(primary, 0), Self::header(primary));
        let sum = crc32(&self.bytes[array..array + 128 * self.entry_size as usize]);
        self.put(header + 88, &sum.to_le_bytes());
        self.sum_header(primary);
    }

    fn sum_header(&mut self, primary: bool) {
        let header = Self::header(primary);
        self.put(header + 16, &[0; 4]);
        let sum = crc32(&self.bytes[header..header + 92]);
        self.put(header + 16, &sum.to_le_bytes());
    }

    /// Changes a field of a header and updates its checksum.
    pub(super) fn with<const N: usize>(mut self, primary: bool, field: Field, value: [u8; N]) -> Self {
        self.put(Self::header(primary) + field as usize, &value);
        self.sum_header(primary);
        self
    }

    /// Changes a field of an entry in both copies.
    pub(super) fn with_entry<const N: usize>(
        mut self,
        index: usize,
        field: EntryField,
        value: [u8; N],
    ) -> Self {
        for primary in [true, false] {
            self.put(self.entry(primary, index) + field as usize, &value);
            self.sum(primary);
        }
        self
    }

    /// Copies type and name of one entry to another, in both copies.
    pub(super) fn with_role_of(mut self, from: usize, to: usize) -> Self {
        for primary in [true, false] {
            let (from, to) = (self.entry(primary, from), self.entry(primary, to));
            self.bytes.copy_within(from..from + 16, to);
            self.bytes.copy_within(from + 56..from + 128, to + 56);
            self.sum(primary);
        }
        self
    }

    /// Changes one byte and does not update the checksums.
    pub(super) fn torn(mut self, at: usize) -> Self {
        self.bytes[at] ^= 1;
        self
    }
}
