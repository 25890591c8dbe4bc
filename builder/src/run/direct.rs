//! Kernel, initramfs and command line out of an image, to start without firmware.
//!
//! The UKI is the one that the selector would start first, checked against its boot record as the selector does. The
//! seal goes into the initramfs, which is how it travels to nodes without a stick.

use crate::boot::initramfs::{InitramfsError, single_file};
use crate::boot::uki::{Section, Uki, UkiError};
use crate::error::{Class, Classified};
use crate::image::reader::{ImageReader, ReadError};
use crate::image::slot::{self, SlotError};
use handoff::paths::INITRAMFS_SEAL;
use handoff::slot::Slot;
use keys::seal::UnverifiedSeal;
use thiserror::Error;

/// What a direct boot starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectBoot {
    /// The slot that it came from.
    pub slot: Slot,
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The initramfs, with the seal appended where the image has one.
    pub initrd: Vec<u8>,
    /// The kernel command line.
    pub command_line: String,
}

/// Why there is nothing to start.
#[derive(Debug, Error)]
pub enum DirectError {
    /// The image.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Neither slot has a UKI that holds.
    #[error("no slot can be started: a: {a}; b: {b}; build the image again")]
    NoSlot {
        /// Why not slot a.
        a: SlotError,
        /// Why not slot b.
        b: SlotError,
    },
    /// The UKI's sections.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// The seal's archive.
    #[error(transparent)]
    Seal(#[from] InitramfsError),
}

impl Classified for DirectError {
    fn class(&self) -> Class {
        match self {
            Self::Read(error) => error.class(),
            Self::NoSlot { .. } => Class::BadContent,
            Self::Uki(error) => error.class(),
            Self::Seal(error) => error.class(),
        }
    }
}

/// Reads what a direct boot needs; `more_arguments` go to the end of the command line.
pub fn read(image: &ImageReader, more_arguments: &[String]) -> Result<DirectBoot, DirectError> {
    let first = slot::control(image)?.effective().first;
    let (slot, checked) = match slot::uki(image, first) {
        Ok(checked) => (first, checked),
        Err(error) => match slot::uki(image, first.other()) {
            Ok(checked) => (first.other(), checked),
            Err(other) if first == Slot::A => return Err(DirectError::NoSlot { a: error, b: other }),
            Err(other) => return Err(DirectError::NoSlot { a: other, b: error }),
        },
    };
    let uki = Uki::parse(&checked.bytes)?;
    let mut initrd = uki.section(Section::Initrd)?.to_vec();
    if let Some(seal) = newest_seal(image)? {
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        initrd.extend(single_file(INITRAMFS_SEAL, 0o400, seal.bytes())?);
    }
    let mut command_line = uki.text(Section::CommandLine)?;
    for argument in more_arguments {
        command_line.push(' ');
        command_line.push_str(argument);
    }
    Ok(DirectBoot { slot, kernel: uki.section(Section::Linux)?.to_vec(), initrd, command_line })
}

/// The seal with the highest serial. The loader verifies it; here nothing depends on it.
fn newest_seal(image: &ImageReader) -> Result<Option<UnverifiedSeal>, ReadError> {
    let mut seals = Vec::new();
    for slot in Slot::BOTH {
        seals.extend(slot::seal(image, slot)?);
    }
    Ok(seals.into_iter().max_by_key(|seal| seal.unproven_header().serial))
}
