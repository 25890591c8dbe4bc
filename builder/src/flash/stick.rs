//! The state of one stick: what is written to it, what was there already, and in which order.
//!
//! Both ends are emptied before the first piece is written, so that the stick is not a disk until the tables are
//! written, which comes last.

use super::buffer::Buffer;
use super::error::FlashError;
use super::event::{Phase, Progress};
use super::layout::{Layout, PIECE};
use super::medium::{Medium, MediumError};
use super::pace::Pace;
use super::probe::ProbeBlocks;
use super::source::Piece;
use crate::progress::Count;
use crate::width::to_usize;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The size of the area, in bytes, within which a stick may move existing data: it erases its memory in areas of some
/// MiB.
const AREA: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StickState {
    /// Nothing was written yet.
    Untouched,
    /// Emptying the ends failed, or the work was given up later.
    GivenUp,
    /// Both ends are empty, and the stick has the capacity that it claims.
    Ready,
}

/// A stick in a run.
#[derive(Debug)]
pub(super) struct Stick<'s> {
    /// The name of the stick in messages.
    pub(super) name: &'s str,
    /// What is written where.
    pub(super) layout: &'s Layout,
    /// The open device or file.
    pub(super) medium: Medium<'s>,
    /// The blocks that test its capacity; none for a file.
    pub(super) blocks: Option<ProbeBlocks>,
    /// The progress of the work.
    pub(super) progress: Progress,
    /// The bytes that were written.
    pub(super) written: Count,
    /// The pieces that were found to differ, in no order.
    differing: Mutex<Vec<Range<u64>>>,
    /// The thread that writes first empties the ends and tests the capacity.
    state: Mutex<StickState>,
    pace: Mutex<Pace>,
}

impl<'s> Stick<'s> {
    /// A stick to which nothing was written yet.
    #[must_use]
    pub(super) fn new(
        name: &'s str,
        layout: &'s Layout,
        medium: Medium<'s>,
        blocks: Option<ProbeBlocks>,
    ) -> Self {
        Self {
            name,
            layout,
            medium,
            blocks,
            progress: Progress::of(name),
            written: Count::default(),
            differing: Mutex::default(),
            state: Mutex::new(StickState::Untouched),
            pace: Mutex::default(),
        }
    }

    /// Compares a piece with the stick. `found` is memory for the stick's content.
    pub(super) fn compare(&self, piece: &Piece, found: &mut Buffer) -> Result<(), FlashError> {
        if !self.medium.holds(&piece.bytes, piece.range.start, found).map_err(self.fails())? {
            lock(&self.differing).push(piece.range.clone());
        }
        self.progress.done.add(piece.length());
        Ok(())
    }

    /// Takes the pieces that were found to differ since the last call, in the order of the stick.
    pub(super) fn take_differing(&self) -> Vec<Range<u64>> {
        let mut pieces = std::mem::take(&mut *lock(&self.differing));
        pieces.sort_unstable_by_key(|piece| piece.start);
        pieces
    }

    /// The pieces in areas that were written, either with `written` or with bytes that are not of an image. The stick
    /// may have moved the other data in these areas.
    pub(super) fn touched(&self, written: &[Range<u64>]) -> Vec<Range<u64>> {
        let blocks = self.blocks.iter().flat_map(ProbeBlocks::places);
        let writes = written.iter().cloned().chain(self.layout.edges.iter().cloned()).chain(blocks);
        let touched: BTreeSet<u64> = writes.flat_map(|place| areas(&place)).collect();
        let pieces = self.layout.pieces.iter();
        pieces.filter(|piece| areas(piece).any(|area| touched.contains(&area))).cloned().collect()
    }

    /// Writes a piece; the first call prepares the stick.
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

    /// Writes a piece to a stick that is prepared.
    pub(super) fn put(&self, piece: &Piece) -> Result<(), FlashError> {
        let written = if piece.is_zero() {
            self.medium.zero(&piece.range)
        } else {
            self.medium.write(&piece.bytes, piece.range.start)
        };
        written.map_err(self.fails())
    }

    /// Empties the stick's ends and tests its capacity; only the first call does so. If that fails, this call returns
    /// the error, and all others return false.
    pub(super) fn begin(&self) -> Result<bool, FlashError> {
        let mut state = lock(&self.state);
        match *state {
            StickState::Ready => return Ok(true),
            StickState::GivenUp => return Ok(false),
            StickState::Untouched => {}
        }
        *state = StickState::GivenUp;
        self.empty_edges()?;
        if let Some(blocks) = &self.blocks {
            blocks.write(&self.medium).map_err(|error| FlashError::of_probe(self.name, error))?;
        }
        *state = StickState::Ready;
        Ok(true)
    }

    /// Makes both ends zero, and checks that: a medium may ignore a discard and report success.
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

    /// Whether anything was written to the stick.
    #[must_use]
    pub(super) fn has_begun(&self) -> bool {
        *lock(&self.state) != StickState::Untouched
    }

    /// Whether both tables are on the stick.
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
        if let Some(blocks) = &self.blocks {
            blocks.check(&self.medium).map_err(|error| FlashError::of_probe(self.name, error))?;
            blocks.remove(&self.medium).map_err(self.fails())?;
        }
        let medium = self.medium.to_the_end();
        for (place, bytes) in &self.layout.tables {
            medium.write(&Buffer::of(bytes), *place).map_err(self.fails())?;
            medium.flush().map_err(self.fails())?;
        }
        Ok(())
    }

    /// Makes an error of the medium one of this stick.
    pub(super) fn fails(&self) -> impl Fn(MediumError) -> FlashError {
        |source| FlashError::of_medium(self.name, source)
    }

    /// The error for pieces with wrong content.
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

/// The numbers of the areas that a range touches.
fn areas(place: &Range<u64>) -> RangeInclusive<u64> {
    place.start / AREA..=place.end.saturating_sub(1) / AREA
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
