//! The digests of a new image, part by part, and two digests that summarize them.
//!
//! `public` covers all that anyone can build again from the site and its lock: partition table, ESP, control records,
//! and the UKI, root and hash tree of slot a. `node` also covers the UKI's signature and the seal, which need the
//! site's keys. The secret partition is in neither: no digest of a secret leaves the encrypted part of a seal.
//!
//! Each is the SHA-256 of its part, except for the root, whose digest is its root hash. That follows from the root's
//! data: after comparing a root with its root hash, the root need not be read again.

use super::reader::ImageReader;
use super::slot::{self, SlotError};
use crate::limits;
use crate::site::Bytes;
use crate::width::to_usize;
use handoff::control;
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::BLOCK;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// How many bytes are read at once.
const PIECE: u64 = 1 << 20;

/// The part of an image, with its name in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Protective MBR, primary and backup table: the first 34 sectors of the disk, then its last 33.
    Table,
    /// The ESP, up to its last byte that is not zero.
    Esp,
    /// The two control records.
    Control,
    /// The UKI in slot a.
    Uki,
    /// The release and security epoch in the boot record, as the text `RELEASE EPOCH`.
    Release,
    /// The root's file system in slot a, with the length in its hash tree, as its root hash.
    Root,
    /// The hash tree of the root in slot a.
    Verity,
    /// The signature in the boot record of slot a.
    Signature,
    /// The seal in the first seal partition, from header to signature.
    Seal,
}

impl Part {
    /// All parts, in the order of lists.
    pub const ALL: [Self; 9] = [
        Self::Table,
        Self::Esp,
        Self::Control,
        Self::Uki,
        Self::Release,
        Self::Root,
        Self::Verity,
        Self::Signature,
        Self::Seal,
    ];

    /// Whether the part is the same for all nodes with one system.
    #[must_use]
    pub fn is_shared(self) -> bool {
        !matches!(self, Self::Table | Self::Esp | Self::Seal)
    }

    /// Whether a running node writes the part. Nothing writes to the ESP or the partition table after flashing.
    #[must_use]
    pub fn is_written_by_nodes(self) -> bool {
        !matches!(self, Self::Table | Self::Esp)
    }

    /// Whether anyone can build the part again.
    #[must_use]
    pub fn is_public(self) -> bool {
        !matches!(self, Self::Signature | Self::Seal)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Table => "table",
            Self::Esp => "esp",
            Self::Control => "control",
            Self::Uki => "uki",
            Self::Release => "release",
            Self::Root => "root",
            Self::Verity => "verity",
            Self::Signature => "signature",
            Self::Seal => "seal",
        })
    }
}

/// The digests of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digests(Vec<(Part, String)>);

impl Digests {
    /// Reads an image. Only slot a is read: slot b of a new image is empty.
    pub fn of(image: &ImageReader) -> Result<Self, SlotError> {
        Self::of_rest(image, |_| None)
    }

    /// Reads the parts of an image for which `known` has no digest.
    pub fn of_rest(image: &ImageReader, known: impl Fn(Part) -> Option<String>) -> Result<Self, SlotError> {
        let mut digests = Vec::new();
        for part in Part::ALL {
            let digest = match known(part) {
                Some(digest) => digest,
                None => digest(image, part)?.to_string(),
            };
            digests.push((part, digest));
        }
        Ok(Self(digests))
    }

    /// Each part with its digest.
    pub fn iter(&self) -> impl Iterator<Item = (Part, &str)> {
        self.0.iter().map(|(part, digest)| (*part, digest.as_str()))
    }

    /// The same digests with another one for this part.
    #[must_use]
    pub fn with(&self, part: Part, digest: &str) -> Self {
        let mut digests = self.clone();
        for (known, own) in &mut digests.0 {
            if *known == part {
                digest.clone_into(own);
            }
        }
        digests
    }

    /// The digest of a part, if there is one.
    #[must_use]
    pub fn get(&self, part: Part) -> Option<&str> {
        self.iter().find(|(known, _)| *known == part).map(|(_, digest)| digest)
    }

    /// The digest of all parts that anyone can build again: SHA-256 of lines `PART DIGEST`, in the order of
    /// [`Part::ALL`].
    #[must_use]
    pub fn public(&self) -> Sha256Digest {
        self.sum(Part::is_public)
    }

    /// The digest of these and of the parts that need the site's keys.
    #[must_use]
    pub fn node(&self) -> Sha256Digest {
        self.sum(|_| true)
    }

    fn sum(&self, wanted: impl Fn(Part) -> bool) -> Sha256Digest {
        let lines = self.iter().filter(|(part, _)| wanted(*part));
        let text: String = lines.map(|(part, digest)| format!("{part} {digest}\n")).collect();
        Sha256Digest::of(text.as_bytes())
    }
}

/// Reads a part and computes its digest.
pub fn digest(image: &ImageReader, part: Part) -> Result<Sha256Digest, SlotError> {
    if part == Part::Root {
        return Ok(slot::root_hash_of_data(image, Slot::A)?.0);
    }
    let Some((role, length)) = extent(image, part)? else {
        return Ok(Sha256Digest::of(&content(image, part)?));
    };
    let (mut hasher, mut at) = (Sha256::new(), 0);
    while at < length {
        let piece = PIECE.min(length - at);
        hasher.update(image.read(role, Bytes(at), self::length(piece))?);
        at += piece;
    }
    Ok(Sha256Digest::from_bytes(hasher.finalize().into()))
}

/// For parts that are too large for memory: the partition at whose beginning the part is, and the length in bytes.
pub fn extent(image: &ImageReader, part: Part) -> Result<Option<(Role, u64)>, SlotError> {
    let slot = Slot::A;
    Ok(match part {
        Part::Root => {
            let blocks = slot::fitting_superblock(image, slot)?.data_blocks;
            Some((Role::Root(slot), blocks.saturating_mul(BLOCK)))
        }
        Part::Verity => Some((Role::Verity(slot), slot::fitting_superblock(image, slot)?.hash_device_size())),
        Part::Esp => Some((Role::Esp, image.content_length(Role::Esp, &limits::ESP)?)),
        _ => None,
    })
}

/// The bytes of a part.
pub fn content(image: &ImageReader, part: Part) -> Result<Vec<u8>, SlotError> {
    let slot = Slot::A;
    Ok(match part {
        Part::Table => image.table_bytes()?,
        Part::Control => {
            image.read(Role::Control, Bytes(0), control::RECORD_SIZE * control::RECORD_OFFSETS.len())?
        }
        Part::Uki => slot::uki(image, slot)?.bytes,
        Part::Release => {
            let record = slot::record(image, slot)?;
            format!("{} {}", record.release, record.security_epoch).into_bytes()
        }
        Part::Esp | Part::Root | Part::Verity => match extent(image, part)? {
            Some((role, size)) => image.read(role, Bytes(0), length(size))?,
            None => Vec::new(),
        },
        Part::Signature => slot::record(image, slot)?.signature.into_bytes(),
        Part::Seal => {
            let length = image.content_length(Role::Seal(slot), &limits::SEAL)?;
            image.read(Role::Seal(slot), Bytes(0), self::length(length))?
        }
    })
}

fn length(bytes: u64) -> usize {
    to_usize(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    fn digests(path: &std::path::Path) -> Digests {
        Digests::of(&ImageReader::open(path).unwrap()).unwrap()
    }

    #[test]
    fn each_part_has_its_digest_and_both_sums_follow_them() {
        let fixture = fixture::image();
        let path = fixture.image.path.as_path();
        let before = digests(path);
        assert_eq!(before, digests(path));
        let image = ImageReader::open(path).unwrap();
        let offset = |role, within: u64| image.partition(role).unwrap().offset.0 + within;
        let file = File::options().read(true).write(true).open(path).unwrap();
        for (part, at, public) in [
            (Part::Table, 446, true),
            (Part::Esp, offset(Role::Esp, 70_000), true),
            (Part::Root, offset(Role::Root(Slot::A), 5), true),
            (Part::Verity, offset(Role::Verity(Slot::A), 4096), true),
            (Part::Seal, offset(Role::Seal(Slot::A), 3), false),
        ] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            let after = digests(path);
            let changed: Vec<Part> =
                Part::ALL.into_iter().filter(|part| before.get(*part) != after.get(*part)).collect();
            assert_eq!(changed, [part]);
            assert_eq!(before.public() != after.public(), public, "{part}");
            assert_ne!(before.node(), after.node(), "{part}");
            file.write_all_at(&byte, at).unwrap();
        }
        // The secret partition is in neither.
        file.write_all_at(b"x", offset(Role::Secret, 8192)).unwrap();
        assert_eq!(digests(path), before);
    }
}
