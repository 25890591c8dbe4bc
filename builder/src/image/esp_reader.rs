//! The ESP of an image: its partition as a FAT32 volume, and whether firmware finds the selector on it.

use super::esp;
use super::fat32::{self, FatError, Found};
use super::reader::{ImageReader, ReadError};
use super::window::Window;
use handoff::architecture::Architecture;
use handoff::partition::Role;
use thiserror::Error;

/// The file system of an ESP.
pub type Volume<'i> = fat32::Volume<Window<'i>>;

/// Why an ESP could not be read.
#[derive(Debug, Error)]
pub enum EspError {
    /// The image could not be read.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// The file system is damaged.
    #[error(transparent)]
    Fat(#[from] FatError),
    /// The ESP has no selector, so firmware would not find anything to start.
    #[error("there is no {} on it, so firmware finds nothing to start", Architecture::ALL.map(esp::selector).join(" or "))]
    NoSelector,
}

/// Reads the volume, after comparing the two copies of the boot sector and of the table.
pub fn open(image: &ImageReader) -> Result<Volume<'_>, EspError> {
    fat32::compare_copies(&image.window(Role::Esp)?, image.partition(Role::Esp)?.size.0)?;
    open_first(image)
}

/// The same using only the first boot sector and the first table, whatever the copies are.
pub fn open_first(image: &ImageReader) -> Result<Volume<'_>, EspError> {
    Ok(Volume::read(image.window(Role::Esp)?, image.partition(Role::Esp)?.size.0)?)
}

/// Checks that firmware would find the selector.
pub fn check(image: &ImageReader) -> Result<(), EspError> {
    find_selector(&open(image)?).map(drop)
}

/// The selector, and the architecture whose firmware finds it.
pub fn find_selector<'v>(volume: &'v Volume<'_>) -> Result<(&'static Architecture, &'v Found), EspError> {
    let found = Architecture::ALL.into_iter().find_map(|row| {
        let found = volume.get(&esp::selector(row)).filter(|found| !found.is_folder)?;
        Some((row, found))
    });
    found.ok_or(EspError::NoSelector)
}

/// The architecture that an image is for, according to the path of its selector.
#[must_use]
pub fn architecture(image: &ImageReader) -> Option<&'static Architecture> {
    Some(find_selector(&open_first(image).ok()?).ok()?.0)
}

/// The bytes that are in use, if the volume can be read.
#[must_use]
pub fn used(image: &ImageReader) -> Option<u64> {
    open_first(image).ok().map(|volume| volume.used())
}
