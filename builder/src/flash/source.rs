//! Reading an image for sticks: each piece is read once, however many sticks get it.

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

/// The source of an image's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'i> {
    /// The path of the image.
    pub(super) path: &'i Path,
    /// The open image.
    pub(super) storage: &'i Storage,
}

impl<'i> Source<'i> {
    /// The source of a disk image's bytes.
    pub(super) fn of(image: &'i ImageReader) -> Self {
        Self { path: image.path(), storage: image.storage() }
    }

    /// The stamps of the files that the bytes come from, as they are now.
    pub(super) fn stamps(&self) -> Result<Vec<FileStamp>, FlashError> {
        let stamp =
            |path: &Path| FileStamp::of(path).map_err(|source| FlashError::of_image(path, 0, &source));
        std::iter::once(self.path).chain(self.storage.shared()).map(stamp).collect()
    }
}

/// One piece of an image.
#[derive(Debug)]
pub(super) struct Piece {
    /// The range in the image and on the stick.
    pub(super) range: Range<u64>,
    /// The bytes of the range.
    pub(super) bytes: Buffer,
}

impl Piece {
    /// Reads a piece of `image`.
    pub(super) fn of_image(image: Source<'_>, range: Range<u64>) -> Result<Self, FlashError> {
        let start = range.start;
        Self::read(image, range).map_err(|source| FlashError::of_image(image.path, start, &source))
    }

    /// The same, with the I/O error itself.
    pub(super) fn read(image: Source<'_>, range: Range<u64>) -> io::Result<Self> {
        let mut bytes = Buffer::zeros(to_usize(range.end - range.start));
        image.storage.fill_at(&mut bytes, range.start)?;
        Ok(Self { range, bytes })
    }

    /// The length in bytes.
    #[must_use]
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether all bytes are zero.
    #[must_use]
    pub(super) fn is_zero(&self) -> bool {
        is_zero(&self.bytes)
    }
}
