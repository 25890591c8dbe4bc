//! Files of the initramfs in a UKI.

use super::{BrowseError, Entry, EntryKind, PathInImage};
use crate::boot::initramfs_reader::{self, ArchiveFile, Wanted};
use crate::boot::uki::{Section, Uki};
use crate::image::reader::ImageReader;
use crate::image::slot;
use crate::limits;
use handoff::slot::Slot;
use std::collections::BTreeMap;

pub(super) fn list(image: &ImageReader, slot: Slot, place: &PathInImage) -> Result<Vec<Entry>, BrowseError> {
    let files = files(image, slot, |_| Wanted::Size)?;
    let path = place.path();
    if let Some(file) = files.get(&path).filter(|file| EntryKind::of_mode(file.mode) != EntryKind::Folder) {
        let name = place.names.last().map(String::as_str).unwrap_or_default();
        return Ok(vec![entry(name, file)]);
    }
    if !path.is_empty() && !files.contains_key(&path) {
        return Err(place.not_found());
    }
    let inside = |full: &str| -> Option<String> {
        let rest = if path.is_empty() { full } else { full.strip_prefix(&path)?.strip_prefix('/')? };
        (!rest.is_empty() && !rest.contains('/')).then(|| rest.to_owned())
    };
    Ok(files.iter().filter_map(|(full, file)| Some(entry(&inside(full)?, file))).collect())
}

pub(super) fn read(image: &ImageReader, slot: Slot, place: &PathInImage) -> Result<Vec<u8>, BrowseError> {
    let path = place.path();
    let wanted = |name: &str| if name == path { Wanted::Content(&limits::SHOWN_FILE) } else { Wanted::Size };
    let mut files = files(image, slot, wanted)?;
    let file = files.remove(&path).ok_or_else(|| place.not_found())?;
    match EntryKind::of_mode(file.mode) {
        EntryKind::File => Ok(file.content),
        EntryKind::Folder => Err(place.is("a folder")),
        EntryKind::Link => Err(place.is("a link")),
        EntryKind::Special => Err(place.is("a device")),
    }
}

fn files(
    image: &ImageReader,
    slot: Slot,
    wanted: impl Fn(&str) -> Wanted,
) -> Result<BTreeMap<String, ArchiveFile>, BrowseError> {
    let uki = slot::uki(image, slot).map_err(|problem| BrowseError::Slot { slot, problem })?;
    let damaged = |reason: String| BrowseError::Damaged { part: "the initramfs", reason };
    let parsed = Uki::parse(&uki.bytes).map_err(|error| damaged(error.to_string()))?;
    let packed = parsed.section(Section::Initrd).map_err(|error| damaged(error.to_string()))?;
    let files = initramfs_reader::files(packed, wanted).map_err(|error| damaged(error.to_string()))?;
    Ok(files.into_iter().map(|file| (file.path.clone(), file)).collect())
}

fn entry(name: &str, file: &ArchiveFile) -> Entry {
    let kind = EntryKind::of_mode(file.mode);
    Entry {
        name: name.to_owned(),
        kind,
        mode: Some(file.mode & 0o7777),
        owner: Some((file.uid, file.gid)),
        size: file.size,
        target: (kind == EntryKind::Link).then(|| String::from_utf8_lossy(&file.content).into_owned()),
    }
}
