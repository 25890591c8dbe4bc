//! Looking into an image: lists and reads the files of its ESP, initramfs, root and secret partition in place.
//!
//! A path begins with the part: `esp/EFI/BOOT`, `initramfs/psyops/trust`, `root/etc/os-release`, `secret/hostname`.
//! Without a slot's letter (`root-b/...`) the path refers to the first slot with a system. Only reads, and needs no
//! root rights for a file.

mod entry;
mod esp;
mod ext4;
mod initramfs;
pub(crate) mod squashfs;

pub use entry::{Entry, EntryKind};
pub(crate) use esp::files as esp_files;
pub(crate) use ext4::{file as secret_file, files as secret_files};
#[cfg(feature = "fuzzing")]
pub(crate) use {ext4::fuzz as fuzz_ext4, squashfs::fuzz_line as fuzz_squashfs_line};

use crate::error::{Class, Classified};
use crate::image::reader::{ImageReader, ReadError};
use crate::image::slot::{self, SlotError};
use crate::tools::ToolError;
use handoff::shown::Shown;
use handoff::slot::Slot;
use std::path::Path;
use thiserror::Error;

/// The parts of an image that have files.
const PARTS: [&str; 4] = ["esp", "initramfs", "root", "secret"];

/// Why a path could not be listed or read.
#[derive(Debug, Error, classified::Cause)]
pub enum BrowseError {
    /// The image could not be opened, or a partition not be read.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// The path does not begin with the name of a part: the path.
    #[error("{0:?} is not a path in an image; paths begin with esp/, initramfs/, root/ or secret/")]
    NoPart(String),
    /// The slot does not hold a system that can be read.
    #[error("slot {slot} has no system: {problem}")]
    Slot {
        /// Which of the two slots.
        slot: Slot,
        /// Why its system cannot be read.
        problem: SlotError,
    },
    /// There is no such file or folder: its path.
    #[error("there is no {} in the image", Shown(.0))]
    NotFound(String),
    /// The path is a folder where a file is expected, or the other way round.
    #[error("{} is {is}", Shown(.path))]
    Kind {
        /// The path as the user typed it.
        path: String,
        /// What it is instead, with an article.
        is: &'static str,
    },
    /// A file system or archive is damaged.
    #[error("{part} cannot be read: {}; psyops verify shows what is damaged", Shown(.reason))]
    Damaged {
        /// The part of the image.
        part: &'static str,
        /// What is wrong with it, in one line.
        reason: String,
    },
    /// A tool of the host could not be run, or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl Classified for BrowseError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NoPart(_) | Self::NotFound(_) => Class::MissingInput,
            Self::Kind { .. } => Class::Failure,
            Self::Slot { .. } | Self::Damaged { .. } => Class::BadContent,
            Self::Image(_) | Self::Tool(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("psyops ls lists the files of an image".into()),
            _ => None,
        }
    }
}

/// A path in an image: the part, and the names of folders and file in it.
struct PathInImage {
    part: Part,
    /// The path as the user typed it, for messages.
    typed: String,
    /// The names on the path, without empty ones, `.` and `..`.
    names: Vec<String>,
}

enum Part {
    Esp,
    Initramfs(Slot),
    Root(Slot),
    Secret,
}

impl PathInImage {
    fn parse(image: &ImageReader, typed: &str) -> Result<Self, BrowseError> {
        let mut names = typed.split('/').filter(|name| !matches!(*name, "" | "." | ".."));
        let first = names.next().unwrap_or_default();
        let part = match first {
            "esp" => Part::Esp,
            "secret" => Part::Secret,
            "initramfs" => Part::Initramfs(first_system(image)),
            "initramfs-a" => Part::Initramfs(Slot::A),
            "initramfs-b" => Part::Initramfs(Slot::B),
            "root" => Part::Root(first_system(image)),
            "root-a" => Part::Root(Slot::A),
            "root-b" => Part::Root(Slot::B),
            _ => return Err(BrowseError::NoPart(typed.to_owned())),
        };
        Ok(Self { part, typed: typed.to_owned(), names: names.map(str::to_owned).collect() })
    }

    /// The path within the part, without a slash at its beginning.
    fn path(&self) -> String {
        self.names.join("/")
    }

    fn not_found(&self) -> BrowseError {
        BrowseError::NotFound(self.typed.clone())
    }

    fn is(&self, is: &'static str) -> BrowseError {
        BrowseError::Kind { path: self.typed.clone(), is }
    }
}

fn first_system(image: &ImageReader) -> Slot {
    if slot::record(image, Slot::A).is_err() && slot::record(image, Slot::B).is_ok() {
        Slot::B
    } else {
        Slot::A
    }
}

/// Lists a folder, or the one file at a path. An empty path lists the parts.
pub fn list(image: &Path, path: &str) -> Result<Vec<Entry>, BrowseError> {
    let image = ImageReader::open(image)?;
    if path.split('/').all(|name| matches!(name, "" | ".")) {
        return Ok(PARTS.map(Entry::folder).into());
    }
    let place = PathInImage::parse(&image, path)?;
    let mut entries = match place.part {
        Part::Esp => esp::list(&image, &place)?,
        Part::Initramfs(slot) => initramfs::list(&image, slot, &place)?,
        Part::Root(slot) => squashfs::list(&image, slot, &place)?,
        Part::Secret => ext4::list(&image, &place)?,
    };
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Reads the content of a file.
pub fn read(image: &Path, path: &str) -> Result<Vec<u8>, BrowseError> {
    let image = ImageReader::open(image)?;
    let place = PathInImage::parse(&image, path)?;
    match place.part {
        Part::Esp => esp::read(&image, &place),
        Part::Initramfs(slot) => initramfs::read(&image, slot, &place),
        Part::Root(slot) => squashfs::read(&image, slot, &place),
        Part::Secret => ext4::read(&image, &place),
    }
}

#[cfg(test)]
mod tests;
