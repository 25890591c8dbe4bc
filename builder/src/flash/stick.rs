//! One stick on its way: what is written to it, what was there already, and in which order.
//!
//! Both edges are emptied before the first piece is written, so that the stick is no disk at all until the tables are
//! written, which comes last.

use super::buffer::Buffer;
use super::error::FlashError;
use super::event::{Phase, Progress};
use super::layout::{Layout, PIECE};
use super::medium::{Medium, MediumError};
use super::pace::Pace;
use super::probe::Marks;
use super::source::Piece;
use crate::progress::Count;
use crate::width::to_usize;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes within which a stick may move what was there already, because it erases its memory in areas of some MiB.
const AREA: u64 = 16 << 20;

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
    /// What was found to differ, in no order.
    differing: Mutex<Vec<Range<u64>>>,
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
            differing: Mutex::default(),
            state: Mutex::new(State::Untouched),
            pace: Mutex::default(),
        }
    }

    /// Looks whether a piece is there. `found` is memory for what is.
    pub(super) fn compare(&self, piece: &Piece, found: &mut Buffer) -> Result<(), FlashError> {
        if !self.medium.holds(&piece.bytes, piece.range.start, found).map_err(self.fails())? {
            lock(&self.differing).push(piece.range.clone());
        }
        self.progress.done.add(piece.length());
        Ok(())
    }

    /// The pieces that were found to differ since this was last asked, in the order of the stick.
    pub(super) fn take_differing(&self) -> Vec<Range<u64>> {
        let mut pieces = std::mem::take(&mut *lock(&self.differing));
        pieces.sort_unstable_by_key(|piece| piece.start);
        pieces
    }

    /// The pieces in areas in which something was written, be it `written` or what belongs to no image. The stick may have
    /// moved what was there already.
    pub(super) fn touched(&self, written: &[Range<u64>]) -> Vec<Range<u64>> {
        let marks = self.marks.iter().flat_map(Marks::places);
        let writes = written.iter().cloned().chain(self.layout.edges.iter().cloned()).chain(marks);
        let touched: BTreeSet<u64> = writes.flat_map(|place| areas(&place)).collect();
        let pieces = self.layout.pieces.iter();
        pieces.filter(|piece| areas(piece).any(|area| touched.contains(&area))).cloned().collect()
    }

    /// Writes a piece, after what comes before the first.
    pub(super) fn take(&self, piece: &Piece) -> Result<(), FlashError> {
        if !self.begin()? {
            return Ok(());
        }
        self.put(piece)?;
        self.written.add(piece.length());
        self.keep_pace(piece.length(), piece.range.end)?;
        self.progress.done.add(piece.length());
        Ok(())
    }

    /// Writes a piece.
    pub(super) fn put(&self, piece: &Piece) -> Result<(), FlashError> {
        let written = if piece.is_zero() {
            self.medium.zero(&piece.range)
        } else {
            self.medium.write(&piece.bytes, piece.range.start)
        };
        written.map_err(self.fails())
    }

    /// Makes the stick one that holds nothing, and sees whether it has the room that it says. Only the first call does.
    /// Where that failed, it alone says why, and the others get no.
    pub(super) fn begin(&self) -> Result<bool, FlashError> {
        let mut state = lock(&self.state);
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
        let mut found = Buffer::zeros(to_usize(PIECE));
        let mut start = edge.start;
        while start < edge.end {
            let end = edge.end.min(start + PIECE);
            let zeros = Buffer::zeros(to_usize(end - start));
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
        *lock(&self.state) != State::Untouched
    }

    /// Whether both tables are there.
    pub(super) fn has_tables(&self) -> Result<bool, FlashError> {
        let mut found = Buffer::zeros(to_usize(PIECE));
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
        let slow = lock(&self.pace).took(length);
        slow.map_or(Ok(()), |slow| {
            let stick = self.name.to_owned();
            Err(FlashError::Slow { stick, offset, rate: slow.rate >> 10, before: slow.before >> 10 })
        })
    }
}

/// The numbers of the areas in which a place lies.
fn areas(place: &Range<u64>) -> RangeInclusive<u64> {
    place.start / AREA..=place.end.saturating_sub(1) / AREA
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
