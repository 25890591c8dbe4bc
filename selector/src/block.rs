//! A partition or a disk as bytes at offsets, over the firmware's block access (UEFI 2.10, section 13.9).
#![cfg(target_os = "uefi")]

use crate::fault::Fault;
use crate::protocol;
use alloc::vec::Vec;
use uefi::Handle;
use uefi::boot::ScopedProtocol;
use uefi::mem::AlignedBuffer;
use uefi::proto::media::block::BlockIO;

/// Every record on a stick is at a multiple of this, so blocks must not be larger.
const LARGEST_BLOCK: u64 = 4096;

/// A device that can be read and written.
pub(crate) struct Blocks {
    what: &'static str,
    io: ScopedProtocol<BlockIO>,
    block: u64,
    align: usize,
    size: u64,
}

impl Blocks {
    /// Opens a device, called `what` in errors, and refuses block sizes that the formats on it do not allow.
    pub(crate) fn open(handle: Handle, what: &'static str) -> Result<Self, Fault> {
        let io: ScopedProtocol<BlockIO> =
            protocol::get(handle).map_err(|error| Fault::NoAccess(what, error.status()))?;
        let media = io.media();
        let block = u64::from(media.block_size());
        if !media.is_media_present() || !block.is_power_of_two() || block > LARGEST_BLOCK {
            return Err(Fault::BadGeometry(what));
        }
        // An alignment of 0 or 1 means none; a page is enough for every controller that needs less.
        let align = usize::try_from(media.io_align()).unwrap_or(1).max(4096).next_power_of_two();
        let size = media.last_block().saturating_add(1).saturating_mul(block);
        Ok(Self { what, io, block, align, size })
    }

    /// Bytes of the device.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a block.
    pub(crate) fn block(&self) -> u64 {
        self.block
    }

    /// Memory that the controller can read into, a whole number of blocks with room for `length` bytes.
    pub(crate) fn buffer(&self, length: usize) -> Result<AlignedBuffer, Fault> {
        let whole = length.next_multiple_of(4096);
        AlignedBuffer::from_size_align(whole, self.align).map_err(|_| Fault::BadGeometry(self.what))
    }

    /// Fills `into`, a whole number of blocks, from `offset`, a multiple of the block size.
    pub(crate) fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        let id = self.io.media().media_id();
        let read = self.io.read_blocks(id, offset / self.block, into);
        read.map_err(|error| Fault::Read { what: self.what, offset, status: error.status() })
    }

    /// `length` bytes from `offset`, both multiples of the block size.
    pub(crate) fn read_bytes(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, Fault> {
        let mut buffer = self.buffer(length)?;
        let whole =
            buffer.as_slice_mut().split_at_mut_checked(length).ok_or(Fault::BadGeometry(self.what))?.0;
        self.read(offset, whole)?;
        Ok(whole.to_vec())
    }

    /// The 4 KiB record at `offset`.
    pub(crate) fn read_record(&mut self, offset: u64) -> Result<Vec<u8>, Fault> {
        let mut buffer = self.buffer(4096)?;
        self.read(offset, buffer.as_slice_mut())?;
        Ok(buffer.as_slice().to_vec())
    }

    /// Writes a 4 KiB record, flushes it, and reads it back: worn and fake media accept writes that they do not store.
    pub(crate) fn write_record(&mut self, offset: u64, record: &[u8]) -> Result<(), Fault> {
        let media = self.io.media();
        if media.is_read_only() {
            return Err(Fault::ReadOnly(self.what));
        }
        let id = media.media_id();
        let mut buffer = self.buffer(record.len())?;
        buffer.copy_from_slice(record);
        let written = self.io.write_blocks(id, offset / self.block, buffer.as_slice());
        let flushed = written.and_then(|()| self.io.flush_blocks());
        flushed.map_err(|error| Fault::Write(self.what, error.status()))?;
        if self.read_record(offset)? == record { Ok(()) } else { Err(Fault::NotWritten(self.what)) }
    }
}
