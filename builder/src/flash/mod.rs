//! Writing images to sticks, so that a stick holds a whole system or none.
//!
//! First the image is judged to its last byte, and meanwhile, where that is worth its time, compared with what is on the
//! stick. Then the order is: both ends of the stick emptied, the body written and flushed, what was written read back, the
//! partition tables. Cut off anywhere, the stick is no disk, and the next run goes on with what is there. Whether a disk
//! may be written at all is decided in `disks`.

pub mod buffer;
mod compare;
mod deliver;
pub mod error;
pub mod event;
pub mod layout;
pub mod medium;
mod pace;
pub mod probe;
pub mod receipt;
mod source;
mod stick;
pub mod target;

pub use error::{Failure, FlashError};
pub use event::{Event, Hear, Phase};

use crate::error::Error;
use crate::file_mark::FileMark;
use crate::image::reader::ImageReader;
use crate::image::storage::Storage;
use crate::input::{InputError, ReadAt as _};
use crate::progress;
use crate::site::Site;
use crate::verify::{self, Verification};
use buffer::Buffer;
use deliver::{Recipient, at_once, deliver};
use handoff::hash::Sha256Digest;
use layout::Layout;
use medium::Medium;
use probe::Marks;
use source::{Piece, Source};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use stick::Stick;

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

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// What was found in each image.
    pub images: Vec<Verification>,
    /// What came of each stick.
    pub sticks: Vec<Result<Flashed, Failure>>,
}

/// Writes images to sticks, all at once. No stick is touched where one of the images would not start, or is not of the
/// site, where one is given. Once `stop` is set, no more requests are made.
pub fn flash(
    images: &[ImageReader],
    site: Option<&Site>,
    targets: &[Target],
    options: Options,
    (stop, hear): (&AtomicBool, Hear<'_>),
) -> Result<Run, Error> {
    let layout = |target: &Target| {
        let table = |source| FlashError::Table { stick: target.name.clone(), source };
        let image = images.get(target.image).ok_or_else(|| table(io::ErrorKind::NotFound.into()))?;
        Layout::new(image, target.size).map_err(table)
    };
    let layouts: Vec<Layout> = targets.iter().map(layout).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = images.iter().map(Source::of).collect();
    let judge = || images.iter().map(|image| judge(image, site)).collect::<Result<_, _>>();
    let (images, sticks) = flash_as(&sources, targets, &layouts, options, judge, (stop, hear))?;
    Ok(Run { images, sticks })
}

/// Reads an image to its last byte.
pub fn judge(image: &ImageReader, site: Option<&Site>) -> Result<Verification, Error> {
    let found = verify::verify(image, site, None)?;
    let faults: Vec<String> = found
        .checks
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.part, check.result.as_ref().err()?)))
        .collect();
    if faults.is_empty() {
        return Ok(found);
    }
    Err(FlashError::DamagedImage { path: image.path().to_owned(), faults }.into())
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
    // What was made just now, nobody else had.
    let judge = || Ok(());
    let ((), mut done) = flash_as(&[source], &targets, &[layout], options, judge, (stop, &|_| ()))?;
    let [target] = targets;
    // One target has one result; without any, nothing was done.
    let nothing = || FlashError::of_medium(&target.name, medium::MediumError::BrokenOff);
    Ok(done.pop().ok_or_else(nothing)??)
}

/// Does it with images that `judge` judges, while it is seen what is on the sticks.
fn flash_as<J: Send>(
    images: &[Source<'_>],
    targets: &[Target],
    layouts: &[Layout],
    options: Options,
    judge: impl FnOnce() -> Result<J, Error> + Send,
    (stop, hear): (&AtomicBool, Hear<'_>),
) -> Result<(J, Vec<Result<Flashed, Failure>>), Error> {
    let sticks: Vec<Stick<'_>> = targets
        .iter()
        .zip(layouts)
        .map(|(target, layout)| stick(target, layout, stop))
        .collect::<Result<_, _>>()?;
    let tell = || hear(&sticks.iter().map(|stick| stick.progress.event(stick.name)).collect::<Vec<_>>());
    let (judged, ends) = progress::told(tell, || run(images, targets, &sticks, options, judge))?;
    let result = |(stick, end): (&Stick<'_>, Result<bool, FlashError>)| match end {
        Err(error) => Err(Failure { error, begun: stick.has_begun() }),
        Ok(read_back) => {
            let written = stick.written.get();
            Ok(Flashed { written, equal: stick.layout.length() - written, read_back })
        }
    };
    Ok((judged, sticks.iter().zip(ends).map(result).collect()))
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

/// What `judge` says, and for each stick whether all of it was read from the medium.
fn run<J>(
    images: &[Source<'_>],
    targets: &[Target],
    sticks: &[Stick<'_>],
    options: Options,
    judge: impl FnOnce() -> Result<J, Error>,
) -> Result<(J, Vec<Result<bool, FlashError>>), Error> {
    let marks: Vec<Vec<FileMark>> = images.iter().map(Source::marks).collect::<Result<_, _>>()?;
    // Their numbers are in range: their layouts were made.
    let recipients: Vec<Recipient<'_, '_>> = sticks
        .iter()
        .zip(targets)
        .filter_map(|(stick, target)| Some(Recipient::new(stick, target.image, *images.get(target.image)?)))
        .collect();
    let (judged, todo) = compare::look(images, &recipients, options.full, judge)?;
    for (Recipient { stick, .. }, todo) in recipients.iter().zip(&todo) {
        stick.progress.enter(Phase::Writing, layout::length(todo));
    }
    deliver(images, &recipients, &todo, &|stick: &Stick<'_>, piece: &Piece, _: &mut Buffer| {
        stick.take(piece)
    });
    let all = || recipients.iter().map(|recipient| (recipient, marks.get(recipient.image)));
    at_once(all(), |Recipient { stick, .. }, _| body_is_written(stick));
    if options.read_back {
        compare::read_back(images, &recipients, &todo);
    }
    at_once(all(), |Recipient { stick, .. }, marks| {
        nothing_changed(marks)?;
        write_tables(stick, options.read_back)
    });
    let ends = thread::scope(|scope| {
        let ends: Vec<_> =
            recipients.into_iter().map(|each| scope.spawn(|| end(each, options.read_back))).collect();
        let joined = ends.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    Ok((judged, ends))
}

/// Ends the work on a stick, well or badly.
fn end(recipient: Recipient<'_, '_>, reads_back: bool) -> Result<bool, FlashError> {
    let stick = recipient.stick;
    let ended = recipient.into_result();
    if ended.is_err() && stick.has_begun() {
        // Whatever it was, the stick must not be taken for a whole one; where it is gone or broken, this fails, too.
        let _ = stick.empty_edges();
    }
    stick.progress.enter(Phase::Done, 0);
    // Where nothing was written, all was compared.
    ended.map(|()| reads_back || !stick.has_begun())
}

/// What lies between the body and reading it back. Where the body was there already, but not the tables, the stick is one
/// that is written all the same.
fn body_is_written(stick: &Stick<'_>) -> Result<(), FlashError> {
    if !stick.has_begun() && stick.has_tables()? {
        return Ok(());
    }
    if !stick.begin()? {
        return Err(stick.fails()(medium::MediumError::BrokenOff));
    }
    stick.medium.flush().map_err(stick.fails())
}

/// What was judged is what was written.
fn nothing_changed(marks: Option<&Vec<FileMark>>) -> Result<(), FlashError> {
    match marks.and_then(|marks| marks.iter().find(|mark| !mark.holds())) {
        Some(mark) => Err(FlashError::ImageChanged { path: mark.path().to_owned() }),
        None => Ok(()),
    }
}

fn write_tables(stick: &Stick<'_>, reads_back: bool) -> Result<(), FlashError> {
    if !stick.has_begun() {
        return Ok(());
    }
    stick.write_tables()?;
    if reads_back && !stick.has_tables()? {
        stick.write_tables()?;
        if !stick.has_tables()? {
            return Err(stick.wrong(stick.layout.tables.iter().map(|(place, _)| *place).collect()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
