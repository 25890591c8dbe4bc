//! The records outside of file systems, with damaged digests and with correct ones.

use handoff::boot_record::BootRecord;
use handoff::control::{ControlArea, ControlRecord};
use handoff::hash::Sha256Digest;
use handoff::last_failure::{
    BadFailureRecord, FailureArea, FailureRecord, LastFailure, PLACE_OFFSETS, record_length,
};
use handoff::verity::Superblock;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    read(bytes);
    failure(bytes);
    if let Some(place) = failure_with_its_digest(bytes) {
        failure(&place);
    }
    if let Some((body, _)) = bytes.split_at_checked(4096 - 32) {
        read(&[body, Sha256Digest::of(body).as_bytes().as_slice()].concat());
    }
}

fn failure(place: &[u8]) {
    if let Ok(record) = FailureRecord::decode(place) {
        // Texts that are too long are cut when they are written.
        let written = FailureRecord::decode(&record.encode()).expect("what is written is read");
        assert_eq!((written.sequence, written.acknowledged), (record.sequence, record.acknowledged));
        let area = FailureArea { records: [Ok(record.clone()), Err(BadFailureRecord::Empty)] };
        let (offset, next) = area.replacement(LastFailure::default(), true);
        assert!(
            offset == PLACE_OFFSETS[1] && next.sequence >= record.sequence,
            "what holds is not overwritten"
        );
    }
}

fn failure_with_its_digest(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = record_length(bytes).ok()?;
    let mut place = bytes.get(..length)?.to_vec();
    let digest = Sha256Digest::of(place.get(..length - 32)?);
    place[length - 32..].copy_from_slice(digest.as_bytes());
    Some(place)
}

fn read(bytes: &[u8]) {
    if let Ok(record) = ControlRecord::decode(bytes) {
        assert_eq!(ControlRecord::decode(&record.encode()).as_ref(), Ok(&record));
        let area = ControlArea::decode(bytes, bytes);
        let (_, next) = area.replacement(&record);
        assert!(next.sequence >= record.sequence, "the newer record wins");
    }
    if let Ok(record) = BootRecord::decode(bytes)
        && let Some(written) = record.encode()
    {
        assert_eq!(BootRecord::decode(&written), Ok(record));
    }
    if let Ok(superblock) = Superblock::decode(bytes) {
        assert_eq!(superblock.levels().first(), Some(&1), "a tree has one top block");
        let _ = superblock.hash_device_size();
    }
}
