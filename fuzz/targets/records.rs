//! The records that lie outside any file system, with damaged digests and with right ones.
#![no_main]

use handoff::boot_record::BootRecord;
use handoff::control::{ControlArea, ControlRecord};
use handoff::hash::Sha256Digest;
use handoff::verity::Superblock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if let Some((body, _)) = bytes.split_at_checked(4096 - 32) {
        read(&[body, Sha256Digest::of(body).as_bytes().as_slice()].concat());
    }
});

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
