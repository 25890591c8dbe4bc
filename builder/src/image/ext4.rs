//! The file system of the secret partition, read in place in the image.
//!
//! The superblock is compared with the partition before ext4-view allocates memory for its values (kernel
//! documentation, ext4, "Super Block"), and each path may cause only a limited number of reads: this ends structures
//! that form a cycle.

use super::reader::{ImageReader, ReadError};
use super::storage::Storage;
use crate::header_field::field;
use crate::input::ReadAt;
use crate::limits::{self, OverLimit};
use ext4_view::{Ext4, Ext4Error, Ext4Read};
use handoff::partition::Role;
use std::error::Error;
use std::io;
use thiserror::Error as ThisError;

/// The offset of the superblock in bytes, and its length.
const SUPERBLOCK: (u64, usize) = (1024, 1024);
/// The value of `s_magic`.
const MAGIC: u64 = 0xef53;
/// The value of `s_log_block_size` for the largest block, 64 KiB.
const LARGEST_LOG_BLOCK: u64 = 6;

/// Why the file system could not be opened.
#[derive(Debug, ThisError)]
pub enum OpenError {
    /// The image could not be read.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// A part of the file system is larger than in any secret partition.
    #[error(transparent)]
    Limit(#[from] OverLimit),
    /// The file system is larger than the partition.
    #[error(
        "its superblock has {blocks} blocks of {block} bytes, which is more than the partition's {size} bytes"
    )]
    TooLarge {
        /// The number of blocks: `s_blocks_count`.
        blocks: u64,
        /// The size of a block in bytes.
        block: u64,
        /// The size of the partition in bytes.
        size: u64,
    },
    /// The block size is larger than any kernel supports: its logarithm.
    #[error("its superblock has blocks of 2^{0} bytes; the largest are 2^16 bytes")]
    Block(u64),
    /// The superblock could not be read.
    #[error("its superblock cannot be read: {0}")]
    Io(io::Error),
    /// Any other error from ext4-view.
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Compares the superblock with the partition, and the memory that a reader would need with the limits. If it is not a
/// superblock at all, ext4-view reports that.
fn check(source: &dyn ReadAt, size: u64) -> Result<(), OpenError> {
    limits::SECRET.check(size)?;
    let mut superblock = [0; SUPERBLOCK.1];
    source.fill_at(&mut superblock, SUPERBLOCK.0)?;
    let word = |bytes: [u8; 4]| u64::from(u32::from_le_bytes(bytes));
    let (log_block, per_group) =
        (word(field::<0x18, _, _>(&superblock)), word(field::<0x20, _, _>(&superblock)));
    if word(field::<0x38, _, _>(&superblock)) & 0xffff != MAGIC || per_group == 0 {
        return Ok(());
    }
    // `s_blocks_count_hi` is only valid with the feature 64BIT; ext4-view always uses it.
    let blocks = word(field::<0x4, _, _>(&superblock)) | word(field::<0x150, _, _>(&superblock)) << 32;
    if log_block <= LARGEST_LOG_BLOCK {
        let block = 1024 << log_block;
        if blocks.checked_mul(block).is_none_or(|bytes| bytes > size) {
            return Err(OpenError::TooLarge { blocks, block, size });
        }
    }
    // ext4-view accepts blocks of up to 2 GiB, and allocates memory for some of them, and for all groups, before it
    // reads one.
    limits::EXT4_GROUPS.check(blocks.div_ceil(per_group))?;
    if log_block > LARGEST_LOG_BLOCK {
        return Err(OpenError::Block(log_block.saturating_add(10)));
    }
    Ok(())
}

/// Reads a partition for ext4-view: nothing outside of it, and only a limited number of times.
struct Reader<S> {
    source: S,
    size: u64,
    left: u64,
}

impl<S: ReadAt> Ext4Read for Reader<S> {
    fn read(&mut self, start: u64, into: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        let limit = &limits::EXT4_READS;
        self.left =
            self.left.checked_sub(1).ok_or(OverLimit { limit, found: limit.most.saturating_add(1) })?;
        let end = u64::try_from(into.len()).ok().and_then(|length| start.checked_add(length));
        if end.is_none_or(|end| end > self.size) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(self.source.fill_at(into, start)?)
    }
}

/// Opens a file system of `size` bytes.
pub fn open_at(source: impl ReadAt + Clone + 'static, size: u64) -> Result<Ext4, OpenError> {
    check(&source, size)?;
    Ok(Ext4::load(Box::new(Reader { source, size, left: limits::EXT4_READS.most }))?)
}

/// A partition of an image that does not borrow from the reader.
#[derive(Clone)]
struct Partition {
    storage: Storage,
    offset: u64,
}

impl ReadAt for Partition {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.storage.fill_at(into, self.offset.saturating_add(offset))
    }
}

/// Opens the file system of the secret partition.
pub fn open(image: &ImageReader) -> Result<Ext4, OpenError> {
    image.is_there(Role::Secret)?;
    let partition = image.partition(Role::Secret)?;
    open_at(Partition { storage: image.storage().clone(), offset: partition.offset.0 }, partition.size.0)
}
