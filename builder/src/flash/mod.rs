//! Writing images to sticks, so that a stick holds either a whole system or none.
//!
//! First the whole image is verified. Meanwhile, if it is worth the time, it is compared with the content of the stick.
//! Then the order is: empty both ends of the stick, write and flush the body, read back what was written, write the
//! partition tables. If this is interrupted anywhere, the stick is not a disk, and the next run continues with what is
//! there. `disks` decides whether a disk may be written at all.

pub mod buffer;
mod compare;
mod deliver;
pub mod error;
pub mod event;
pub mod job;
pub mod layout;
pub mod medium;
mod pace;
mod portion;
pub mod probe;
pub mod receipt;
mod recipient;
mod source;
mod stick;
pub mod target;

pub use error::{Failure, FlashError};
pub use event::{Event, Hear, Phase};
pub use job::Job;
pub use target::Target;

use crate::error::Error;
use crate::image::reader::ImageReader;
use crate::image::storage::Storage;
use crate::input::{InputError, ReadAt as _};
use crate::parallel;
use crate::progress;
use crate::secrets::trust::SiteAndKeys;
use crate::verify::{self, Verification};
use crate::width::to_usize;
use buffer::Buffer;
use deliver::deliver;
use job::preflight_each;
use layout::Layout;
use recipient::{Recipient, Todo, at_once};
use source::{Piece, Source};
use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use stick::Stick;

/// The bytes at the beginning of a file system by which it is recognised.
const HEAD: usize = 64 << 10;

/// How sticks are written.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether everything is written, and not only what differs.
    pub full: bool,
    /// Whether everything is read back.
    pub read_back: bool,
}

/// The result for one stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flashed {
    /// The bytes that were written.
    pub written: u64,
    /// The bytes that were on the stick already.
    pub equal: u64,
    /// Whether everything was read from the medium and is right.
    pub read_back: bool,
}

/// The result of a job.
#[derive(Debug)]
pub struct Finished<'j> {
    /// The job itself.
    pub job: Job<'j>,
    /// The result of verifying its image.
    pub image: Arc<Verification>,
    /// The result for its stick, or why it was given up.
    pub stick: Result<Flashed, Failure>,
}

/// Writes images to sticks, all at once, and returns the result of each job in order. No stick is written if one of the
/// images would not start, or, where a site is given, is not of that site. Once `stop` is set, no more requests are
/// made.
pub fn flash<'j>(
    jobs: Vec<Job<'j>>,
    site: Option<&SiteAndKeys>,
    options: Options,
    (stop, hear): (&AtomicBool, Hear<'_>),
) -> Result<Vec<Finished<'j>>, Error> {
    let open = jobs.iter().map(|job| Recipient::new(Source::of(job.image), job.target, &job.layout, stop));
    let recipients: Vec<Recipient<'_>> = open.collect::<Result<_, _>>()?;
    let images = write(&recipients, options, || preflight_each(&jobs, site), hear)?;
    let sticks: Vec<_> = recipients.into_iter().map(|each| each.into_result(options.read_back)).collect();
    let finished = |((job, image), stick)| Finished { job, image, stick };
    Ok(jobs.into_iter().zip(images).zip(sticks).map(finished).collect())
}

/// Verifies a whole image.
pub fn preflight(image: &ImageReader, site: Option<&SiteAndKeys>) -> Result<Verification, Error> {
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

/// Writes the file system in the file `image` to a partition in the same way: its head, by which it is recognised,
/// comes last.
pub fn flash_partition(image: &Path, target: &Target, stop: &AtomicBool) -> Result<Flashed, Error> {
    let failed = |source| InputError { path: image.to_owned(), source };
    let storage = Storage::open(image).map_err(failed)?;
    let size = storage.size().map_err(failed)?;
    let mut head = vec![0; HEAD.min(to_usize(size))];
    storage.fill_at(&mut head, 0).map_err(failed)?;
    let (source, layout) = (Source { path: image, storage: &storage }, Layout::of_file_system(size, head));
    let options = Options { full: false, read_back: true };
    let recipient = Recipient::new(source, target, &layout, stop)?;
    // The file was made just now, so no other process could have changed it.
    write(slice::from_ref(&recipient), options, || Ok(()), &|_| ())?;
    Ok(recipient.into_result(options.read_back)?)
}

/// Writes to all sticks at once, and returns the result of `verify`, which verifies the images while the sticks are
/// compared.
fn write<'r, J: Send>(
    recipients: &'r [Recipient<'r>],
    options: Options,
    verify: impl FnOnce() -> Result<J, Error> + Send,
    hear: Hear<'_>,
) -> Result<J, Error> {
    let sticks = || recipients.iter().map(|recipient| &recipient.stick);
    let tell = || hear(&sticks().map(|stick| stick.progress.event(stick.name)).collect::<Vec<_>>());
    progress::told(tell, || {
        let (verified, todo) = compare::look(recipients, options.full, verify)?;
        write_body(&todo);
        if options.read_back {
            compare::read_back(&todo);
        }
        at_once(recipients.iter().map(|recipient| (recipient, ())), |recipient, ()| {
            recipient.nothing_changed()?;
            write_tables(&recipient.stick, options.read_back)
        });
        parallel::at_once(recipients, Recipient::end);
        Ok(verified)
    })
}

fn write_body(todo: &[Todo<'_>]) {
    for Todo { recipient, pieces } in todo {
        recipient.stick.progress.enter(Phase::Writing, layout::length(pieces));
    }
    deliver(todo, &|stick: &Stick<'_>, piece: &Piece, _: &mut Buffer| stick.take(piece));
    at_once(todo.iter().map(|todo| (todo.recipient, ())), |recipient, ()| body_is_written(&recipient.stick));
}

/// The step between writing the body and reading it back. If the body was there already, but not the tables, the stick
/// counts as written all the same.
fn body_is_written(stick: &Stick<'_>) -> Result<(), FlashError> {
    if !stick.has_begun() && stick.has_tables()? {
        return Ok(());
    }
    if !stick.begin()? {
        return Err(stick.fails()(medium::MediumError::BrokenOff));
    }
    stick.medium.flush().map_err(stick.fails())
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
