//! One stick on its way: what is written to it, what was there already, and in which order.
//!
//! Nothing is written before something is known to differ. Then both edges are emptied first, so that the stick is no disk
//! at all until the tables are written, which comes last.

use super::buffer::Buffer;
use super::error::FlashError;
use super::event::{Phase, Progress};
use super::layout::{Layout, PIECE};
use super::medium::{Medium, MediumError};
use super::pace::Pace;
use super::probe::Marks;
use super::source::Piece;
use crate::progress::Count;
use handoff::hash::Sha256Digest;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is known of a piece when it was written, to compare it when it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    /// Its place.
    pub(super) range: Range<u64>,
    /// Its digest.
    pub(super) digest: Sha256Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was written.
    Untouched,
    /// It is empty, or was to be.
    GivenUp,
    /// It is empty at both ends and has the room that it says.
    Ready,
}

/// A stick.
#[derive(Debug)]
pub(super) struct Stick<'s> {
    /// What it is called in messages.
    pub(super) name: &'s str,
    /// What it gets.
    pub(super) layout: &'s Layout,
    /// The medium.
    pub(super) medium: Medium<'s>,
    /// The marks that are tried on it; a file needs none.
    pub(super) marks: Option<Marks>,
    /// How far it is.
    pub(super) progress: Progress,
    /// Bytes that were written.
    pub(super) written: Count,
    /// Bytes that were there already.
    pub(super) equal: Count,
    /// Whether what is there is looked at first.
    compares: AtomicBool,
    /// Whoever writes first does what comes first.
    state: Mutex<State>,
    pace: Mutex<Pace>,
}

impl<'s> Stick<'s> {
    /// A stick to which nothing was written yet.
    #[must_use]
    pub(super) fn new(name: &'s str, layout: &'s Layout, medium: Medium<'s>, marks: Option<Marks>) -> Self {
        Self {
            name,
            layout,
            medium,
            marks,
            progress: Progress::default(),
            written: Count::default(),
            equal: Count::default(),
            compares: AtomicBool::new(false),
            state: Mutex::new(State::Untouched),
            pace: Mutex::default(),
        }
    }

    /// Takes a piece: writes it where it is not there already. `found` is memory for what is there.
    pub(super) fn take(&self, piece: &Piece, found: &mut Buffer) -> Result<(), FlashError> {
        let length = piece.range.end - piece.range.start;
        if self.compares.load(Ordering::Relaxed)
            && self.medium.holds(&piece.bytes, piece.range.start, found).map_err(self.fails())?
        {
            self.equal.add(length);
        } else {
            if !self.begin()? {
                return Ok(());
            }
            self.put(piece)?;
            self.written.add(length);
            self.keep_pace(length, piece.range.end)?;
        }
        self.progress.done.add(length);
        Ok(())
    }

    /// Writes a piece.
    pub(super) fn put(&self, piece: &Piece) -> Result<(), FlashError> {
        let written = if piece.zero {
            self.medium.zero(&piece.range)
        } else {
            self.medium.write(&piece.bytes, piece.range.start)
        };
        written.map_err(self.fails())
    }

    /// Makes the stick one that holds nothing, and sees whether it has the room that it says. Only the first call does.
    /// Where that failed, it alone says why, and the others get no.
    pub(super) fn begin(&self) -> Result<bool, FlashError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Ready => return Ok(true),
            State::GivenUp => return Ok(false),
            State::Untouched => {}
        }
        *state = State::GivenUp;
        self.empty_edges()?;
        if let Some(marks) = &self.marks {
            marks.write(&self.medium).map_err(|error| FlashError::of_probe(self.name, error))?;
        }
        *state = State::Ready;
        Ok(true)
    }

    /// Makes both edges zero, and looks that they are: a medium may ignore a discard and call it done.
    pub(super) fn empty_edges(&self) -> Result<(), FlashError> {
        let medium = self.medium.to_the_end();
        for edge in &self.layout.edges {
            medium.zero(edge).map_err(self.fails())?;
        }
        medium.flush().map_err(self.fails())?;
        self.layout.edges.iter().try_for_each(|edge| self.is_empty(&medium, edge))
    }

    fn is_empty(&self, medium: &Medium<'_>, edge: &Range<u64>) -> Result<(), FlashError> {
        let mut found = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
        let mut start = edge.start;
        while start < edge.end {
            let end = edge.end.min(start + PIECE);
            let zeros = Buffer::zeros(usize::try_from(end - start).unwrap_or(0));
            if !medium.holds(&zeros, start, &mut found).map_err(self.fails())? {
                medium.write(&zeros, start).map_err(self.fails())?;
                medium.flush().map_err(self.fails())?;
                if !medium.holds(&zeros, start, &mut found).map_err(self.fails())? {
                    return Err(self.wrong(vec![start]));
                }
            }
            start = end;
        }
        Ok(())
    }

    /// Whether anything was written.
    #[must_use]
    pub(super) fn has_begun(&self) -> bool {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) != State::Untouched
    }

    /// Whether both tables are there.
    pub(super) fn has_tables(&self) -> Result<bool, FlashError> {
        let mut found = Buffer::zeros(usize::try_from(PIECE).unwrap_or(0));
        for (place, bytes) in &self.layout.tables {
            if !self.medium.holds(bytes, *place, &mut found).map_err(self.fails())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the tables, the backup first: with the primary the stick is a disk again.
    pub(super) fn write_tables(&self) -> Result<(), FlashError> {
        self.progress.enter(Phase::Table, 0);
        if let Some(marks) = &self.marks {
            marks.check(&self.medium).map_err(|error| FlashError::of_probe(self.name, error))?;
            marks.remove(&self.medium).map_err(self.fails())?;
        }
        let medium = self.medium.to_the_end();
        for (place, bytes) in &self.layout.tables {
            medium.write(&Buffer::of(bytes), *place).map_err(self.fails())?;
            medium.flush().map_err(self.fails())?;
        }
        Ok(())
    }

    /// Says whether what is there is looked at before it is written.
    pub(super) fn compare(&self, whether: bool) {
        self.compares.store(whether, Ordering::Relaxed);
    }

    /// The error of its medium.
    pub(super) fn fails(&self) -> impl Fn(MediumError) -> FlashError {
        |source| FlashError::of_medium(self.name, source)
    }

    /// The error of what is not there.
    #[must_use]
    pub(super) fn wrong(&self, offsets: Vec<u64>) -> FlashError {
        FlashError::Wrong { stick: self.name.to_owned(), offsets }
    }

    fn keep_pace(&self, length: u64, offset: u64) -> Result<(), FlashError> {
        let slow = self.pace.lock().unwrap_or_else(PoisonError::into_inner).took(length);
        slow.map_or(Ok(()), |slow| {
            let stick = self.name.to_owned();
            Err(FlashError::Slow { stick, offset, rate: slow.rate >> 10, before: slow.before >> 10 })
        })
    }
}
