//! A slot's boot partition: reads its record and UKI and returns the UKI only if it has the digest in the record.
#![cfg(target_os = "uefi")]

use crate::block::Blocks;
use crate::disk::{OwnDisk, Partition};
use crate::fault::Fault;
use handoff::boot_record::{self, BootRecord};
use handoff::hash::Sha256Digest;
use handoff::name::Name;
use handoff::partition::Role;
use handoff::slot::Slot;
use sha2::{Digest as _, Sha256};
use uefi::mem::AlignedBuffer;

/// Bytes of one read: large reads are fast on a stick; a multiple of every block size.
const CHUNK: usize = 1024 * 1024;

/// A UKI that was checked in memory. Exactly these bytes are started; they are not read again.
pub(crate) struct CheckedUki {
    memory: AlignedBuffer,
    length: usize,
    release: Name,
    partition: Partition,
}

impl CheckedUki {
    /// Reads and checks the UKI of `slot`.
    pub(crate) fn read(disk: &OwnDisk, slot: Slot) -> Result<Self, Fault> {
        let partition = disk.partition(Role::Boot(slot))?;
        let mut blocks = Blocks::open(partition.handle, partition.role.name())?;
        let room = blocks.size().saturating_sub(boot_record::SIZE_U64);
        let record = BootRecord::decode(&blocks.read_record(room)?).map_err(Fault::Record)?;
        let length = usize::try_from(record.length).unwrap_or(usize::MAX);
        if record.length > room || length == 0 {
            return Err(Fault::TooLong { length: record.length, room });
        }
        let mut memory = blocks.buffer(length)?;
        let mut hasher = Sha256::new();
        let (mut offset, mut left) = (0, length);
        for chunk in memory.as_slice_mut().chunks_mut(CHUNK) {
            blocks.read(offset, chunk)?;
            let wanted = left.min(chunk.len());
            hasher.update(chunk.split_at(wanted).0);
            left -= wanted;
            offset += 1024 * 1024;
        }
        let found = Sha256Digest::from_bytes(hasher.finalize().into());
        if found != record.digest {
            return Err(Fault::Damaged { expected: record.digest, found });
        }
        Ok(Self { memory, length, release: record.release, partition })
    }

    /// The UKI's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.as_slice().split_at(self.length).0
    }

    /// The release in the boot record.
    pub(crate) fn release(&self) -> &Name {
        &self.release
    }

    /// The partition it was read from.
    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }
}
