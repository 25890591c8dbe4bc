//! Why the last failed boot failed, and the end of its log: the failure area of the control partition.
//!
//! The area has two places; the valid record with the higher sequence is current. A record is written to the other
//! place, so a power cut at any byte leaves the old state or the new one. That a failure was shown is recorded in a new
//! record with the same failure in it: nothing is changed in place, and the log stays readable.
//!
//! Layout of a place, little-endian: magic `psyfail1`, sequence (u64), bytes of the record (u32), acknowledged (u8),
//! slot (`a`, `b` or 0), time in seconds since 1970 (u64), then with their lengths (u16) the boot id, node, release,
//! step, fault, problem and remedy, the log with its length (u32), and the SHA-256 of all before. The bytes after it
//! are ignored.

use crate::bytes::{Reader, put_short_str};
use crate::control::FAILURE_AREA_OFFSET;
use crate::hash::Sha256Digest;
use crate::json::Object;
use crate::slot::Slot;
use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Bytes of one place.
pub const PLACE_SIZE: usize = 128 * 1024;
/// [`PLACE_SIZE`] as a device offset.
pub const PLACE_SIZE_U64: u64 = 128 * 1024;
/// Where the places begin in the partition, in bytes.
pub const PLACE_OFFSETS: [u64; 2] = [FAILURE_AREA_OFFSET, FAILURE_AREA_OFFSET.saturating_add(PLACE_SIZE_U64)];
/// The first bytes of a place, enough for [`record_length`].
pub const HEAD: usize = 4096;
/// The most bytes of a log that are kept: its end, where the failure is.
pub const LONGEST_LOG: usize = 112 * 1024;
/// The most bytes of each other text.
const LONGEST_TEXT: usize = 2 * 1024;

const MAGIC: &[u8; 8] = b"psyfail1";
const DIGEST: usize = 32;

/// A boot that failed: when, in which step, why, and its log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastFailure {
    /// The node's name; empty if its seal was not open yet.
    pub node: String,
    /// The slot that was started, if the selector reported it.
    pub slot: Option<Slot>,
    /// The release that was booting.
    pub release: String,
    /// The boot step that failed.
    pub step: String,
    /// The kind of fault, see [`crate::fault::Fault`].
    pub fault: String,
    /// What failed, on what.
    pub problem: String,
    /// What the user can do.
    pub remedy: String,
    /// The time in seconds since 1970, as far as the machine's clock was right.
    pub unix_time: u64,
    /// The kernel's id of that boot.
    pub boot_id: String,
    /// The loader's log, or its end.
    pub log: String,
}

impl LastFailure {
    /// All fields except the log, as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let slot = self.slot.map(|slot| match slot {
            Slot::A => "a",
            Slot::B => "b",
        });
        let optional =
            |object: Object, key, value: &str| object.optional(key, (!value.is_empty()).then_some(value));
        let object = optional(Object::new(), "node", &self.node).optional("slot", slot);
        let object = optional(object, "release", &self.release);
        let object = object.string("step", &self.step).string("fault", &self.fault);
        let object = object.string("problem", &self.problem).string("remedy", &self.remedy);
        optional(object.number("unix_time", self.unix_time), "boot_id", &self.boot_id).finish()
    }
}

/// The content of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureRecord {
    /// Grows by one with each record written.
    pub sequence: u64,
    /// Whether a later boot has shown it.
    pub acknowledged: bool,
    /// The boot that failed.
    pub failure: LastFailure,
}

/// Why a place does not have a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadFailureRecord {
    /// Nothing was ever written there.
    Empty,
    /// Does not begin with the magic of a record.
    NoMagic,
    /// The record's length is not possible; holds that length.
    BadLength(usize),
    /// The record does not match its own digest: written in part, or changed.
    Damaged,
    /// Undamaged, but this field has a value that is not valid: written by another version.
    BadField(&'static str),
}

impl fmt::Display for BadFailureRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty: no boot has failed"),
            Self::NoMagic => f.write_str("no failure record: it does not begin with psyfail1"),
            Self::BadLength(length) => {
                write!(f, "failure record: {length} bytes are more than it has room for")
            }
            Self::Damaged => {
                f.write_str("failure record damaged or written in part: its SHA-256 does not match")
            }
            Self::BadField(field) => write!(f, "failure record: the value of the field {field} is not valid"),
        }
    }
}

impl core::error::Error for BadFailureRecord {}

/// The number of bytes of a place that belong to the record which begins with `head`.
pub fn record_length(head: &[u8]) -> Result<usize, BadFailureRecord> {
    if head.iter().all(|&byte| byte == 0) {
        return Err(BadFailureRecord::Empty);
    }
    let mut fields = Reader::new(head);
    if fields.array::<8>().as_ref() != Some(MAGIC) {
        return Err(BadFailureRecord::NoMagic);
    }
    let _sequence = fields.u64();
    let length = fields.u32().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if (DIGEST..=PLACE_SIZE).contains(&length) {
        Ok(length)
    } else {
        Err(BadFailureRecord::BadLength(length))
    }
}

impl FailureRecord {
    /// The record's bytes on the disk. Texts that are too long are cut, the log at its beginning.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let failure = &self.failure;
        let mut body = Vec::new();
        body.push(u8::from(self.acknowledged));
        body.push(failure.slot.map_or(0, |slot| match slot {
            Slot::A => b'a',
            Slot::B => b'b',
        }));
        body.extend_from_slice(&failure.unix_time.to_le_bytes());
        for text in [
            &failure.boot_id,
            &failure.node,
            &failure.release,
            &failure.step,
            &failure.fault,
            &failure.problem,
            &failure.remedy,
        ] {
            put_short_str(&mut body, beginning(text));
        }
        let log = end(&failure.log);
        body.extend_from_slice(&u32::try_from(log.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(log.as_bytes());
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.sequence.to_le_bytes());
        let length =
            out.len().saturating_add(size_of::<u32>()).saturating_add(body.len()).saturating_add(DIGEST);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&body);
        let digest = Sha256Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    /// Reads the record at the beginning of `place`.
    pub fn decode(place: &[u8]) -> Result<Self, BadFailureRecord> {
        let length = record_length(place)?;
        let record = place.get(..length).ok_or(BadFailureRecord::BadLength(length))?;
        let body = record.split_at_checked(length.saturating_sub(DIGEST));
        let (body, digest) = body.ok_or(BadFailureRecord::BadLength(length))?;
        if Sha256Digest::of(body).as_bytes().as_slice() != digest {
            return Err(BadFailureRecord::Damaged);
        }
        let field = BadFailureRecord::BadField;
        let mut fields = Reader::new(body);
        fields.array::<8>().ok_or(field("magic"))?;
        let sequence = fields.u64().ok_or(field("sequence"))?;
        fields.u32().ok_or(field("length"))?;
        let acknowledged = match fields.u8() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(field("acknowledged")),
        };
        let slot = match fields.u8() {
            Some(0) => None,
            Some(b'a') => Some(Slot::A),
            Some(b'b') => Some(Slot::B),
            _ => return Err(field("slot")),
        };
        let unix_time = fields.u64().ok_or(field("time"))?;
        let mut text = |name| fields.short_str().map(str::to_owned).ok_or(field(name));
        let (boot_id, node, release) = (text("boot id")?, text("node")?, text("release")?);
        let (step, fault) = (text("step")?, text("fault")?);
        let (problem, remedy) = (text("problem")?, text("remedy")?);
        let log = fields.u32().and_then(|length| fields.take(usize::try_from(length).ok()?));
        let log = log.and_then(|bytes| core::str::from_utf8(bytes).ok()).ok_or(field("log"))?.to_owned();
        let failure =
            LastFailure { node, slot, release, step, fault, problem, remedy, unix_time, boot_id, log };
        Ok(Self { sequence, acknowledged, failure })
    }
}

/// The beginning of a text, cut to [`LONGEST_TEXT`].
fn beginning(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default()
}

/// The last lines of a log, at most [`LONGEST_LOG`] bytes.
fn end(log: &str) -> &str {
    let surplus = log.len().saturating_sub(LONGEST_LOG);
    if surplus == 0 {
        return log;
    }
    let end = log.get(log.ceil_char_boundary(surplus)..).unwrap_or_default();
    end.split_once('\n').map_or(end, |(_, lines)| lines)
}

/// Both places of the failure area as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureArea {
    /// Each place's record, or why there is none.
    pub records: [Result<FailureRecord, BadFailureRecord>; 2],
}

impl FailureArea {
    /// The valid record with the higher sequence.
    #[must_use]
    pub fn current(&self) -> Option<&FailureRecord> {
        self.records.iter().filter_map(|record| record.as_ref().ok()).max_by_key(|record| record.sequence)
    }

    /// The offset and the record to write for this failure: never over the record that is current now.
    #[must_use]
    pub fn replacement(&self, failure: LastFailure, acknowledged: bool) -> (u64, FailureRecord) {
        let held = self.current().map_or(0, |record| record.sequence);
        let record = FailureRecord { sequence: held.saturating_add(1), acknowledged, failure };
        let [first, second] = PLACE_OFFSETS;
        let first_holds = self.current().is_some_and(|held| self.records.first() == Some(&Ok(held.clone())));
        (if first_holds { second } else { first }, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FailureRecord {
        FailureRecord {
            sequence: 7,
            acknowledged: false,
            failure: LastFailure {
                node: "demo".into(),
                slot: Some(Slot::B),
                release: "2026.11".into(),
                step: "root".into(),
                fault: "root".into(),
                problem: "root-b: the top hash block does not hold".into(),
                remedy: "flash the stick again".into(),
                unix_time: 1_800_000_000,
                boot_id: "0f3c".into(),
                log: "[    1.000] ünder way\n".repeat(30),
            },
        }
    }

    #[test]
    fn a_written_value_is_read_back() {
        let bytes = record().encode();
        assert_eq!(FailureRecord::decode(&bytes), Ok(record()));
        let mut place = bytes.clone();
        place.extend_from_slice(b"what lay there before");
        assert_eq!(FailureRecord::decode(&place), Ok(record()), "what follows is of no meaning");
        let bare = FailureRecord { acknowledged: true, failure: LastFailure::default(), ..record() };
        assert_eq!(FailureRecord::decode(&bare.encode()), Ok(bare));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = record().encode();
        for position in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[position] ^= 1;
            match FailureRecord::decode(&bad) {
                Err(BadFailureRecord::NoMagic) => assert!(position < 8, "{position}"),
                Err(BadFailureRecord::BadLength(_)) => assert!((16..20).contains(&position), "{position}"),
                Err(BadFailureRecord::Damaged) => assert!(position >= 8, "{position}"),
                other => panic!("byte {position}: {other:?}"),
            }
        }
    }

    #[test]
    fn cut_and_empty_places_have_their_own_errors() {
        let bytes = record().encode();
        assert_eq!(FailureRecord::decode(&[0; HEAD]), Err(BadFailureRecord::Empty));
        let cut = FailureRecord::decode(&bytes[..bytes.len() - 1]);
        assert_eq!(cut, Err(BadFailureRecord::BadLength(bytes.len())));
        assert_eq!(FailureRecord::decode(&[b'x'; HEAD]), Err(BadFailureRecord::NoMagic));
    }

    #[test]
    fn the_longest_record_fits_its_place_and_keeps_the_end_of_the_log() {
        let long = "ü".repeat(PLACE_SIZE);
        let mut big = record();
        big.failure = LastFailure {
            node: long.clone(),
            release: long.clone(),
            step: long.clone(),
            fault: long.clone(),
            problem: long.clone(),
            remedy: long.clone(),
            boot_id: long.clone(),
            log: "one line ü\n".repeat(PLACE_SIZE) + "the last line\n",
            ..big.failure
        };
        let bytes = big.encode();
        assert!(bytes.len() <= PLACE_SIZE, "{}", bytes.len());
        let read = FailureRecord::decode(&bytes).unwrap().failure;
        assert_eq!(read.problem, "ü".repeat(LONGEST_TEXT / 2));
        assert!(read.log.len() > LONGEST_LOG - 20, "{}", read.log.len());
        assert!(read.log.starts_with("one line ü\n") && read.log.ends_with("\nthe last line\n"));
    }

    #[test]
    fn the_valid_record_is_never_overwritten() {
        let with = |sequence| Ok(FailureRecord { sequence, ..record() });
        let [first, second] = PLACE_OFFSETS;
        for (records, offset, sequence) in [
            ([with(1), with(2)], first, 3),
            ([with(2), with(1)], second, 3),
            ([with(2), Err(BadFailureRecord::Damaged)], second, 3),
            ([Err(BadFailureRecord::Damaged), with(2)], first, 3),
            ([Err(BadFailureRecord::Empty), Err(BadFailureRecord::Empty)], first, 1),
        ] {
            let (place, next) = FailureArea { records }.replacement(LastFailure::default(), false);
            assert_eq!((place, next.sequence), (offset, sequence));
        }
    }

    #[test]
    fn unknown_values_are_null_in_json() {
        let json: serde_json::Value = serde_json::from_str(&record().failure.to_json()).unwrap();
        assert_eq!(json["slot"], "b");
        assert_eq!(json["fault"], "root");
        assert!(json.get("log").is_none());
        let bare: serde_json::Value = serde_json::from_str(&LastFailure::default().to_json()).unwrap();
        assert!(bare["node"].is_null() && bare["slot"].is_null());
    }
}
