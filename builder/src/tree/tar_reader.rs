//! Layers that are tars: ustar with GNU long names and pax records (POSIX.1-2017, pax, "pax Interchange Format").
//!
//! Pax records are parsed here and not by the tar crate, because that crate ends a value at a line end, and an extended
//! attribute (for example a capability set) can have any bytes.

use super::{Content, LayeredTree, Metadata, TreeError, What};
use crate::limits;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use tar::EntryType;

const XATTR_PREFIX: &str = "SCHILY.xattr.";
/// The kinds that squashfs can store (`SQUASHFS_XATTR_*` in the kernel's `squashfs_fs.h`). It cannot store access lists
/// (`system.`), which systemd sets on its journal's folder at each start.
const KEPT_XATTRS: [&str; 3] = ["user.", "trusted.", "security."];

/// The content of extension entries for the next entry.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: BTreeMap<String, Vec<u8>>,
}

/// An entry of a tar.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name, unchanged.
    pub(super) path: String,
    pub(super) body: Body,
    pub(super) metadata: Metadata,
}

/// The kind of an entry, and its content.
#[derive(Debug)]
pub(super) enum Body {
    What(What),
    HardLink(String),
}

impl LayeredTree {
    /// Adds the tar at `path` as a layer, without the paths (which have no leading `./`) for which `keep` returns
    /// false.
    pub fn add_tar(&mut self, path: &Path, keep: &dyn Fn(&str) -> bool) -> Result<(), TreeError> {
        let file = File::open(path).map_err(|source| TreeError::Read { path: path.to_owned(), source })?;
        self.add_tar_file(file, path, keep)
    }

    /// Adds an open tar as a layer; `name` is for messages. The file stays open as long as the tree exists.
    pub fn add_tar_file(
        &mut self,
        file: File,
        name: &Path,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<(), TreeError> {
        each_entry(file, name, &mut |entry| {
            let path = entry.path.trim_start_matches("./").trim_matches('/');
            if path.is_empty() || path == "." || !keep(path) {
                return Ok(());
            }
            match entry.body {
                Body::What(what) => self.insert(path, what, entry.metadata),
                Body::HardLink(target) => self.insert_hard_link(path, target.trim_start_matches("./")),
            }
        })
    }
}

/// Passes on the entries of a tar in order; `name` is for messages.
pub(super) fn each_entry(
    file: File,
    name: &Path,
    take: &mut dyn FnMut(Entry) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    let read = |source| TreeError::Read { path: name.to_owned(), source };
    let shared = Arc::new(file);
    let mut archive = tar::Archive::new(shared.as_ref());
    let limited = |over| TreeError::Limit { path: name.to_owned(), over };
    let (mut extension, mut count) = (Extension::default(), 0);
    for entry in archive.entries_with_seek().map_err(read)?.raw(true) {
        let mut entry = entry.map_err(read)?;
        count += 1;
        limits::TAR_ENTRIES.check(count).map_err(limited)?;
        match entry.header().entry_type() {
            EntryType::XGlobalHeader => {}
            EntryType::XHeader => extension.records = pax_records(&bytes_of(&mut entry, name)?),
            EntryType::GNULongName => extension.path = Some(until_nul(bytes_of(&mut entry, name)?)),
            EntryType::GNULongLink => extension.link = Some(until_nul(bytes_of(&mut entry, name)?)),
            _ => take(parse(&shared, name, &entry, std::mem::take(&mut extension))?)?,
        }
    }
    Ok(())
}

fn parse(
    tar: &Arc<File>,
    name: &Path,
    entry: &tar::Entry<'_, &File>,
    mut extension: Extension,
) -> Result<Entry, TreeError> {
    let header = entry.header();
    let bad =
        |entry: &str, problem| TreeError::BadTar { path: name.to_owned(), entry: entry.to_owned(), problem };
    let raw_path = extension.records.remove("path").or(extension.path.take());
    let raw_path = raw_path.unwrap_or_else(|| header.path_bytes().into_owned());
    let path = String::from_utf8(raw_path)
        .map_err(|error| bad(&String::from_utf8_lossy(error.as_bytes()), "the name is not UTF-8"))?;
    let raw_link = extension.records.remove("linkpath").or(extension.link.take());
    let raw_link = raw_link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    let link = match raw_link {
        Some(bytes) => Some(String::from_utf8(bytes).map_err(|_| bad(&path, "the link is not UTF-8"))?),
        None => None,
    };
    let no_numbers = || bad(&path, "a device without numbers");
    let body = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            let length = header.entry_size().map_err(|_| bad(&path, "the size is not a number"))?;
            check_extents(&extension.records, length).map_err(|problem| bad(&path, problem))?;
            let offset = entry.raw_file_position();
            Body::What(What::File(Content::InTar { tar: Arc::clone(tar), offset, length }))
        }
        EntryType::Directory => Body::What(What::Directory),
        EntryType::Symlink => {
            Body::What(What::Symlink(link.ok_or_else(|| bad(&path, "a link without a target"))?))
        }
        EntryType::Link => Body::HardLink(link.ok_or_else(|| bad(&path, "a hard link without a target"))?),
        EntryType::Char => Body::What(device(header, true).ok_or_else(no_numbers)?),
        EntryType::Block => Body::What(device(header, false).ok_or_else(no_numbers)?),
        EntryType::Fifo => Body::What(What::Fifo),
        _ => return Err(bad(&path, "an entry of a type that a root cannot have")),
    };
    let metadata =
        metadata(header, extension.records).ok_or_else(|| bad(&path, "a field is not a number"))?;
    Ok(Entry { path, body, metadata })
}

/// Refuses files whose bytes do not simply follow their header, as they would be read wrongly.
fn check_extents(records: &BTreeMap<String, Vec<u8>>, length: u64) -> Result<(), &'static str> {
    if records.keys().any(|key| key.starts_with("GNU.sparse.")) {
        return Err("a sparse file: pack it without --sparse");
    }
    match records.get("size") {
        Some(size) if *size != length.to_string().into_bytes() => {
            Err("the file is larger than a tar header can express")
        }
        _ => Ok(()),
    }
}

fn device(header: &tar::Header, character: bool) -> Option<What> {
    let (major, minor) = (header.device_major().ok()??, header.device_minor().ok()??);
    Some(What::Device { character, major, minor })
}

fn metadata(header: &tar::Header, records: BTreeMap<String, Vec<u8>>) -> Option<Metadata> {
    // A record replaces the header's field, so one that is not a number is an error.
    let number = |key: &str, field: io::Result<u64>| match records.get(key) {
        Some(value) => std::str::from_utf8(value).ok()?.parse().ok(),
        None => field.ok(),
    };
    // A pax time may have a fraction, which none of our file systems stores.
    let pax_mtime = records.get("mtime").and_then(|value| {
        let text = std::str::from_utf8(value).ok()?;
        text.split('.').next()?.parse().ok()
    });
    Some(Metadata {
        mode: header.mode().ok()? & 0o7777,
        uid: number("uid", header.uid())?,
        gid: number("gid", header.gid())?,
        mtime: Some(pax_mtime.or(header.mtime().ok())?),
        xattrs: records
            .into_iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(XATTR_PREFIX)?.to_owned(), value)))
            .filter(|(name, _)| KEPT_XATTRS.iter().any(|kind| name.starts_with(kind)))
            .collect(),
    })
}

/// The content of an entry that describes the next one. Its size is checked before allocating.
fn bytes_of(entry: &mut tar::Entry<'_, &File>, name: &Path) -> Result<Vec<u8>, TreeError> {
    limits::TAR_EXTENSION
        .check(entry.size())
        .map_err(|over| TreeError::Limit { path: name.to_owned(), over })?;
    let mut bytes = Vec::new();
    let read = entry.read_to_end(&mut bytes);
    read.map_err(|source| TreeError::Read { path: name.to_owned(), source })?;
    Ok(bytes)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Parses `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record. Incomplete records are left out.
fn pax_records(mut bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    while let Some((record, rest)) = next_record(bytes) {
        bytes = rest;
        if let Some(equals) = record.iter().position(|&byte| byte == b'=')
            && let Ok(key) = std::str::from_utf8(&record[..equals])
        {
            records.insert(key.to_owned(), record[equals + 1..].to_vec());
        }
    }
    records
}

fn next_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}
