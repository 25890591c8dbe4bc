//! Files of the ESP. Their names are short ones, as in every ESP that the builder makes.

use super::{BrowseError, Entry, EntryKind, PathInImage};
use crate::image::esp_reader::{self, EspError, Volume};
use crate::image::fat32::Found;
use crate::image::reader::ImageReader;
use std::collections::BTreeMap;
use std::io;

pub(super) fn list(image: &ImageReader, place: &PathInImage) -> Result<Vec<Entry>, BrowseError> {
    let volume = open(image)?;
    let path = place.path().to_ascii_uppercase();
    let found = volume.get(&path);
    match found {
        Some(file) if !file.is_folder => {
            let name = path.rsplit('/').next().unwrap_or_default();
            return Ok(vec![entry(name, file)]);
        }
        None if !path.is_empty() => return Err(place.not_found()),
        _ => {}
    }
    let inside = |full: &str| -> Option<String> {
        let rest = if path.is_empty() { full } else { full.strip_prefix(&path)?.strip_prefix('/')? };
        (!rest.contains('/')).then(|| rest.to_owned())
    };
    Ok(volume.entries().iter().filter_map(|(full, found)| Some(entry(&inside(full)?, found))).collect())
}

pub(super) fn read(image: &ImageReader, place: &PathInImage) -> Result<Vec<u8>, BrowseError> {
    let volume = open(image)?;
    if place.names.is_empty() {
        return Err(place.is("a folder"));
    }
    match volume.get(&place.path()) {
        None => Err(place.not_found()),
        Some(found) if found.is_folder => Err(place.is("a folder")),
        Some(file) => volume.content(file).map_err(|error| damaged(&error)),
    }
}

/// All files with their contents, by path.
pub(crate) fn files(image: &ImageReader) -> Result<BTreeMap<String, Vec<u8>>, BrowseError> {
    let volume = open(image)?;
    let files = volume.entries().iter().filter(|(_, found)| !found.is_folder);
    files
        .map(|(path, file)| Ok((path.clone(), volume.content(file).map_err(|error| damaged(&error))?)))
        .collect()
}

fn open(image: &ImageReader) -> Result<Volume<'_>, BrowseError> {
    esp_reader::open(image).map_err(|error| match error {
        EspError::Image(error) => BrowseError::Image(error),
        other => BrowseError::Damaged { part: "the ESP", reason: other.to_string() },
    })
}

fn entry(name: &str, found: &Found) -> Entry {
    let kind = if found.is_folder { EntryKind::Folder } else { EntryKind::File };
    Entry { kind, size: found.size, ..Entry::folder(name) }
}

fn damaged(error: &io::Error) -> BrowseError {
    BrowseError::Damaged { part: "the ESP", reason: error.to_string() }
}
