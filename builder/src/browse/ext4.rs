//! Files of the secret partition.

use super::{BrowseError, Entry, EntryKind, PathInImage};
use crate::image::ext4::{OpenError, open};
use crate::image::reader::ImageReader;
use crate::limits::{self, OverLimit};
use ext4_view::{Ext4, Ext4Error, FileType, Metadata};

const PART: &str = "the secret partition";
/// The size of the largest block of ext4 in bytes.
const LONGEST_LINK: u64 = 65_536;

pub(super) fn list(image: &ImageReader, place: &PathInImage) -> Result<Vec<Entry>, BrowseError> {
    list_of(&open(image).map_err(not_opened)?, place)
}

fn list_of(volume: &Ext4, place: &PathInImage) -> Result<Vec<Entry>, BrowseError> {
    let (path, facts) = locate(volume, place)?;
    if !facts.is_dir() {
        let name = place.names.last().cloned().unwrap_or_default();
        return Ok(vec![entry(volume, name, &path, &facts)]);
    }
    let mut entries = Vec::new();
    for found in volume.read_dir(path.as_str()).map_err(|error| told(place, &error))? {
        let found = found.map_err(|error| told(place, &error))?;
        let name = String::from_utf8_lossy(found.file_name().as_ref()).into_owned();
        if name != "." && name != ".." {
            let full = format!("{}/{name}", path.trim_end_matches('/'));
            let facts = volume.symlink_metadata(full.as_str()).map_err(|error| told(place, &error))?;
            entries.push(entry(volume, name, &full, &facts));
        }
    }
    Ok(entries)
}

pub(super) fn read(image: &ImageReader, place: &PathInImage) -> Result<Vec<u8>, BrowseError> {
    content_of(&open(image).map_err(not_opened)?, place)
}

/// The metadata and content of a file of the secret partition.
pub(crate) fn file(volume: &Ext4, path: &str) -> Result<(Metadata, Vec<u8>), BrowseError> {
    read_file(volume, &secret(path))
}

/// The paths of everything on the secret partition that is not a folder.
pub(crate) fn files(volume: &Ext4) -> Result<Vec<String>, BrowseError> {
    let (mut found, mut folders, mut count) = (Vec::new(), vec![String::new()], 0);
    while let Some(folder) = folders.pop() {
        for entry in list_of(volume, &secret(&folder))? {
            count += 1;
            // Folders that contain each other would never end.
            limits::SECRET_FILES.check(count).map_err(|over| limited(&over))?;
            let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
            match entry.kind {
                EntryKind::Folder => folders.push(path),
                _ => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn secret(path: &str) -> PathInImage {
    let names = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    PathInImage { part: super::Part::Secret, typed: format!("secret/{path}"), names }
}

fn content_of(volume: &Ext4, place: &PathInImage) -> Result<Vec<u8>, BrowseError> {
    read_file(volume, place).map(|(_, content)| content)
}

fn read_file(volume: &Ext4, place: &PathInImage) -> Result<(Metadata, Vec<u8>), BrowseError> {
    let (path, facts) = locate(volume, place)?;
    match facts.file_type() {
        FileType::Regular => {}
        FileType::Directory => return Err(place.is("a folder")),
        FileType::Symlink => return Err(place.is("a link")),
        _ => return Err(place.is("a device")),
    }
    // Checked before the read: ext4-view allocates memory for the size in the inode.
    limits::SECRET_FILE.check(facts.len()).map_err(|over| limited(&over))?;
    let content = volume.read(path.as_str()).map_err(|error| told(place, &error))?;
    Ok((facts, content))
}

/// The file at a path; each folder on the way must be small enough to be read. Links are not followed: their targets
/// are not checked beforehand.
fn locate(volume: &Ext4, place: &PathInImage) -> Result<(String, Metadata), BrowseError> {
    let (mut path, mut facts) =
        ("/".to_owned(), volume.symlink_metadata("/").map_err(|error| told(place, &error))?);
    for name in &place.names {
        match facts.file_type() {
            FileType::Directory => limits::SECRET_FOLDER.check(facts.len()).map_err(|over| limited(&over))?,
            FileType::Symlink => return Err(place.is("behind a link")),
            _ => return Err(place.not_found()),
        };
        path = format!("{}/{name}", path.trim_end_matches('/'));
        facts = volume.symlink_metadata(path.as_str()).map_err(|error| told(place, &error))?;
    }
    if facts.is_dir() {
        limits::SECRET_FOLDER.check(facts.len()).map_err(|over| limited(&over))?;
    }
    Ok((path, facts))
}

fn not_opened(error: OpenError) -> BrowseError {
    match error {
        OpenError::Image(error) => BrowseError::Image(error),
        other => BrowseError::Damaged { part: PART, reason: other.to_string() },
    }
}

fn limited(over: &OverLimit) -> BrowseError {
    BrowseError::Damaged { part: PART, reason: over.to_string() }
}

fn entry(volume: &Ext4, name: String, path: &str, facts: &Metadata) -> Entry {
    let kind = match facts.file_type() {
        FileType::Regular => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Special,
    };
    // A target has at most one block (kernel documentation, ext4, "Symbolic Links").
    let is_short_link = kind == EntryKind::Link && facts.len() <= LONGEST_LINK;
    let target = is_short_link.then(|| volume.read_link(path).ok()).flatten();
    Entry {
        name,
        kind,
        mode: Some(u32::from(facts.mode() & 0o7777)),
        owner: Some((facts.uid(), facts.gid())),
        size: facts.len(),
        target: target.map(|target| String::from_utf8_lossy(target.as_ref()).into_owned()),
    }
}

fn told(place: &PathInImage, error: &Ext4Error) -> BrowseError {
    match error {
        Ext4Error::NotFound => place.not_found(),
        Ext4Error::IsADirectory => place.is("a folder"),
        Ext4Error::NotADirectory => place.is("a file"),
        Ext4Error::IsASpecialFile => place.is("a device"),
        other => damaged(other),
    }
}

fn damaged(error: &Ext4Error) -> BrowseError {
    BrowseError::Damaged { part: PART, reason: error.to_string() }
}

/// Lists the top folder and reads all files in it and in its folders, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(volume: &Ext4) {
    for path in ["", "a", "folder", "folder/b", "link"] {
        let names = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let place = PathInImage { part: super::Part::Secret, typed: path.to_owned(), names };
        let _ = list_of(volume, &place);
        let _ = content_of(volume, &place);
    }
}
