//! Kernel, initramfs and command line from an image, to start it without firmware.
//!
//! The UKI is the one that the selector would start first, checked against its boot record as the selector does. The
//! seal can be added to the initramfs, as for nodes without a stick.

use crate::boot::initramfs::{InitramfsError, single_file};
use crate::boot::uki::{Section, Uki, UkiError};
use crate::error::{Class, Classified};
use crate::image::reader::{ImageReader, ReadError};
use crate::image::seals;
use crate::image::slot::{self, SlotError};
use handoff::paths::INITRAMFS_SEAL;
use handoff::slot::Slot;
use keys::seal::UnverifiedSeal;
use thiserror::Error;

/// The files of a direct boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectBoot {
    /// The slot of the UKI.
    pub slot: Slot,
    /// The kernel image.
    pub kernel: Vec<u8>,
    /// The initramfs.
    pub initrd: Vec<u8>,
    /// The kernel command line.
    pub command_line: String,
}

/// Why a direct boot is not possible.
#[derive(Debug, Error, classified::Cause)]
pub enum DirectError {
    /// The image could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Neither slot has a valid UKI.
    #[error("no slot can be started: a: {a}; b: {b}; build the image again")]
    NoSlot {
        /// Why slot a cannot be started.
        a: Box<SlotError>,
        /// Why slot b cannot be started.
        b: Box<SlotError>,
    },
    /// The sections of the UKI are not valid.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// The archive with the seal could not be made.
    #[error(transparent)]
    Seal(#[from] InitramfsError),
}

impl Classified for DirectError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoSlot { .. } => Class::BadContent,
            Self::Read(_) | Self::Uki(_) | Self::Seal(_) => return None,
        })
    }
}

/// Reads the files of a direct boot, with the newest seal of the image, if it has one, appended to the initramfs;
/// `more_arguments` are appended to the command line.
pub fn read(image: &ImageReader, more_arguments: &[String]) -> Result<DirectBoot, DirectError> {
    let mut parts = read_system(image, more_arguments)?;
    if let Some(seal) = newest_seal(image)? {
        parts.initrd.resize(parts.initrd.len().next_multiple_of(4), 0);
        parts.initrd.extend(single_file(INITRAMFS_SEAL, 0o400, seal.bytes())?);
    }
    Ok(parts)
}

/// Reads the files of a direct boot without a seal: the loader takes that from the disk.
pub fn read_system(image: &ImageReader, more_arguments: &[String]) -> Result<DirectBoot, DirectError> {
    let first = slot::control(image)?.effective().first;
    let (slot, checked) = match slot::uki(image, first) {
        Ok(checked) => (first, checked),
        Err(error) => match slot::uki(image, first.other()) {
            Ok(checked) => (first.other(), checked),
            Err(other) if first == Slot::A => return Err(no_slot(error, other)),
            Err(other) => return Err(no_slot(other, error)),
        },
    };
    let uki = Uki::parse(&checked.bytes)?;
    let initrd = uki.section(Section::Initrd)?.to_vec();
    let mut command_line = uki.text(Section::CommandLine)?;
    for argument in more_arguments {
        command_line.push(' ');
        command_line.push_str(argument);
    }
    Ok(DirectBoot { slot, kernel: uki.section(Section::Linux)?.to_vec(), initrd, command_line })
}

fn no_slot(a: SlotError, b: SlotError) -> DirectError {
    DirectError::NoSlot { a: Box::new(a), b: Box::new(b) }
}

/// The seal with the highest generation, of equals the first, as for a node. The loader verifies it; nothing here
/// depends on it.
fn newest_seal(image: &ImageReader) -> Result<Option<UnverifiedSeal>, ReadError> {
    let mut seals = Vec::new();
    for slot in Slot::BOTH {
        seals.extend(slot::seal(image, slot)?);
    }
    Ok(seals::highest(seals, |seal: &UnverifiedSeal| seal.unproven_header().generation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn kernel_command_line_and_seal_come_out_of_the_image() {
        let fixture = fixture::image();
        let image = ImageReader::open(&fixture.image.path).unwrap();
        let direct = read(&image, &["psyops.log=debug".into(), "single".into()]).unwrap();
        assert_eq!((direct.slot, direct.kernel.as_slice()), (Slot::A, b"linux".as_slice()));
        assert!(direct.command_line.ends_with(" quiet psyops.log=debug single"));
        // A zstd frame, then another archive.
        assert!(direct.initrd.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
        assert!(direct.initrd.windows(6).any(|window| window == b"070701"));
        let seal = b"psyops-seal 1\nsite: site\n";
        assert!(direct.initrd.windows(seal.len()).any(|window| window == seal));
        let system = read_system(&image, &[]).unwrap();
        assert!(direct.initrd.starts_with(&system.initrd) && direct.initrd.len() > system.initrd.len());
    }

    #[test]
    fn without_a_valid_uki_both_slots_are_named() {
        let fixture = fixture::image();
        let role = handoff::partition::Role::Boot(Slot::A);
        let at = fixture.image.plan.partition(role).unwrap().offset.0;
        let file = std::fs::File::options().write(true).open(&fixture.image.path).unwrap();
        file.write_all_at(b"?", at).unwrap();
        let error = read(&ImageReader::open(&fixture.image.path).unwrap(), &[]).unwrap_err();
        let DirectError::NoSlot { a, b } = error else { panic!("{error}") };
        assert!(matches!(*a, SlotError::Digest { .. }), "{a}");
        assert!(matches!(*b, SlotError::Record(handoff::boot_record::BadBootRecord::Empty)), "{b}");
    }
}
