//! The ESP: the file system that the builder makes around the selector, byte for byte.

use crate::image::esp;
use crate::image::esp_reader;
use crate::image::reader::ImageReader;
use fatfs::{FileSystem, FsOptions};
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use std::io::{Cursor, Read as _};

/// Takes the selector off the ESP, makes the ESP anew around it and compares. `wanted` is the selector that is to be
/// there; without it only its SHA-256 can be said, because nothing signs it but, with Secure Boot, the firmware's keys.
pub(super) fn check(image: &ImageReader, wanted: Option<&[u8]>) -> Result<String, String> {
    let bytes = image.read_all(Role::Esp).map_err(|error| error.to_string())?;
    let found = selector(&bytes).map_err(|error| match esp_reader::open(image) {
        Ok(_) => format!("the selector cannot be read: {error}"),
        Err(known) => format!("the selector cannot be read: {error}; {known}"),
    })?;
    let serial = esp::serial(&bytes).ok_or("it has no FAT32 boot sector")?;
    let partition = image.partition(Role::Esp).map_err(|error| error.to_string())?;
    let made = esp::make(partition.size, serial, &found).map_err(|error| error.to_string())?;
    if made != bytes
        && let Some(offset) = made.iter().zip(&bytes).position(|(made, found)| made != found)
    {
        return Err(format!(
            "byte {offset} is not as the file system was made: written to since, or damaged"
        ));
    }
    let digest = Sha256Digest::of(&found);
    match wanted {
        Some(wanted) if wanted != found => Err(format!(
            "the selector has SHA-256 {digest}, not {}: damaged, or another version",
            Sha256Digest::of(wanted)
        )),
        Some(_) => Ok(format!("the selector is the one that was given, SHA-256 {digest}")),
        None => Ok(format!("nothing on it but a selector with SHA-256 {digest}")),
    }
}

fn selector(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let file_system = FileSystem::new(Cursor::new(bytes.to_vec()), FsOptions::new())?;
    let mut content = Vec::new();
    // A damaged chain of clusters may lead in a circle.
    let most = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    file_system.root_dir().open_file(esp::SELECTOR)?.take(most).read_to_end(&mut content)?;
    Ok(content)
}
