//! Reads the slots and seal partitions of an image, with the checks of the selector and the loader.

use super::reader::{ImageReader, ReadError};
use crate::boot::uki::{Section, Uki, UkiError};
use crate::error::{Class, Classified};
use crate::limits;
use crate::root::verity;
use crate::site::Bytes;
use handoff::boot_record::{self, BadBootRecord, BootRecord};
use handoff::control::{ControlArea, RECORD_OFFSETS, RECORD_SIZE};
use handoff::hash::Sha256Digest;
use handoff::kernel_arguments::{KernelArguments, ROOT_HASH};
use handoff::partition::Role;
use handoff::slot::Slot;
use handoff::verity::{BLOCK, BLOCK_LEN, RootHash, Superblock};
use keys::seal::{SealError, UnverifiedSeal};
use thiserror::Error;

/// A UKI that has the digest in its boot record.
#[derive(Debug, Clone)]
pub struct CheckedUki {
    /// The boot record of the slot.
    pub record: BootRecord,
    /// The bytes of the UKI.
    pub bytes: Vec<u8>,
}

/// Why a slot would not start.
#[derive(Debug, Error, classified::Cause)]
pub enum SlotError {
    /// The image could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The boot record is not valid.
    #[error(transparent)]
    Record(#[from] BadBootRecord),
    /// The boot record has a length that is larger than the partition: that length in bytes.
    #[error("the boot record has a UKI of {0} bytes, which is more than the partition has")]
    Length(u64),
    /// The UKI does not have the digest in its boot record.
    #[error("the UKI has the SHA-256 {found}, its boot record has {expected}")]
    Digest {
        /// The digest of the bytes in the partition.
        found: Sha256Digest,
        /// The digest in the boot record.
        expected: Sha256Digest,
    },
    /// The sections of the UKI are not valid.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// The command line of the UKI has no root hash.
    #[error("the UKI's command line has no root hash ({ROOT_HASH}=)")]
    NoRootHash,
    /// The hash tree does not have the root hash of the command line.
    #[error(
        "the hash tree in verity-{slot} does not match the root hash on the UKI's command line: {reason}"
    )]
    Tree {
        /// The slot of the hash tree.
        slot: Slot,
        /// What is wrong with the hash tree.
        reason: String,
    },
}

impl Classified for SlotError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read(_) => return None,
            _ => Class::BadContent,
        })
    }
}

/// Reads both control records.
pub fn control(image: &ImageReader) -> Result<ControlArea, ReadError> {
    let [first, second] = RECORD_OFFSETS.map(|offset| image.read(Role::Control, Bytes(offset), RECORD_SIZE));
    Ok(ControlArea::decode(&first?, &second?))
}

/// The slots in the order in which they would be started.
#[must_use]
pub fn start_order(image: &ImageReader) -> [Slot; 2] {
    let first = control(image).map_or(Slot::A, |area| area.effective().first);
    [first, first.other()]
}

/// Reads the boot record of a slot.
pub fn record(image: &ImageReader, slot: Slot) -> Result<BootRecord, SlotError> {
    let role = Role::Boot(slot);
    Ok(BootRecord::decode(&image.read(role, record_offset(image, role)?, boot_record::SIZE)?)?)
}

fn record_offset(image: &ImageReader, role: Role) -> Result<Bytes, ReadError> {
    Ok(Bytes(image.partition(role)?.size.0.saturating_sub(boot_record::SIZE_U64)))
}

/// Reads the UKI of a slot, and checks it as the selector does.
pub fn uki(image: &ImageReader, slot: Slot) -> Result<CheckedUki, SlotError> {
    let role = Role::Boot(slot);
    let record = record(image, slot)?;
    let room = record_offset(image, role)?;
    // Checked before allocating: the partition may be large in a sparse file.
    if record.length <= room.0 {
        image.over(role, limits::UKI.check(record.length))?;
    }
    let length = usize::try_from(record.length).ok().filter(|_| record.length <= room.0);
    let bytes = image.read(role, Bytes(0), length.ok_or(SlotError::Length(record.length))?)?;
    let found = Sha256Digest::of(&bytes);
    if found != record.digest {
        return Err(SlotError::Digest { found, expected: record.digest });
    }
    Ok(CheckedUki { record, bytes })
}

impl CheckedUki {
    /// The kernel command line in the UKI.
    pub fn command_line(&self) -> Result<String, SlotError> {
        Ok(Uki::parse(&self.bytes)?.text(Section::CommandLine)?)
    }

    /// The root hash on the command line.
    pub fn root_hash(&self) -> Result<RootHash, SlotError> {
        let arguments = KernelArguments::parse(&self.command_line()?);
        let hash = arguments.value(ROOT_HASH).and_then(|text| text.parse().ok());
        hash.map(RootHash).ok_or(SlotError::NoRootHash)
    }
}

/// The superblock of a slot's hash tree.
pub fn superblock(image: &ImageReader, slot: Slot) -> Result<Superblock, SlotError> {
    let block = image.read(Role::Verity(slot), Bytes(0), BLOCK_LEN)?;
    Superblock::decode(&block).map_err(|bad| SlotError::Tree { slot, reason: bad.to_string() })
}

/// Checks that the hash tree of a slot has this root hash (only the top of the tree is read).
pub fn check_tree(image: &ImageReader, slot: Slot, root: RootHash) -> Result<Superblock, SlotError> {
    let superblock = fitting_superblock(image, slot)?;
    let top = image.read(Role::Verity(slot), Bytes(BLOCK), BLOCK_LEN)?;
    if !verity::top_matches(&superblock, &top, root) {
        let reason = format!("its top block hashes to {}", superblock.hash_block(&top));
        return Err(SlotError::Tree { slot, reason });
    }
    Ok(superblock)
}

/// The root hash that follows from the data of a slot's root, whatever its hash tree has.
pub fn root_hash_of_data(image: &ImageReader, slot: Slot) -> Result<RootHash, SlotError> {
    let (superblock, role) = (fitting_superblock(image, slot)?, Role::Root(slot));
    let offset = image.partition(role)?.offset.0;
    let failed = |source| ReadError::Partition { path: image.path().to_owned(), role, source };
    Ok(verity::root_hash((image.storage(), offset), &superblock).map_err(failed)?)
}

/// The superblock of a slot's hash tree, if its root fits into the partition.
pub fn fitting_superblock(image: &ImageReader, slot: Slot) -> Result<Superblock, SlotError> {
    let superblock = superblock(image, slot)?;
    // A damaged table may give a wrong size of the partition, for which no memory must be allocated.
    image.is_there(Role::Root(slot))?;
    let (wanted, there) = (superblock.data_blocks, image.partition(Role::Root(slot))?.size.0 / BLOCK);
    if wanted > there {
        let reason = format!("it is for a root of {wanted} blocks, but the partition has only {there}");
        return Err(SlotError::Tree { slot, reason });
    }
    image.over(Role::Root(slot), limits::ROOT.check(wanted.saturating_mul(BLOCK)))?;
    Ok(superblock)
}

/// Reads a seal partition. The signature is not verified here, because an image does not tell which keys to trust.
pub fn seal(image: &ImageReader, slot: Slot) -> Result<Result<UnverifiedSeal, SealError>, ReadError> {
    Ok(UnverifiedSeal::parse(&image.read_all(Role::Seal(slot), &limits::SEAL)?))
}
