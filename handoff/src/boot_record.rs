//! The boot record: the last 4 KiB of a boot partition, with length and digest of the UKI at its start.
//!
//! Layout, little-endian: magic `psyboot1`, length of the UKI (u64), its SHA-256 (32 bytes), security epoch (u32),
//! release (u16 length and text), signature (u16 length and text, a minisign signature of the UKI), then zeros up to
//! the SHA-256 of everything before it in the last 32 bytes. So any flipped bit is found from the record alone. The
//! signature shows who wrote it; this module carries the signature and does not verify it.

use crate::bytes::{Reader, put_short_str};
use crate::hash::Sha256Digest;
use crate::name::Name;
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of a boot record.
pub const SIZE: usize = 4096;
/// [`SIZE`] as a device offset.
pub const SIZE_U64: u64 = 4096;
const MAGIC: &[u8; 8] = b"psyboot1";
const BODY: usize = 4096 - 32;
/// The longest signature text that fits with room to spare.
const LONGEST_SIGNATURE: usize = 2048;

/// What a boot partition contains: the fields of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRecord {
    /// Bytes of the UKI, from offset 0.
    pub length: u64,
    /// SHA-256 of the UKI.
    pub digest: Sha256Digest,
    /// The security epoch of the release: it grows when older releases must not run any more.
    pub security_epoch: u32,
    /// The name of the release.
    pub release: Name,
    /// The minisign signature of the UKI, as in its file; empty if there is none.
    pub signature: String,
}

/// Why 4 KiB are not a boot record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadBootRecord {
    /// The input does not have [`SIZE`] bytes; holds its length.
    WrongSize(usize),
    /// All zero: no record was written here.
    Empty,
    /// Does not begin with the magic of a boot record.
    NoMagic,
    /// The record does not hash to its own digest.
    Damaged {
        /// The digest stored in the record.
        stored: Sha256Digest,
        /// The digest computed over the record.
        computed: Sha256Digest,
    },
    /// Undamaged, but this field has a value that is not valid: written by another version.
    BadField(&'static str),
}

impl fmt::Display for BadBootRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongSize(size) => write!(f, "boot record of {size} bytes, {SIZE} expected"),
            Self::Empty => f.write_str("empty slot: no boot record"),
            Self::NoMagic => f.write_str("no boot record: it does not begin with psyboot1"),
            Self::Damaged { stored, computed } => {
                write!(f, "boot record damaged: it has the SHA-256 {stored}, its content has {computed}")
            }
            Self::BadField(field) => write!(f, "boot record: the value of the field {field} is not valid"),
        }
    }
}

impl core::error::Error for BadBootRecord {}

impl BootRecord {
    /// The record's bytes on the disk; `None` if release and signature do not fit.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.signature.len() > LONGEST_SIGNATURE {
            return None;
        }
        let mut out = Vec::with_capacity(SIZE);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        out.extend_from_slice(&self.security_epoch.to_le_bytes());
        put_short_str(&mut out, self.release.as_str());
        put_short_str(&mut out, &self.signature);
        out.resize(BODY, 0);
        let digest = Sha256Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        Some(out)
    }

    /// Reads a record of exactly [`SIZE`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadBootRecord> {
        if bytes.len() != SIZE {
            return Err(BadBootRecord::WrongSize(bytes.len()));
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(BadBootRecord::Empty);
        }
        let (body, stored) = bytes.split_at_checked(BODY).ok_or(BadBootRecord::WrongSize(bytes.len()))?;
        let mut fields = Reader::new(body);
        if fields.array::<8>().as_ref() != Some(MAGIC) {
            return Err(BadBootRecord::NoMagic);
        }
        let stored = stored.try_into().map(Sha256Digest::from_bytes).map_err(|_| BadBootRecord::NoMagic)?;
        let computed = Sha256Digest::of(body);
        if stored != computed {
            return Err(BadBootRecord::Damaged { stored, computed });
        }
        let length = fields.u64().ok_or(BadBootRecord::BadField("length"))?;
        let digest = fields.array().map(Sha256Digest::from_bytes).ok_or(BadBootRecord::BadField("digest"))?;
        let security_epoch = fields.u32().ok_or(BadBootRecord::BadField("security epoch"))?;
        let release = fields
            .short_str()
            .and_then(|text| text.parse().ok())
            .ok_or(BadBootRecord::BadField("release"))?;
        let signature = fields.short_str().ok_or(BadBootRecord::BadField("signature"))?.to_owned();
        Ok(Self { length, digest, security_epoch, release, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BootRecord {
        BootRecord {
            length: 12_345_678,
            digest: Sha256Digest::of(b"kernel"),
            security_epoch: 3,
            release: "2026.11".parse().unwrap(),
            signature: "untrusted comment: x\nRU...\n".into(),
        }
    }

    #[test]
    fn a_written_value_is_read_back() {
        let bytes = record().encode().unwrap();
        assert_eq!(bytes.len(), SIZE);
        assert_eq!(BootRecord::decode(&bytes), Ok(record()));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = record().encode().unwrap();
        for position in 0..SIZE {
            let mut bad = bytes.clone();
            bad[position] ^= 0x10;
            let expected_magic = position < 8;
            match BootRecord::decode(&bad) {
                Err(BadBootRecord::NoMagic) => assert!(expected_magic, "{position}"),
                Err(BadBootRecord::Damaged { .. }) => assert!(!expected_magic, "{position}"),
                other => panic!("byte {position}: {other:?}"),
            }
        }
    }

    #[test]
    fn empty_and_cut_records_have_their_own_errors() {
        assert_eq!(BootRecord::decode(&[0; SIZE]), Err(BadBootRecord::Empty));
        assert_eq!(BootRecord::decode(&[0; 17]), Err(BadBootRecord::WrongSize(17)));
    }

    #[test]
    fn a_signature_that_is_too_long_is_an_error() {
        let mut long = record();
        long.signature = "x".repeat(LONGEST_SIGNATURE + 1);
        assert_eq!(long.encode(), None);
    }
}
