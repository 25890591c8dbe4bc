//! The control partition: two records of 4 KiB of which the higher valid one wins, then the failure area.
//!
//! A record is written to the place of the other one, so a power cut at any byte leaves the old state or the new one.
//! Layout, little-endian: magic `psyctrl1`, sequence (u64), order (two bytes, `a`/`b`), per slot tries left (u8) and
//! state (u8), the number of tries that a slot has after it is written or marked good (u8), rescue request (u8), the
//! count of refused releases (u8) and each of them (u16 length and text), zeros, and in the last 32 bytes the SHA-256
//! of all before.

use crate::bytes::{Reader, put_short_str};
use crate::hash::Sha256Digest;
use crate::name::Name;
use crate::slot::{PerSlot, Slot};
use alloc::vec::Vec;
use core::fmt;

/// Bytes of one control record.
pub const RECORD_SIZE: usize = 4096;
/// Where the records begin in the partition, in bytes.
pub const RECORD_OFFSETS: [u64; 2] = [0, 4096];
/// Where the area for the last failed boot begins, in bytes.
pub const FAILURE_AREA_OFFSET: u64 = 8192;
/// Bytes of the control partition as the builder makes it.
pub const PARTITION_SIZE: u64 = 1024 * 1024;
/// How often a slot is started without being marked good, if the site sets no number.
pub const DEFAULT_TRIES: u8 = 3;
/// How many refused releases a record can name.
pub const MOST_REFUSED: usize = 16;

const MAGIC: &[u8; 8] = b"psyctrl1";
const BODY: usize = 4096 - 32;

/// Whether a boot from a slot was marked good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlotState {
    /// Nothing was ever written there.
    #[default]
    Empty,
    /// Written, and not marked good yet.
    Trying,
    /// A boot from it was marked good.
    Good,
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Trying => "trying",
            Self::Good => "confirmed",
        })
    }
}

/// The state of one slot in the control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotStatus {
    /// Starts left before the other slot is started.
    pub tries_left: u8,
    /// Whether a boot from the slot was marked good.
    pub state: SlotState,
}

/// The state of a stick that outlives its boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRecord {
    /// Grows by one with each record written.
    pub sequence: u64,
    /// The slot to start first; the other one follows.
    pub first: Slot,
    /// Tries and state of each slot.
    pub slots: PerSlot<SlotStatus>,
    /// The number of tries that a slot has after it is written or marked good.
    pub tries: u8,
    /// The next start goes to the rescue shell, once.
    pub rescue_requested: bool,
    /// Releases that were tried and not marked good, or withdrawn.
    pub refused: Vec<Name>,
}

/// Why 4 KiB are not a control record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadControlRecord {
    /// The input does not have [`RECORD_SIZE`] bytes; holds its length.
    WrongSize(usize),
    /// Does not begin with the magic of a control record.
    NoMagic,
    /// The record does not match its own digest: written in part, or changed.
    Damaged,
    /// Undamaged, but this field has a value that is not valid: written by another version.
    BadField(&'static str),
}

impl fmt::Display for BadControlRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongSize(size) => write!(f, "control record of {size} bytes, {RECORD_SIZE} expected"),
            Self::NoMagic => f.write_str("no control record: it does not begin with psyctrl1"),
            Self::Damaged => {
                f.write_str("control record damaged or written in part: its SHA-256 does not match")
            }
            Self::BadField(field) => write!(f, "control record: the value of the field {field} is not valid"),
        }
    }
}

impl core::error::Error for BadControlRecord {}

impl ControlRecord {
    /// The state of a stick that was just made: slot a on trial, slot b empty.
    #[must_use]
    pub fn fresh(tries: u8) -> Self {
        Self {
            sequence: 1,
            first: Slot::A,
            slots: PerSlot {
                a: SlotStatus { tries_left: tries, state: SlotState::Trying },
                b: SlotStatus::default(),
            },
            tries,
            rescue_requested: false,
            refused: Vec::new(),
        }
    }

    /// The assumed state if both records are lost: both slots may be tried, slot a first.
    #[must_use]
    pub fn assumed() -> Self {
        let trying = SlotStatus { tries_left: DEFAULT_TRIES, state: SlotState::Trying };
        Self { sequence: 0, slots: PerSlot { a: trying, b: trying }, ..Self::fresh(DEFAULT_TRIES) }
    }

    /// The record's bytes on the disk. Refused releases beyond [`MOST_REFUSED`] are dropped, oldest first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECORD_SIZE);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        for slot in [self.first, self.first.other()] {
            out.push(letter_byte(slot));
        }
        for slot in Slot::BOTH {
            let status = self.slots.get(slot);
            out.push(status.tries_left);
            out.push(match status.state {
                SlotState::Empty => 0,
                SlotState::Trying => 1,
                SlotState::Good => 2,
            });
        }
        out.push(self.tries);
        out.push(u8::from(self.rescue_requested));
        let surplus = self.refused.len().saturating_sub(MOST_REFUSED);
        let kept = self.refused.iter().skip(surplus);
        out.push(u8::try_from(kept.len()).unwrap_or(u8::MAX));
        for release in kept {
            put_short_str(&mut out, release.as_str());
        }
        out.resize(BODY, 0);
        let digest = Sha256Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    /// Reads a record of exactly [`RECORD_SIZE`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadControlRecord> {
        if bytes.len() != RECORD_SIZE {
            return Err(BadControlRecord::WrongSize(bytes.len()));
        }
        let (body, digest) = bytes.split_at_checked(BODY).ok_or(BadControlRecord::WrongSize(bytes.len()))?;
        let mut fields = Reader::new(body);
        if fields.array::<8>().as_ref() != Some(MAGIC) {
            return Err(BadControlRecord::NoMagic);
        }
        if Sha256Digest::of(body).as_bytes().as_slice() != digest {
            return Err(BadControlRecord::Damaged);
        }
        let field = BadControlRecord::BadField;
        let sequence = fields.u64().ok_or(field("sequence"))?;
        let first = match fields.array::<2>() {
            Some([b'a', b'b']) => Slot::A,
            Some([b'b', b'a']) => Slot::B,
            _ => return Err(field("order")),
        };
        let mut slots = PerSlot::<SlotStatus>::default();
        for slot in Slot::BOTH {
            let tries_left = fields.u8().ok_or(field("tries left"))?;
            let state = match fields.u8() {
                Some(0) => SlotState::Empty,
                Some(1) => SlotState::Trying,
                Some(2) => SlotState::Good,
                _ => return Err(field("slot state")),
            };
            *slots.get_mut(slot) = SlotStatus { tries_left, state };
        }
        let tries = fields.u8().filter(|&tries| tries > 0).ok_or(field("tries"))?;
        let rescue_requested = match fields.u8() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(field("rescue request")),
        };
        let count =
            fields.u8().filter(|&n| usize::from(n) <= MOST_REFUSED).ok_or(field("refused releases"))?;
        let mut refused = Vec::new();
        for _ in 0..count {
            let release = fields.short_str().and_then(|text| text.parse().ok());
            refused.push(release.ok_or(field("refused releases"))?);
        }
        Ok(Self { sequence, first, slots, tries, rescue_requested, refused })
    }

    /// This record after a good boot from `slot`: its tries are full again.
    #[must_use]
    pub fn marked_good(mut self, slot: Slot) -> Self {
        *self.slots.get_mut(slot) = SlotStatus { tries_left: self.tries, state: SlotState::Good };
        self
    }
}

fn letter_byte(slot: Slot) -> u8 {
    match slot {
        Slot::A => b'a',
        Slot::B => b'b',
    }
}

/// Both records of a control partition as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlArea {
    /// Each record, or why it cannot be used.
    pub records: [Result<ControlRecord, BadControlRecord>; 2],
}

impl ControlArea {
    /// Decodes the bytes of both records.
    #[must_use]
    pub fn decode(first: &[u8], second: &[u8]) -> Self {
        Self { records: [ControlRecord::decode(first), ControlRecord::decode(second)] }
    }

    /// The valid record with the higher sequence.
    #[must_use]
    pub fn current(&self) -> Option<&ControlRecord> {
        self.records.iter().filter_map(|record| record.as_ref().ok()).max_by_key(|record| record.sequence)
    }

    /// The valid record with the higher sequence, or the assumed one where both are lost.
    #[must_use]
    pub fn effective(&self) -> ControlRecord {
        self.current().cloned().unwrap_or_else(ControlRecord::assumed)
    }

    /// The offset and the record to write so that `next` becomes current: never over the record that is current now.
    #[must_use]
    pub fn replacement(&self, next: &ControlRecord) -> (u64, ControlRecord) {
        let [first, second] = RECORD_OFFSETS;
        let held = self.current().map_or(0, |record| record.sequence);
        let record = ControlRecord { sequence: held.saturating_add(1), ..next.clone() };
        let [a, b] = &self.records;
        let offset = match (a, b) {
            (Ok(a), Ok(b)) if a.sequence > b.sequence => second,
            (Ok(_), Err(_)) => second,
            _ => first,
        };
        (offset, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> ControlRecord {
        ControlRecord {
            sequence,
            rescue_requested: true,
            refused: alloc::vec!["2026.10".parse().unwrap()],
            ..ControlRecord::fresh(3)
        }
    }

    #[test]
    fn a_written_value_is_read_back() {
        let bytes = record(7).encode();
        assert_eq!(bytes.len(), RECORD_SIZE);
        assert_eq!(ControlRecord::decode(&bytes), Ok(record(7)));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = record(7).encode();
        for position in 0..RECORD_SIZE {
            let mut bad = bytes.clone();
            bad[position] ^= 1;
            let expected = if position < 8 { BadControlRecord::NoMagic } else { BadControlRecord::Damaged };
            assert_eq!(ControlRecord::decode(&bad), Err(expected), "{position}");
        }
    }

    #[test]
    fn a_write_cut_at_any_sector_leaves_the_old_state_or_the_new_one() {
        let area = ControlArea { records: [Ok(record(4)), Ok(record(5))] };
        let (offset, next) = area.replacement(&ControlRecord::fresh(3));
        assert_eq!((offset, next.sequence), (0, 6));
        let (old, new) = (record(4).encode(), next.encode());
        for cut in (0..=RECORD_SIZE).step_by(512) {
            let mut torn = new[..cut].to_vec();
            torn.extend_from_slice(&old[cut..]);
            let now = ControlArea::decode(&torn, &record(5).encode()).effective();
            assert!(now == record(5) || now == next, "cut at {cut}: {now:?}");
        }
    }

    #[test]
    fn the_valid_record_is_never_overwritten() {
        for (records, offset) in [
            ([Ok(record(1)), Ok(record(2))], 0),
            ([Ok(record(2)), Ok(record(1))], 4096),
            ([Ok(record(2)), Err(BadControlRecord::Damaged)], 4096),
            ([Err(BadControlRecord::Damaged), Ok(record(2))], 0),
            ([Err(BadControlRecord::NoMagic), Err(BadControlRecord::NoMagic)], 0),
        ] {
            assert_eq!(ControlArea { records }.replacement(&record(9)).0, offset);
        }
    }

    #[test]
    fn with_both_records_lost_the_assumed_state_boots() {
        let area = ControlArea::decode(&[0; RECORD_SIZE], &[0xff; RECORD_SIZE]);
        assert_eq!(area.current(), None);
        assert!(Slot::BOTH.iter().all(|&slot| area.effective().slots.get(slot).tries_left > 0));
    }
}
