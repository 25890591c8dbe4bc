//! A stick in a run, the source of its bytes, and why it was given up.

use super::error::{Failure, FlashError};
use super::event::Phase;
use super::medium::{Medium, MediumError};
use super::probe::ProbeBlocks;
use super::source::Source;
use super::stick::Stick;
use super::target::Target;
use super::{Flashed, Layout};
use crate::file_stamp::FileStamp;
use crate::parallel;
use handoff::hash::Sha256Digest;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// A stick, the source of its bytes, and why it was given up.
#[derive(Debug)]
pub(super) struct Recipient<'r> {
    /// The stick to write.
    pub(super) stick: Stick<'r>,
    /// The image that its bytes come from.
    pub(super) source: Source<'r>,
    /// The stamps of the source's files, taken before anything was read.
    files: Vec<FileStamp>,
    failure: Mutex<Option<FlashError>>,
}

/// The pieces that a stick gets, or that are compared with its content.
#[derive(Debug)]
pub(super) struct Todo<'r> {
    /// The stick with its source.
    pub(super) recipient: &'r Recipient<'r>,
    /// The ranges of the pieces, in the order of the stick.
    pub(super) pieces: Vec<Range<u64>>,
}

impl<'r> Recipient<'r> {
    /// A stick to which nothing was written yet. Once `stop` is set, no more requests are made.
    pub(super) fn new(
        source: Source<'r>,
        target: &'r Target,
        layout: &'r Layout,
        stop: &'r AtomicBool,
    ) -> Result<Self, FlashError> {
        let fails = |source| {
            FlashError::of_medium(&target.name, MediumError::Fails { offset: 0, verb: "opened", source })
        };
        let medium = Medium::new(&target.file, stop).map_err(fails)?;
        let seed = target.is_disk.then(seed).transpose().map_err(fails)?;
        let stick = Stick::new(&target.name, layout, medium, seed.map(|seed| ProbeBlocks::new(layout, seed)));
        Ok(Self { stick, source, files: source.stamps()?, failure: Mutex::default() })
    }

    /// Does `work` unless the stick was given up; after an error the stick is given up.
    pub(super) fn try_to(&self, work: impl FnOnce() -> Result<(), FlashError>) {
        if !self.is_given_up()
            && let Err(reason) = work()
        {
            self.give_up(reason);
        }
    }

    /// Whether the stick was given up.
    #[must_use]
    pub(super) fn is_given_up(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Gives the stick up. Only the first reason is kept.
    pub(super) fn give_up(&self, reason: FlashError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    /// Checks that the image's files did not change since they were verified.
    pub(super) fn nothing_changed(&self) -> Result<(), FlashError> {
        match self.files.iter().find(|file| !file.holds()) {
            Some(file) => Err(FlashError::ImageChanged { path: file.path().to_owned() }),
            None => Ok(()),
        }
    }

    /// Ends the work on the stick, after success or failure.
    pub(super) fn end(&self) {
        if self.is_given_up() && self.stick.has_begun() {
            // A failed stick must not look whole. If it is gone or broken, this fails, too.
            let _ = self.stick.empty_edges();
        }
        self.stick.progress.enter(Phase::Done, 0);
    }

    /// The result for the stick.
    pub(super) fn into_result(self, reads_back: bool) -> Result<Flashed, Failure> {
        let Self { stick, failure, .. } = self;
        let begun = stick.has_begun();
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(Failure { error, begun });
        }
        let written = stick.written.get();
        // If nothing was written, everything was compared.
        Ok(Flashed { written, equal: stick.layout.length() - written, read_back: reads_back || !begun })
    }
}

/// A random seed, different at each call.
fn seed() -> io::Result<Sha256Digest> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(Sha256Digest::from_bytes(random))
}

/// Does `work` with each stick that was not given up, all at once; after an error that stick is given up.
pub(super) fn at_once<'r, T: Send>(
    recipients: impl IntoIterator<Item = (&'r Recipient<'r>, T)>,
    work: impl Fn(&Recipient<'r>, T) -> Result<(), FlashError> + Sync,
) {
    parallel::at_once(recipients, |(recipient, with)| recipient.try_to(|| work(recipient, with)));
}
