//! The superblock of a squashfs (version 4.0, kernel documentation, squashfs, "Superblock"): the fields to check before
//! `unsquashfs` is started on a root from elsewhere.

use crate::header_field::field;
use crate::limits::{self, OverLimit};
use thiserror::Error;

/// The length of the superblock in bytes.
pub const SIZE: usize = 96;
/// The value of `s_magic`.
const MAGIC: u32 = 0x7371_7368;
/// The values of `s_major` and `s_minor`.
const VERSION: (u16, u16) = (4, 0);
/// The MiB of unpacked and of packed blocks that `unsquashfs` may keep, each. Its default is a quarter of the memory.
const QUEUES: &str = "16";

/// Why a root is not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadSuperblock {
    /// The root is not a squashfs: its first four bytes.
    #[error("it is not a squashfs: it begins with {0:#010x}, not {MAGIC:#010x}")]
    Magic(u32),
    /// The squashfs has another version.
    #[error("it is a squashfs of version {0}.{1}, not 4.0")]
    Version(u16, u16),
    /// The squashfs is longer than its data.
    #[error("its squashfs has {used} bytes, and the root has {size}")]
    TooLarge {
        /// The value of `bytes_used`.
        used: u64,
        /// The bytes that the root hash covers.
        size: u64,
    },
    /// The value of `block_log` is not the logarithm of `block_size`.
    #[error("its squashfs has two different block sizes: {size} and 2^{log} bytes")]
    Block {
        /// The value of `block_size`.
        size: u32,
        /// The value of `block_log`.
        log: u16,
    },
    /// A field is over a limit.
    #[error(transparent)]
    Limit(#[from] OverLimit),
}

/// Checks the superblock of a root of `size` bytes.
pub fn check(superblock: &[u8; SIZE], size: u64) -> Result<(), BadSuperblock> {
    let magic = u32::from_le_bytes(field::<0, _, _>(superblock));
    if magic != MAGIC {
        return Err(BadSuperblock::Magic(magic));
    }
    let (major, minor) = (field::<28, _, _>(superblock), field::<30, _, _>(superblock));
    let (major, minor) = (u16::from_le_bytes(major), u16::from_le_bytes(minor));
    if (major, minor) != VERSION {
        return Err(BadSuperblock::Version(major, minor));
    }
    limits::ROOT_FILES.check(u64::from(u32::from_le_bytes(field::<4, _, _>(superblock))))?;
    let block = u32::from_le_bytes(field::<12, _, _>(superblock));
    let logarithm = u16::from_le_bytes(field::<22, _, _>(superblock));
    limits::SQUASHFS_BLOCK.check(u64::from(block))?;
    if 1_u32.checked_shl(u32::from(logarithm)) != Some(block) {
        return Err(BadSuperblock::Block { size: block, log: logarithm });
    }
    let used = u64::from_le_bytes(field::<40, _, _>(superblock));
    if used > size {
        return Err(BadSuperblock::TooLarge { used, size });
    }
    Ok(())
}

/// Options for `unsquashfs` that limit its memory.
pub const MEMORY_OPTIONS: [&str; 6] = ["-processors", "2", "-data-queue", QUEUES, "-frag-queue", QUEUES];

#[cfg(test)]
mod tests {
    use super::*;

    /// A superblock with 1000 inodes, blocks of 128 KiB, and 5000 bytes.
    fn superblock() -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (at, part) in [
            (0, MAGIC.to_le_bytes().as_slice()),
            (4, &1000_u32.to_le_bytes()),
            (12, &131_072_u32.to_le_bytes()),
            (22, &17_u16.to_le_bytes()),
            (28, &4_u16.to_le_bytes()),
            (40, &5000_u64.to_le_bytes()),
        ] {
            bytes[at..at + part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn each_field_is_checked_against_the_file() {
        assert_eq!(check(&superblock(), 8192), Ok(()));
        let with = |at: usize, value: &[u8]| {
            let mut bytes = superblock();
            bytes[at..at + value.len()].copy_from_slice(value);
            check(&bytes, 8192).unwrap_err()
        };
        assert_eq!(with(0, b"x"), BadSuperblock::Magic(0x7371_7378));
        assert_eq!(with(28, &[3]), BadSuperblock::Version(3, 0));
        assert_eq!(with(40, &[0xff; 8]), BadSuperblock::TooLarge { used: u64::MAX, size: 8192 });
        assert_eq!(with(22, &[200]), BadSuperblock::Block { size: 131_072, log: 200 });
        let over = |limit, found| BadSuperblock::Limit(OverLimit { limit, found });
        assert_eq!(with(4, &[0xff; 4]), over(&limits::ROOT_FILES, 0xffff_ffff));
        assert_eq!(with(14, &[0xff; 2]), over(&limits::SQUASHFS_BLOCK, 0xffff_0000));
    }
}
