//! Files of the ESP. Their names are short ones, as all that the builder makes.

use super::{BrowseError, Entry, EntryKind, Place};
use crate::image::esp_reader::{self, EspError, Volume};
use crate::image::reader::ImageReader;
use crate::image::window::Window;
use fatfs::Dir;
use handoff::partition::Role;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read as _};

/// The builder puts two files there, and Secure Boot a few more.
const MOST_ENTRIES: usize = 1000;

pub(super) fn list(image: &ImageReader, place: &Place) -> Result<Vec<Entry>, BrowseError> {
    let volume = open(image)?;
    let root = volume.root_dir();
    match folder(&root, place) {
        Ok(folder) => folder.iter().filter_map(|found| entry(found).transpose()).collect(),
        Err(BrowseError::Kind { .. }) => {
            let size = read(image, place)?.len();
            let name = place.names.last().cloned().unwrap_or_default();
            let size = u64::try_from(size).unwrap_or(u64::MAX);
            Ok(vec![Entry { kind: EntryKind::File, size, ..Entry::folder(&name) }])
        }
        Err(error) => Err(error),
    }
}

pub(super) fn read(image: &ImageReader, place: &Place) -> Result<Vec<u8>, BrowseError> {
    let volume = open(image)?;
    if place.names.is_empty() || volume.root_dir().open_dir(&place.path()).is_ok() {
        return Err(place.is("a folder"));
    }
    let mut content = Vec::new();
    // A damaged chain of clusters may lead in a circle.
    let most = image.partition(Role::Esp)?.size.0;
    let opened = volume.root_dir().open_file(&place.path());
    let file = opened.map_err(|error| not_there(place, &error))?;
    file.take(most).read_to_end(&mut content).map_err(|error| damaged(&error))?;
    Ok(content)
}

/// All files with their contents, by path.
pub(crate) fn files(image: &ImageReader) -> Result<BTreeMap<String, Vec<u8>>, BrowseError> {
    let volume = open(image)?;
    let most = image.partition(Role::Esp)?.size.0;
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), volume.root_dir())];
    // Damaged folders may lead in a circle, too.
    let mut left = MOST_ENTRIES;
    while let Some((path, folder)) = folders.pop() {
        for found in folder.iter() {
            let found = found.map_err(|error| damaged(&error))?;
            let name = String::from_utf8_lossy(found.short_file_name_as_bytes()).into_owned();
            if name == "." || name == ".." {
                continue;
            }
            left =
                left.checked_sub(1).ok_or_else(|| damaged(&Error::other("its folders lead in a circle")))?;
            let path = format!("{path}{name}");
            if found.is_dir() {
                folders.push((format!("{path}/"), found.to_dir()));
            } else {
                let mut content = Vec::new();
                found.to_file().take(most).read_to_end(&mut content).map_err(|error| damaged(&error))?;
                files.insert(path, content);
            }
        }
    }
    Ok(files)
}

fn open(image: &ImageReader) -> Result<Volume<'_>, BrowseError> {
    esp_reader::open(image).map_err(|error| match error {
        EspError::Image(error) => BrowseError::Image(error),
        other => BrowseError::Damaged { part: "the ESP", reason: other.to_string() },
    })
}

fn folder<'v, 'i>(root: &Dir<'v, Window<'i>>, place: &Place) -> Result<Dir<'v, Window<'i>>, BrowseError> {
    if place.names.is_empty() {
        return Ok(root.clone());
    }
    let path = place.path();
    root.open_dir(&path).map_err(|error| match root.open_file(&path) {
        Ok(_) => place.is("a file"),
        Err(_) => not_there(place, &error),
    })
}

fn entry(found: Result<fatfs::DirEntry<'_, Window<'_>>, Error>) -> Result<Option<Entry>, BrowseError> {
    let found = found.map_err(|error| damaged(&error))?;
    let name = String::from_utf8_lossy(found.short_file_name_as_bytes()).into_owned();
    let kind = if found.is_dir() { EntryKind::Folder } else { EntryKind::File };
    let entry = Entry { kind, size: found.len(), ..Entry::folder(&name) };
    Ok((name != "." && name != "..").then_some(entry))
}

fn not_there(place: &Place, error: &Error) -> BrowseError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Other => place.not_found(),
        _ => damaged(error),
    }
}

fn damaged(error: &Error) -> BrowseError {
    BrowseError::Damaged { part: "the ESP", reason: error.to_string() }
}
