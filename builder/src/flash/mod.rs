//! Writing images to sticks, so that a stick holds a whole system or none.
//!
//! The order is: both ends of the stick emptied, the body written and flushed, the body read back, the partition tables.
//! Cut off anywhere, the stick is no disk, and the next run goes on with what is there. Whether a disk may be written at
//! all is decided in `disks`.

pub mod buffer;
pub mod error;
pub mod event;
pub mod interrupt;
pub mod layout;
pub mod medium;
mod pace;
pub mod probe;
mod read_back;
pub mod receipt;
mod source;
mod stick;
pub mod target;
mod write;

pub use error::{Failure, FlashError};
pub use event::{Event, Hear, Phase};

use crate::error::Error;
use crate::image::reader::ImageReader;
use crate::image::storage::Storage;
use crate::input::{InputError, ReadAt as _};
use crate::progress;
use crate::site::Site;
use crate::verify;
use buffer::Buffer;
use handoff::hash::Sha256Digest;
use layout::{Layout, PIECE};
use medium::Medium;
use probe::Marks;
use source::{Piece, Source, portions};
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use stick::{Expected, Stick};
use write::{Written, write};

/// So many pieces are looked at to learn whether comparing is worth its time,
const SAMPLES: usize = 32;
/// and it is where this part of them is as it should be.
const WORTH: usize = 8;

/// Bytes at the beginning of a file system by which it is recognised.
const HEAD: usize = 64 << 10;

/// What an image is written to.
#[derive(Debug)]
pub struct Target {
    /// What it is called.
    pub name: String,
    /// Open for reading and writing, for nobody else, and past the page cache where that can be.
    pub file: File,
    /// How long it is, in bytes.
    pub size: u64,
    /// A device, which may have less room than it says.
    pub is_disk: bool,
    /// The number of the image that it gets.
    pub image: usize,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Everything is written, and not only what differs.
    pub full: bool,
    /// Everything is read back.
    pub read_back: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flashed {
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that were there already.
    pub equal: u64,
    /// Whether all was read from the medium and is as it should be.
    pub read_back: bool,
}

/// Opens an image and judges it to its last byte: no stick is touched for one that would not start, or that is not of the
/// site where one is given.
pub fn sound_image(path: &Path, site: Option<&Site>) -> Result<ImageReader, Error> {
    let image = ImageReader::open(path)?;
    let found = verify::verify(path, site, None)?;
    let faults: Vec<String> = found
        .checks
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.part, check.result.as_ref().err()?)))
        .collect();
    if faults.is_empty() {
        return Ok(image);
    }
    Err(FlashError::DamagedImage { path: path.to_owned(), faults }.into())
}

/// Writes images to sticks, all at once; a result for each, in their order. Once `stop` is set, no more requests are made.
pub fn flash(
    images: &[ImageReader],
    targets: &[Target],
    options: Options,
    stop: &AtomicBool,
    hear: Hear<'_>,
) -> Result<Vec<Result<Flashed, Failure>>, FlashError> {
    let layout = |target: &Target| {
        let table = |source| FlashError::Table { stick: target.name.clone(), source };
        let image = images.get(target.image).ok_or_else(|| table(io::ErrorKind::NotFound.into()))?;
        Layout::new(image, target.size).map_err(table)
    };
    let layouts: Vec<Layout> = targets.iter().map(layout).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = images.iter().map(Source::of).collect();
    flash_as(&sources, targets, &layouts, options, (stop, hear))
}

/// Writes the file system in the file `image` to a partition, in the same way: its head, by which it is recognised, comes
/// last.
pub fn flash_partition(image: &Path, target: Target, stop: &AtomicBool) -> Result<Flashed, Error> {
    let failed = |source| InputError { path: image.to_owned(), source };
    let storage = Storage::open(image).map_err(failed)?;
    let size = storage.size().map_err(failed)?;
    let mut head = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
    storage.fill_at(&mut head, 0).map_err(failed)?;
    let (source, layout) = (Source { path: image, storage: &storage }, Layout::of_file_system(size, head));
    let options = Options { full: false, read_back: true };
    let targets = [target];
    let mut done = flash_as(&[source], &targets, &[layout], options, (stop, &|_| ()))?;
    let [target] = targets;
    // One target has one result; without any, nothing was done.
    let nothing = || FlashError::of_medium(&target.name, medium::MediumError::BrokenOff);
    Ok(done.pop().ok_or_else(nothing)??)
}

fn flash_as(
    images: &[Source<'_>],
    targets: &[Target],
    layouts: &[Layout],
    options: Options,
    (stop, hear): (&AtomicBool, Hear<'_>),
) -> Result<Vec<Result<Flashed, Failure>>, FlashError> {
    let sticks: Vec<Stick<'_>> = targets
        .iter()
        .zip(layouts)
        .map(|(target, layout)| stick(target, layout, stop))
        .collect::<Result<_, _>>()?;
    let tell = || hear(&sticks.iter().map(|stick| stick.progress.event(stick.name)).collect::<Vec<_>>());
    let ends = progress::told(tell, || run(images, targets, &sticks, options));
    let result = |(stick, end): (&Stick<'_>, Result<bool, FlashError>)| match end {
        Err(error) => Err(Failure { error, begun: stick.has_begun() }),
        Ok(read_back) => {
            let (written, equal) = (stick.written.get(), stick.equal.get());
            Ok(Flashed { written, equal, read_back })
        }
    };
    Ok(sticks.iter().zip(ends).map(result).collect())
}

/// Both copies of the partition table that the target gets, as [`ImageReader::table_bytes`] would read them.
pub fn tables(image: &ImageReader, target: &Target) -> Result<Vec<u8>, FlashError> {
    let layout = Layout::new(image, target.size)
        .map_err(|source| FlashError::Table { stick: target.name.clone(), source })?;
    Ok(layout.tables.into_iter().rev().flat_map(|(_, bytes)| bytes).collect())
}

fn stick<'s>(target: &'s Target, layout: &'s Layout, stop: &'s AtomicBool) -> Result<Stick<'s>, FlashError> {
    let fails = |source| {
        FlashError::of_medium(&target.name, medium::MediumError::Fails { offset: 0, verb: "opened", source })
    };
    let medium = Medium::new(&target.file, stop).map_err(fails)?;
    let marks = target.is_disk.then(seed).transpose().map_err(fails)?;
    Ok(Stick::new(&target.name, layout, medium, marks.map(|seed| Marks::new(layout, seed))))
}

/// Another one at each call.
fn seed() -> io::Result<Sha256Digest> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(Sha256Digest::from_bytes(random))
}

/// Whether each was read back.
fn run(
    images: &[Source<'_>],
    targets: &[Target],
    sticks: &[Stick<'_>],
    options: Options,
) -> Vec<Result<bool, FlashError>> {
    // Their numbers are in range: their layouts were made.
    let with_images: Vec<(&Stick<'_>, &Target, Source<'_>)> = sticks
        .iter()
        .zip(targets)
        .filter_map(|(stick, target)| Some((stick, target, *images.get(target.image)?)))
        .collect();
    let mut written: Vec<Written<'_, '_>> = sticks.iter().map(Written::new).collect();
    thread::scope(|scope| {
        for (written, (stick, _, image)) in written.iter().zip(&with_images) {
            scope.spawn(move || written.try_to(|| look(stick, *image, options.full)));
        }
    });
    let wanted: Vec<(usize, &[Range<u64>])> =
        with_images.iter().map(|(stick, target, _)| (target.image, stick.layout.pieces.as_slice())).collect();
    write(images, &portions(images, &wanted), &mut written);
    thread::scope(|scope| {
        let end = |(written, (stick, _, image)): (Written<'_, '_>, &(&Stick<'_>, &Target, Source<'_>))| {
            let written = written.into_result();
            end(stick, || finish(stick, *image, &written?, options.read_back))
        };
        let ends: Vec<_> =
            written.into_iter().zip(&with_images).map(|each| scope.spawn(move || end(each))).collect();
        let joined = ends.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Learns from some pieces whether the stick holds something of the image already.
fn look(stick: &Stick<'_>, image: Source<'_>, full: bool) -> Result<(), FlashError> {
    let pieces = &stick.layout.pieces;
    let mut found = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
    let (mut looked, mut equal) = (0, 0);
    for range in pieces.iter().step_by((pieces.len() / SAMPLES).max(1)).take_while(|_| !full) {
        let piece = Piece::of_image(image, range.clone())?;
        // Zeros are what a new stick holds.
        if !piece.zero {
            looked += 1;
            let holds = stick.medium.holds(&piece.bytes, range.start, &mut found);
            equal += usize::from(holds.map_err(stick.fails())?);
        }
    }
    stick.compare(equal * WORTH >= looked.max(1));
    stick.progress.enter(Phase::Writing, stick.layout.length());
    Ok(())
}

/// Ends the work on a stick, well or badly.
fn end(stick: &Stick<'_>, finish: impl FnOnce() -> Result<bool, FlashError>) -> Result<bool, FlashError> {
    let ended = finish();
    if ended.is_err() && stick.has_begun() {
        // Whatever it was, the stick must not be taken for a whole one; where it is gone or broken, this fails, too.
        let _ = stick.empty_edges();
    }
    stick.progress.enter(Phase::Done, 0);
    ended
}

/// All but the body. Says whether everything was read from the medium.
fn finish(
    stick: &Stick<'_>,
    image: Source<'_>,
    expected: &[Expected],
    reads_back: bool,
) -> Result<bool, FlashError> {
    if !stick.has_begun() && stick.has_tables()? {
        // All of it was compared and nothing written.
        return Ok(true);
    }
    if !stick.begin()? {
        return Err(stick.fails()(medium::MediumError::BrokenOff));
    }
    stick.medium.flush().map_err(stick.fails())?;
    if reads_back {
        read_back::read_back(stick, image, expected)?;
    }
    stick.write_tables()?;
    if reads_back && !stick.has_tables()? {
        stick.write_tables()?;
        if !stick.has_tables()? {
            return Err(stick.wrong(stick.layout.tables.iter().map(|(place, _)| *place).collect()));
        }
    }
    Ok(reads_back)
}

#[cfg(test)]
mod tests;
