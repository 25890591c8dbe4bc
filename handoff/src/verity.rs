//! The dm-verity superblock and the shape of its hash tree (cryptsetup's on-disk format, version 1).
//!
//! The tree follows one block of superblock: levels from the top (one block) down to the hashes of the data blocks. The
//! hash of a block is SHA-256 over salt, then block. The root hash is the hash of the top block.

use crate::bytes::Reader;
use crate::hash::{Sha256Digest, to_hex};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of a data block and of a hash block.
pub const BLOCK: u64 = 4096;
/// [`BLOCK`] as a slice length.
pub const BLOCK_LEN: usize = 4096;
/// Digests in one hash block.
pub const PER_BLOCK: u64 = 128;
/// Bytes of salt.
pub const SALT_LEN: usize = 32;

const MAGIC: &[u8; 8] = b"verity\0\0";

/// The root hash: a reader who trusts it can verify every block of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHash(pub Sha256Digest);

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the kernel does when a block of the running root does not match its hash in the tree. Either way the next start
/// uses up a try, so that the other slot is started in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCorruption {
    /// It panics: the reason stays on the consoles until `panic=` restarts the machine.
    #[default]
    Panic,
    /// It restarts at once.
    Restart,
}

impl OnCorruption {
    /// Every value.
    pub const ALL: [Self; 2] = [Self::Panic, Self::Restart];

    /// The value's name in site files and the loader configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Restart => "restart",
        }
    }

    /// The option of the kernel's dm-verity target (Documentation/admin-guide/device-mapper/verity.rst).
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Panic => "panic_on_corruption",
            Self::Restart => "restart_on_corruption",
        }
    }
}

/// The superblock's fields that differ between trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The UUID, 16 bytes in the order of their textual form.
    pub uuid: [u8; 16],
    /// The size of the data in blocks of [`BLOCK`] bytes.
    pub data_blocks: u64,
    /// The salt before each block.
    pub salt: [u8; SALT_LEN],
}

/// Why a block is not a superblock that this version accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadSuperblock {
    /// Too short, or it does not begin with the magic.
    NoMagic,
    /// This field has a value that none of psyopsOS's trees has.
    Unsupported(&'static str),
}

impl fmt::Display for BadSuperblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMagic => f.write_str("no dm-verity superblock"),
            Self::Unsupported(field) => write!(f, "dm-verity superblock: unsupported {field}"),
        }
    }
}

impl core::error::Error for BadSuperblock {}

impl Superblock {
    /// The first block of the hash device.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&1_u32.to_le_bytes()); // version
        out.extend_from_slice(&1_u32.to_le_bytes()); // hash type: normal
        out.extend_from_slice(&self.uuid);
        let mut algorithm = [0; 32];
        for (to, from) in algorithm.iter_mut().zip(b"sha256") {
            *to = *from;
        }
        out.extend_from_slice(&algorithm);
        out.extend_from_slice(&4096_u32.to_le_bytes()); // data block size
        out.extend_from_slice(&4096_u32.to_le_bytes()); // hash block size
        out.extend_from_slice(&self.data_blocks.to_le_bytes());
        out.extend_from_slice(&32_u16.to_le_bytes()); // salt size
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.salt);
        out.resize(BLOCK_LEN, 0);
        out
    }

    /// Reads the first block of a hash device.
    pub fn decode(block: &[u8]) -> Result<Self, BadSuperblock> {
        let mut fields = Reader::new(block);
        if fields.array::<8>().as_ref() != Some(MAGIC) {
            return Err(BadSuperblock::NoMagic);
        }
        let want = |held: bool, field| held.then_some(()).ok_or(BadSuperblock::Unsupported(field));
        want(fields.u32() == Some(1), "version")?;
        want(fields.u32() == Some(1), "hash type")?;
        let uuid = fields.array().ok_or(BadSuperblock::NoMagic)?;
        let algorithm = fields.array::<32>().ok_or(BadSuperblock::NoMagic)?;
        want(algorithm.starts_with(b"sha256\0"), "hash algorithm")?;
        want(fields.u32() == Some(4096), "data block size")?;
        want(fields.u32() == Some(4096), "hash block size")?;
        let data_blocks = fields.u64().filter(|&n| n > 0).ok_or(BadSuperblock::Unsupported("data blocks"))?;
        want(fields.u16() == Some(32), "salt size")?;
        fields.take(6).ok_or(BadSuperblock::NoMagic)?;
        let salt = fields.array().ok_or(BadSuperblock::NoMagic)?;
        Ok(Self { uuid, data_blocks, salt })
    }

    /// The hash of one block.
    #[must_use]
    pub fn hash_block(&self, block: &[u8]) -> Sha256Digest {
        Sha256Digest::of_parts(&[&self.salt, block])
    }

    /// The hash blocks of each level, the top (one block) first.
    #[must_use]
    pub fn levels(&self) -> Vec<u64> {
        let mut levels = Vec::new();
        let mut blocks = self.data_blocks;
        loop {
            blocks = blocks.div_ceil(PER_BLOCK);
            levels.push(blocks);
            if blocks <= 1 {
                break;
            }
        }
        levels.reverse();
        levels
    }

    /// Bytes of the hash device, superblock included.
    #[must_use]
    pub fn hash_device_size(&self) -> u64 {
        let blocks = self.levels().iter().fold(1_u64, |sum, n| sum.saturating_add(*n));
        blocks.saturating_mul(BLOCK)
    }

    /// The target's parameters in a device-mapper table (kernel: Documentation/admin-guide/device-mapper/verity.rst).
    #[must_use]
    pub fn table_parameters(
        &self,
        data_device: &str,
        hash_device: &str,
        root: RootHash,
        options: &[&str],
    ) -> String {
        let mut parameters = format!(
            "1 {data_device} {hash_device} {BLOCK} {BLOCK} {} 1 sha256 {root} {}",
            self.data_blocks,
            to_hex(&self.salt)
        );
        if !options.is_empty() {
            parameters.push_str(&format!(" {} {}", options.len(), options.join(" ")));
        }
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_value_is_read_back() {
        let superblock = Superblock { uuid: [7; 16], data_blocks: 20_000, salt: [9; 32] };
        let block = superblock.encode();
        assert_eq!(block.len(), BLOCK_LEN);
        assert_eq!(Superblock::decode(&block), Ok(superblock.clone()));
        assert_eq!(superblock.levels(), [1, 2, 157]);
        assert_eq!(superblock.hash_device_size(), 161 * BLOCK);
    }

    #[test]
    fn each_unsupported_field_is_named() {
        let block = Superblock { uuid: [7; 16], data_blocks: 1, salt: [9; 32] }.encode();
        for (position, expected) in [
            (0, BadSuperblock::NoMagic),
            (8, BadSuperblock::Unsupported("version")),
            (12, BadSuperblock::Unsupported("hash type")),
            (32, BadSuperblock::Unsupported("hash algorithm")),
            (64, BadSuperblock::Unsupported("data block size")),
            (68, BadSuperblock::Unsupported("hash block size")),
            (80, BadSuperblock::Unsupported("salt size")),
        ] {
            let mut bad = block.clone();
            bad[position] ^= 0x40;
            assert_eq!(Superblock::decode(&bad), Err(expected), "byte {position}");
        }
    }
}
