//! Verifying the ESP: it must be the file system that the builder makes around the selector, byte for byte.

use crate::image::esp;
use crate::image::esp_reader::{self, EspError};
use crate::image::fat32::FatError;
use crate::image::reader::ImageReader;
use crate::site::Bytes;
use handoff::architecture::Architecture;
use handoff::hash::Sha256Digest;
use handoff::partition::Role;

/// How many bytes are compared at once.
const PIECE: usize = 1 << 20;

/// Reads the selector from the ESP, makes the ESP again around it and compares. `wanted` is the required selector, and
/// another one is damage; `own` is this builder's. Without either, only the SHA-256 can be reported, because nothing
/// signs the selector except, with Secure Boot, the firmware's keys.
pub(super) fn check(
    image: &ImageReader,
    wanted: Option<&[u8]>,
    own: Option<&[u8]>,
) -> Result<String, String> {
    image.is_there(Role::Esp).map_err(|error| error.to_string())?;
    let (architecture, found) = selector(image).map_err(|error| match esp_reader::open(image) {
        Err(known) if known.to_string() != error.to_string() => {
            format!("the selector cannot be read: {error}; {known}")
        }
        _ => format!("the selector cannot be read: {error}"),
    })?;
    let boot = image.read(Role::Esp, Bytes(0), 512).map_err(|error| error.to_string())?;
    let serial = esp::serial(&boot).ok_or("it has no FAT32 boot sector")?;
    let partition = image.partition(Role::Esp).map_err(|error| error.to_string())?;
    let made = esp::make(architecture, partition.size, serial, &found).map_err(|error| error.to_string())?;
    if let Some(offset) = difference(image, &made)? {
        return Err(format!(
            "byte {offset} differs from what the builder wrote: the partition was written to later, or is damaged"
        ));
    }
    let digest = Sha256Digest::of(&found);
    match wanted {
        Some(wanted) if wanted != found => Err(format!(
            "the selector has SHA-256 {digest}, not {}: damaged, or another version",
            Sha256Digest::of(wanted)
        )),
        Some(_) => Ok(format!("the selector is the one from --selector, SHA-256 {digest}")),
        None => Ok(match own {
            Some(own) if own == found => {
                format!("only the selector of this builder, SHA-256 {digest}")
            }
            Some(_) => format!("only a selector, which is not this builder's, SHA-256 {digest}"),
            None => format!("only a selector, SHA-256 {digest}"),
        }),
    }
}

/// The offset of the first byte of the ESP that differs from `made`. Compared in pieces: nearly all of both is zero.
fn difference(image: &ImageReader, made: &[u8]) -> Result<Option<u64>, String> {
    for (offset, made) in (0..).step_by(PIECE).zip(made.chunks(PIECE)) {
        let found = image.read(Role::Esp, Bytes(offset), made.len()).map_err(|error| error.to_string())?;
        if found != made {
            let places = (offset..).zip(made.iter().zip(&found));
            return Ok(places.into_iter().find(|(_, (made, found))| made != found).map(|(place, _)| place));
        }
    }
    Ok(None)
}

/// The digest of the selector, if there is one.
pub(super) fn selector_digest(image: &ImageReader) -> Option<Sha256Digest> {
    selector(image).ok().map(|(_, selector)| Sha256Digest::of(&selector))
}

fn selector(image: &ImageReader) -> Result<(&'static Architecture, Vec<u8>), EspError> {
    let volume = esp_reader::open_first(image)?;
    let (architecture, file) = esp_reader::find_selector(&volume)?;
    Ok((architecture, volume.content(file).map_err(FatError::from)?))
}
