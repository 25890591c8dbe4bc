//! The image as it goes to sticks: each piece is read once, however many sticks it goes to.

use super::buffer::Buffer;
use super::error::FlashError;
use crate::file_mark::FileMark;
use crate::image::reader::ImageReader;
use crate::image::storage::Storage;
use crate::image::zeros::is_zero;
use crate::input::ReadAt as _;
use std::collections::BTreeMap;
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
    pub(super) fn marks(&self) -> Result<Vec<FileMark>, FlashError> {
        let mark = |path: &Path| FileMark::of(path).map_err(|source| FlashError::of_image(path, 0, &source));
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
        let mut bytes = Buffer::zeros(usize::try_from(range.end - range.start).unwrap_or(0));
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

/// A piece, and the sticks that it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Portion {
    /// The piece's place.
    pub(super) range: Range<u64>,
    /// The image in which it is read: any of those that have it.
    pub(super) image: usize,
    /// The sticks, by number.
    pub(super) sticks: Vec<usize>,
}

/// What is read, in the order of the sticks. `wanted` has for each stick its image and the pieces that it gets: what images
/// share in one file is read for all of them at once.
pub(super) fn portions(images: &[Source<'_>], wanted: &[(usize, &[Range<u64>])]) -> Vec<Portion> {
    let mut portions: BTreeMap<(u64, u64, &Path), Portion> = BTreeMap::new();
    for (stick, (image, pieces)) in wanted.iter().enumerate() {
        let Some(Source { path, storage }) = images.get(*image) else { continue };
        for range in *pieces {
            let shared = storage.shared().filter(|_| storage.is_all_shared(range));
            let portion = portions
                .entry((range.start, range.end, shared.unwrap_or(path)))
                .or_insert_with(|| Portion { range: range.clone(), image: *image, sticks: Vec::new() });
            portion.sticks.push(stick);
        }
    }
    portions.into_values().collect()
}
