//! Files of the secret partition.

use super::{BrowseError, Entry, EntryKind, Place};
use crate::image::ext4::open;
use crate::image::reader::ImageReader;
use ext4_view::{Ext4, Ext4Error, FileType, Metadata};
use handoff::partition::Role;

pub(super) fn list(image: &ImageReader, place: &Place) -> Result<Vec<Entry>, BrowseError> {
    let volume = volume(image)?;
    let path = absolute(place);
    let facts = volume.symlink_metadata(path.as_str()).map_err(|error| told(place, &error))?;
    if !facts.is_dir() {
        let name = place.names.last().cloned().unwrap_or_default();
        return Ok(vec![entry(&volume, name, &path, &facts)]);
    }
    let mut entries = Vec::new();
    for found in volume.read_dir(path.as_str()).map_err(|error| told(place, &error))? {
        let found = found.map_err(|error| told(place, &error))?;
        let name = String::from_utf8_lossy(found.file_name().as_ref()).into_owned();
        if name != "." && name != ".." {
            let full = format!("{}/{name}", path.trim_end_matches('/'));
            let facts = volume.symlink_metadata(full.as_str()).map_err(|error| told(place, &error))?;
            entries.push(entry(&volume, name, &full, &facts));
        }
    }
    Ok(entries)
}

pub(super) fn read(image: &ImageReader, place: &Place) -> Result<Vec<u8>, BrowseError> {
    let volume = volume(image)?;
    volume.read(absolute(place).as_str()).map_err(|error| told(place, &error))
}

fn volume(image: &ImageReader) -> Result<Ext4, BrowseError> {
    image.is_there(Role::Secret)?;
    open(image).map_err(|error| damaged(&error))
}

fn absolute(place: &Place) -> String {
    format!("/{}", place.path())
}

fn entry(volume: &Ext4, name: String, path: &str, facts: &Metadata) -> Entry {
    let kind = match facts.file_type() {
        FileType::Regular => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Special,
    };
    let target = volume.read_link(path).ok().filter(|_| kind == EntryKind::Link);
    Entry {
        name,
        kind,
        mode: Some(u32::from(facts.mode() & 0o7777)),
        owner: Some((facts.uid(), facts.gid())),
        size: facts.len(),
        target: target.map(|target| String::from_utf8_lossy(target.as_ref()).into_owned()),
    }
}

fn told(place: &Place, error: &Ext4Error) -> BrowseError {
    match error {
        Ext4Error::NotFound => place.not_found(),
        Ext4Error::IsADirectory => place.is("a folder"),
        Ext4Error::NotADirectory => place.is("a file"),
        Ext4Error::IsASpecialFile => place.is("a device"),
        other => damaged(other),
    }
}

fn damaged(error: &Ext4Error) -> BrowseError {
    BrowseError::Damaged { part: "the secret partition", reason: error.to_string() }
}
