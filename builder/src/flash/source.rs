//! The image as it goes to sticks: each piece is read once, however many sticks it goes to.

use super::buffer::Buffer;
use super::error::FlashError;
use crate::file_stamp::FileStamp;
use crate::image::reader::ImageReader;
use crate::image::storage::Storage;
use crate::image::zeros::is_zero;
use crate::input::ReadAt as _;
use crate::width::to_usize;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Where the bytes of an image are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'i> {
    /// The image's path.
    pub(super) path: &'i Path,
    /// The image.
    pub(super) storage: &'i Storage,
}

impl<'i> Source<'i> {
    /// Where those of an image of a disk are.
    pub(super) fn of(image: &'i ImageReader) -> Self {
        Self { path: image.path(), storage: image.storage() }
    }

    /// The files that its bytes come from, as they are now.
    pub(super) fn marks(&self) -> Result<Vec<FileStamp>, FlashError> {
        let mark = |path: &Path| FileStamp::of(path).map_err(|source| FlashError::of_image(path, 0, &source));
        std::iter::once(self.path).chain(self.storage.shared()).map(mark).collect()
    }
}

/// A piece of an image.
#[derive(Debug)]
pub(super) struct Piece {
    /// Its place, in the image and on the stick.
    pub(super) range: Range<u64>,
    /// Its bytes.
    pub(super) bytes: Buffer,
}

impl Piece {
    /// Reads a piece of `image`.
    pub(super) fn of_image(image: Source<'_>, range: Range<u64>) -> Result<Self, FlashError> {
        let start = range.start;
        Self::read(image, range).map_err(|source| FlashError::of_image(image.path, start, &source))
    }

    /// The same, with the system's own error.
    pub(super) fn read(image: Source<'_>, range: Range<u64>) -> io::Result<Self> {
        let mut bytes = Buffer::zeros(to_usize(range.end - range.start));
        image.storage.fill_at(&mut bytes, range.start)?;
        Ok(Self { range, bytes })
    }

    /// How long it is, in bytes.
    #[must_use]
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether its bytes are all zero.
    #[must_use]
    pub(super) fn is_zero(&self) -> bool {
        is_zero(&self.bytes)
    }
}
