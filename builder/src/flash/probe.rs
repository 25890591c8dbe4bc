//! Whether a stick has the capacity that it claims: many that are sold have less, and either drop what is written
//! beyond it or write it over other data.
//!
//! Probe blocks are written to places that nothing else is written to: at a base and at the base plus each power of
//! two, because sticks that wrap do so at a power of two; and evenly over the whole stick. All are read back when the
//! last one is written, and again when everything else is: a block that was overwritten by then shares its place with
//! something else.

use super::buffer::Buffer;
use super::layout::{Layout, PIECE};
use super::medium::{Medium, MediumError};
use crate::width::to_usize;
use handoff::hash::Sha256Digest;
use std::collections::BTreeSet;
use std::ops::Range;

/// The bytes of a probe block.
const BLOCK: u64 = 4096;
/// How many probe blocks are spread evenly.
const SPREAD: u64 = 64;
/// How many bases are tried. The one is used with the fewest blocks in places that are written.
const BASES: u64 = 256;

/// A stick with less capacity than it claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it claims {says} bytes, but loses what is written at byte {first_lost}")]
pub struct LessRoom {
    /// The claimed capacity in bytes.
    pub says: u64,
    /// The offset, in bytes, of the first place that does not keep what is written to it.
    pub first_lost: u64,
}

/// Why checking the probe blocks failed.
#[derive(Debug)]
pub(super) enum ProbeError {
    /// A request to the stick failed.
    Medium(MediumError),
    /// The stick has less capacity than it claims.
    LessRoom(LessRoom),
}

impl From<MediumError> for ProbeError {
    fn from(error: MediumError) -> Self {
        Self::Medium(error)
    }
}

/// The places of the probe blocks, in their order on the stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProbeBlocks {
    places: Vec<u64>,
    size: u64,
    seed: Sha256Digest,
}

impl ProbeBlocks {
    /// Probe blocks for a stick of that layout. `seed` differs in each run, so that blocks of an earlier run are told
    /// apart.
    #[must_use]
    pub(super) fn new(layout: &Layout, seed: Sha256Digest) -> Self {
        let is_free = |place: &u64| layout.is_free(&(*place..*place + BLOCK)) && place + BLOCK <= layout.size;
        let [Range { end: first, .. }, _] = layout.edges;
        let bases = (0..BASES).map(|number| first + number * (layout.size / BASES / BLOCK).max(1) * BLOCK);
        let powers = |base: u64| powers(base, layout.size);
        let fitting = bases.max_by_key(|base| powers(*base).filter(is_free).count()).unwrap_or(first);
        let spread = (1..=SPREAD).map(|number| (layout.size / SPREAD * number).saturating_sub(PIECE * 2));
        let spread = spread.map(|place| place / BLOCK * BLOCK);
        let places: BTreeSet<u64> = powers(fitting).chain(spread).filter(is_free).collect();
        Self { places: places.into_iter().collect(), size: layout.size, seed }
    }

    /// The ranges of the probe blocks.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<u64>> {
        self.places.iter().map(|place| range(*place))
    }

    /// Writes all probe blocks, and checks that they are there.
    pub(super) fn write(&self, medium: &Medium<'_>) -> Result<(), ProbeError> {
        for place in &self.places {
            medium.write(&self.block(*place), *place)?;
        }
        medium.flush()?;
        self.check(medium)
    }

    /// Checks that all probe blocks are there.
    pub(super) fn check(&self, medium: &Medium<'_>) -> Result<(), ProbeError> {
        let mut found = Buffer::zeros(to_usize(BLOCK));
        for place in &self.places {
            if !medium.holds(&self.block(*place), *place, &mut found)? {
                return Err(ProbeError::LessRoom(LessRoom { says: self.size, first_lost: *place }));
            }
        }
        Ok(())
    }

    /// Overwrites all probe blocks.
    pub(super) fn remove(&self, medium: &Medium<'_>) -> Result<(), MediumError> {
        self.places.iter().try_for_each(|place| medium.zero(&range(*place)))
    }

    fn block(&self, place: u64) -> Buffer {
        let mut block = Buffer::zeros(to_usize(BLOCK));
        let digest = Sha256Digest::of_parts(&[self.seed.as_bytes(), &place.to_le_bytes()]);
        for part in block.chunks_mut(digest.as_bytes().len()) {
            part.copy_from_slice(digest.as_bytes());
        }
        block
    }
}

fn range(place: u64) -> Range<u64> {
    place..place + BLOCK
}

/// The base, and the base plus each power of two from 1 MiB on.
fn powers(base: u64, size: u64) -> impl Iterator<Item = u64> {
    let powers = (20..u64::BITS).map_while(move |power| base.checked_add(1 << power));
    std::iter::once(base).chain(powers.take_while(move |place| place + BLOCK <= size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::sync::atomic::AtomicBool;

    const MIB: u64 = 1 << 20;

    fn layout(size: u64) -> Layout {
        let pieces = (1..40).map(|at| at * MIB..at * MIB + MIB / 2).collect();
        Layout { size, pieces, edges: [0..MIB, size - MIB..size], tables: Vec::new() }
    }

    fn blocks(size: u64) -> ProbeBlocks {
        ProbeBlocks::new(&layout(size), Sha256Digest::of(b"seed"))
    }

    #[test]
    fn no_probe_block_overlaps_written_data_and_every_wrap_reaches_one() {
        for size in [100 * MIB, 4096 * MIB, 61_530_439_680, (1 << 40) + 512 * 77] {
            let (blocks, layout) = (blocks(size), layout(size));
            assert!(blocks.places.iter().all(|place| layout.is_free(&range(*place))));
            assert!(blocks.places.len() > 30, "{}", blocks.places.len());
            let mut real = 64 * MIB;
            // No probe block fits into the small range that may be missing at the very end; the tables there are read
            // back.
            while real + 4 * MIB < size {
                let wrapped: BTreeSet<u64> = blocks.places.iter().map(|place| place % real).collect();
                assert!(wrapped.len() < blocks.places.len(), "{size} {real}");
                real *= 2;
            }
        }
    }

    #[test]
    fn an_honest_stick_keeps_the_probe_blocks_until_they_are_erased() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100 * MIB).unwrap();
        let stop = AtomicBool::new(false);
        let medium = Medium::new(&file, &stop).unwrap();
        let blocks = blocks(100 * MIB);
        blocks.write(&medium).unwrap();
        blocks.check(&medium).unwrap();
        let mut found = Buffer::zeros(4096);
        assert!(!medium.holds(&[0; 4096], blocks.places[3], &mut found).unwrap());
        blocks.remove(&medium).unwrap();
        for place in &blocks.places {
            assert!(medium.holds(&[0; 4096], *place, &mut found).unwrap());
        }
    }

    #[test]
    fn an_overwritten_probe_block_means_less_room() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(100 * MIB).unwrap();
        let stop = AtomicBool::new(false);
        let medium = Medium::new(file.as_file(), &stop).unwrap();
        let blocks = blocks(100 * MIB);
        blocks.write(&medium).unwrap();
        let place = blocks.places[5];
        File::options().write(true).open(file.path()).unwrap().write_all_at(&[1], place + 4095).unwrap();
        let Err(ProbeError::LessRoom(found)) = blocks.check(&medium) else { panic!("nothing found") };
        assert_eq!(found, LessRoom { says: 100 * MIB, first_lost: place });
    }
}
