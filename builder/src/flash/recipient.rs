//! A stick of a run, with where its bytes come from, and why it was given up.

use super::error::{Failure, FlashError};
use super::event::Phase;
use super::medium::{Medium, MediumError};
use super::probe::Marks;
use super::source::Source;
use super::stick::Stick;
use super::target::Target;
use super::{Flashed, Layout};
use crate::file_stamp::FileStamp;
use handoff::hash::Sha256Digest;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// A stick, where its bytes come from, and why it was given up.
#[derive(Debug)]
pub(super) struct Recipient<'r> {
    /// The stick.
    pub(super) stick: Stick<'r>,
    /// Where its bytes come from.
    pub(super) source: Source<'r>,
    /// The files of the source, as they were before anything was read.
    files: Vec<FileStamp>,
    failure: Mutex<Option<FlashError>>,
}

/// Pieces that a stick is to get, or that are to be compared with what it holds.
#[derive(Debug)]
pub(super) struct Todo<'r> {
    /// The stick.
    pub(super) recipient: &'r Recipient<'r>,
    /// The pieces, in the order of the stick.
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
        let stick = Stick::new(&target.name, layout, medium, seed.map(|seed| Marks::new(layout, seed)));
        Ok(Self { stick, source, files: source.marks()?, failure: Mutex::default() })
    }

    /// Does something with the stick, unless it was given up; where that fails, it is.
    pub(super) fn try_to(&self, work: impl FnOnce() -> Result<(), FlashError>) {
        if !self.is_given_up()
            && let Err(reason) = work()
        {
            self.give_up(reason);
        }
    }

    /// Whether nothing more is done with it.
    #[must_use]
    pub(super) fn is_given_up(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Does nothing more with it. Only the first reason counts.
    pub(super) fn give_up(&self, reason: FlashError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    /// Whether what was judged is what was written.
    pub(super) fn nothing_changed(&self) -> Result<(), FlashError> {
        match self.files.iter().find(|file| !file.holds()) {
            Some(file) => Err(FlashError::ImageChanged { path: file.path().to_owned() }),
            None => Ok(()),
        }
    }

    /// Ends the work on the stick, whether it went well or not.
    pub(super) fn end(&self) {
        if self.is_given_up() && self.stick.has_begun() {
            // Whatever it was, the stick must not be taken for a whole one; where it is gone or broken, this fails, too.
            let _ = self.stick.empty_edges();
        }
        self.stick.progress.enter(Phase::Done, 0);
    }

    /// What came of it.
    pub(super) fn into_result(self, reads_back: bool) -> Result<Flashed, Failure> {
        let Self { stick, failure, .. } = self;
        let begun = stick.has_begun();
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(Failure { error, begun });
        }
        let written = stick.written.get();
        // Where nothing was written, all was compared.
        Ok(Flashed { written, equal: stick.layout.length() - written, read_back: reads_back || !begun })
    }
}

/// Another one at each call.
fn seed() -> io::Result<Sha256Digest> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(Sha256Digest::from_bytes(random))
}

/// Does something with each stick that was not given up, all at once; where it fails, the stick is given up.
pub(super) fn at_once<'r, T: Send>(
    recipients: impl IntoIterator<Item = (&'r Recipient<'r>, T)>,
    work: impl Fn(&Recipient<'r>, T) -> Result<(), FlashError> + Sync,
) {
    let work = &work;
    thread::scope(|scope| {
        for (recipient, with) in recipients {
            scope.spawn(move || recipient.try_to(|| work(recipient, with)));
        }
    });
}
