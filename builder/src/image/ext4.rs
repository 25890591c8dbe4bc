//! The secret partition's file system, read where it lies in the image.
//!
//! The superblock is compared with the partition before ext4-view takes memory for what it says (kernel documentation,
//! ext4, "Super Block"), and each path may cause so many reads: structures that lead in a circle end there.

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

/// Where the superblock begins, and its length.
const SUPERBLOCK: (u64, usize) = (1024, 1024);
/// `s_magic`.
const MAGIC: u64 = 0xef53;
/// `s_log_block_size` of the largest block, 64 KiB.
const LARGEST_LOG_BLOCK: u64 = 6;

/// Why the file system cannot be opened.
#[derive(Debug, ThisError)]
pub enum OpenError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// A part of it is larger than a secret partition has.
    #[error(transparent)]
    Limit(#[from] OverLimit),
    /// It is larger than the partition.
    #[error(
        "its superblock says that it has {blocks} blocks of {block} bytes, and the partition has {size} bytes"
    )]
    TooLarge {
        /// `s_blocks_count`.
        blocks: u64,
        /// The size of a block.
        block: u64,
        /// Of the partition.
        size: u64,
    },
    /// No kernel takes blocks of this size.
    #[error("its superblock says that a block has 2^{0} bytes; at most 2^16 are possible")]
    Block(u64),
    /// The superblock.
    #[error("its superblock cannot be read: {0}")]
    Io(io::Error),
    /// Anything else.
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Compares the superblock with the partition, and what it makes a reader keep in memory with the limits. What is no
/// superblock at all is left to ext4-view, which names it.
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
    // `s_blocks_count_hi` means something only with the feature 64BIT; ext4-view counts with it always.
    let blocks = word(field::<0x4, _, _>(&superblock)) | word(field::<0x150, _, _>(&superblock)) << 32;
    if log_block <= LARGEST_LOG_BLOCK {
        let block = 1024 << log_block;
        if blocks.checked_mul(block).is_none_or(|bytes| bytes > size) {
            return Err(OpenError::TooLarge { blocks, block, size });
        }
    }
    // ext4-view takes blocks of up to 2 GiB, memory for some of them, and for all groups before it reads one.
    limits::EXT4_GROUPS.check(blocks.div_ceil(per_group))?;
    if log_block > LARGEST_LOG_BLOCK {
        return Err(OpenError::Block(log_block.saturating_add(10)));
    }
    Ok(())
}

/// Reads a partition for ext4-view: nothing outside of it, and so often at most.
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

/// A partition of an image, without a lifetime.
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
