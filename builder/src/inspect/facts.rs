//! The facts of an image, and what is wrong with them.

use super::usage::used;
use crate::image::esp_reader;
use crate::image::ext4;
use crate::image::reader::{FoundPartition, ImageReader, ReadError};
use crate::image::seals;
use crate::image::slot::{self, SlotError};
use crate::site::Bytes;
use handoff::boot_record::{BadBootRecord, BootRecord};
use handoff::control::{BadControlRecord, ControlArea};
use handoff::partition::Role;
use handoff::paths::SECRET_LABEL;
use handoff::slot::Slot;
use handoff::verity::RootHash;
use keys::seal::SealError;
use keys::seal::header::{Generation, Header};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The content of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing was written to the slot.
    Empty,
    /// A system whose parts fit each other.
    Whole {
        /// The boot record of the slot.
        record: BootRecord,
        /// The root hash on the UKI's command line.
        root: RootHash,
        /// The kernel command line.
        command_line: String,
    },
    /// A system that would not start.
    Bad {
        /// The boot record, if it is valid.
        record: Option<BootRecord>,
        /// What is wrong with the slot.
        problem: String,
    },
}

/// The facts of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFacts {
    /// Which of the two slots.
    pub slot: Slot,
    /// The content of the slot.
    pub state: SlotState,
}

/// The facts of a seal partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealFacts {
    /// Which of the two seal partitions.
    pub slot: Slot,
    /// The header, which is not verified, and the number of keys that the payload is encrypted to; `None` if nothing
    /// was written. The error says what is wrong.
    pub content: Result<Option<(Header, usize)>, String>,
}

/// The facts of the secret partition's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFacts {
    /// The label of the file system.
    pub label: String,
    /// The UUID of the file system.
    pub uuid: Uuid,
}

/// A seal partition whose seal is older than the other one, according to both headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OlderSeal {
    /// Which of the two seal partitions.
    pub slot: Slot,
    /// The generation of its seal.
    pub generation: Generation,
    /// The generation of the other seal.
    pub newer: Generation,
}

/// All facts of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The path of the image.
    pub path: PathBuf,
    /// The size of the image.
    pub size: Bytes,
    /// The GUID of the disk.
    pub disk_guid: Uuid,
    /// The partitions by their number.
    pub partitions: Vec<FoundPartition>,
    /// The filled bytes of each partition, by number, if the content tells.
    pub used: BTreeMap<u32, Bytes>,
    /// The control records, if they could be read.
    pub control: Option<ControlArea>,
    /// The facts of both slots.
    pub slots: [SlotFacts; 2],
    /// The facts of both seal partitions.
    pub seals: [SealFacts; 2],
    /// The facts of the secret partition, if it could be read.
    pub secret: Option<SecretFacts>,
    /// Everything that is wrong with the image.
    pub warnings: Vec<String>,
}

impl Inspection {
    /// The header of the seal with the highest generation. It is not verified.
    #[must_use]
    pub fn seal(&self) -> Option<&Header> {
        let headers = self.seals.iter().filter_map(|seal| seal.content.as_ref().ok()?.as_ref());
        seals::highest(headers.map(|(header, _)| header), |header| header.generation)
    }
}

impl Inspection {
    /// The seal partition with the older seal, if both have one and their generations differ.
    #[must_use]
    pub fn older_seal(&self) -> Option<OlderSeal> {
        let generation =
            |facts: &SealFacts| Some((facts.slot, facts.content.as_ref().ok()?.as_ref()?.0.generation));
        let [a, b] = self.seals.each_ref().map(generation);
        let (a, b) = (a?, b?);
        let (older, newer) = if a.1 < b.1 { (a, b) } else { (b, a) };
        (older.1 < newer.1).then_some(OlderSeal { slot: older.0, generation: older.1, newer: newer.1 })
    }
}

/// Reads an image. Only an image without any partition table is an error.
pub fn inspect(path: &Path) -> Result<Inspection, ReadError> {
    let image = ImageReader::open(path)?;
    let mut warnings = image.table_faults().to_vec();
    let slots = Slot::BOTH.map(|slot| slot_facts(&image, slot));
    let seals = Slot::BOTH.map(|slot| seal_facts(&image, slot));
    let control = note(slot::control(&image), &mut warnings);
    let secret = note(secret_facts(&image), &mut warnings);
    let mut inspection = Inspection {
        path: path.to_owned(),
        size: image.size(),
        disk_guid: image.disk_guid(),
        partitions: image.partitions().to_vec(),
        used: image
            .partitions()
            .iter()
            .filter_map(|found| Some((found.number, used(&image, found.role?)?)))
            .collect(),
        control,
        slots,
        seals,
        secret,
        warnings,
    };
    let more = more_warnings(&image, &inspection);
    inspection.warnings.extend(more);
    Ok(inspection)
}

fn note<T, E: Error>(result: Result<T, E>, warnings: &mut Vec<String>) -> Option<T> {
    result.map_err(|error| warnings.push(error.to_string())).ok()
}

fn slot_facts(image: &ImageReader, slot: Slot) -> SlotFacts {
    let checked = match slot::uki(image, slot) {
        Ok(checked) => checked,
        Err(SlotError::Record(BadBootRecord::Empty)) => return SlotFacts { slot, state: SlotState::Empty },
        Err(error) => {
            let state = SlotState::Bad { record: slot::record(image, slot).ok(), problem: error.to_string() };
            return SlotFacts { slot, state };
        }
    };
    let rest = checked.root_hash().and_then(|root| {
        slot::check_tree(image, slot, root)?;
        Ok((root, checked.command_line()?))
    });
    let state = match rest {
        Ok((root, command_line)) => SlotState::Whole { record: checked.record, root, command_line },
        Err(error) => SlotState::Bad { record: Some(checked.record), problem: error.to_string() },
    };
    SlotFacts { slot, state }
}

fn seal_facts(image: &ImageReader, slot: Slot) -> SealFacts {
    let content = match slot::seal(image, slot) {
        Ok(Ok(seal)) => Ok(Some((seal.unproven_header().clone(), stanzas(seal.bytes())))),
        Ok(Err(SealError::Empty)) => Ok(None),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    SealFacts { slot, content }
}

/// The number of keys that the payload is encrypted to: lines that begin with `-> ` in the header of an age file, which
/// does not tell more about the keys.
pub(crate) fn stanzas(seal: &[u8]) -> usize {
    let start = seal.windows(2).position(|pair| pair == b"\n\n").unwrap_or(seal.len());
    let payload = seal.get(start..).unwrap_or_default();
    let header_end = payload.windows(5).position(|window| window == b"\n--- ").unwrap_or(0);
    let header = payload.get(..header_end).unwrap_or_default();
    header.windows(4).filter(|window| *window == b"\n-> ").count()
}

#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error(transparent)]
    Image(#[from] ReadError),
    #[error(
        "the secret partition has no ext4 file system that can be read: {0}; make it again with mksecrets"
    )]
    Ext4(ext4::OpenError),
}

impl From<ext4::OpenError> for SecretError {
    fn from(error: ext4::OpenError) -> Self {
        Self::Ext4(error)
    }
}

fn secret_facts(image: &ImageReader) -> Result<SecretFacts, SecretError> {
    image.is_there(Role::Secret)?;
    let file_system = ext4::open(image)?;
    let label = String::from_utf8_lossy(file_system.label().as_bytes()).trim_end_matches('\0').to_owned();
    Ok(SecretFacts { label, uuid: Uuid::from_bytes(*file_system.uuid().as_bytes()) })
}

fn more_warnings(image: &ImageReader, seen: &Inspection) -> Vec<String> {
    let mut warnings = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Data) {
        if image.partition(role).is_err() {
            warnings.push(format!("there is no partition {role}"));
        }
    }
    if image.partition(Role::Esp).is_ok()
        && let Err(error) = esp_reader::check(image)
    {
        warnings.push(format!("esp: {error}"));
    }
    for (number, record) in (0..).zip(seen.control.iter().flat_map(|control| &control.records)) {
        if let Err(bad) = record {
            warnings.push(control_warning(number, bad));
        }
    }
    for facts in &seen.slots {
        if let SlotState::Bad { problem, .. } = &facts.state {
            warnings.push(format!("slot {}: {problem}", facts.slot));
        }
    }
    if seen.slots.iter().all(|facts| facts.state == SlotState::Empty) {
        warnings.push("both slots are empty: nothing would start".into());
    }
    for seal in &seen.seals {
        if let Err(problem) = &seal.content {
            warnings.push(format!("seal-{}: {problem}", seal.slot));
        }
    }
    if seen.seal().is_none() {
        warnings.push("there is no seal: the node could not open its secrets".into());
    }
    if let Some(secret) = seen.secret.as_ref().filter(|secret| secret.label != SECRET_LABEL) {
        warnings.push(format!("the secret partition is labelled {:?}, not {SECRET_LABEL:?}", secret.label));
    }
    warnings
}

fn control_warning(number: u32, bad: &BadControlRecord) -> String {
    format!("control record {number}: {bad}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{self, Fixture};
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    fn flip(fixture: &Fixture, role: Role, offset: u64) {
        overwrite(fixture, role, offset, |byte| byte ^ 0x40);
    }

    fn overwrite(fixture: &Fixture, role: Role, offset: u64, change: fn(u8) -> u8) {
        let at = fixture.image.plan.partition(role).unwrap().offset.0 + offset;
        overwrite_disk(fixture, at, change);
    }

    fn overwrite_disk(fixture: &Fixture, at: u64, change: fn(u8) -> u8) {
        let file = File::options().read(true).write(true).open(&fixture.image.path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[change(byte[0])], at).unwrap();
    }

    fn look(fixture: &Fixture) -> Inspection {
        inspect(&fixture.image.path).unwrap()
    }

    #[test]
    fn a_whole_image_has_no_warning() {
        let seen = look(&fixture::image());
        assert_eq!(seen.warnings, [] as [&str; 0]);
        let SlotState::Whole { record, command_line, .. } = &seen.slots[0].state else { panic!("{seen:?}") };
        assert_eq!(record.release.as_str(), "1.0");
        assert!(command_line.ends_with(" quiet"));
        assert_eq!(seen.slots[1].state, SlotState::Empty);
        assert_eq!(seen.seal().unwrap().node.as_str(), "demo");
        assert_eq!(seen.seals[0].content.as_ref().unwrap().as_ref().unwrap().1, 2);
        let json = super::super::to_json(&seen);
        assert_eq!(json["node"], "demo");
        assert_eq!(json["slots"][0]["state"], "whole");
        assert!(super::super::to_text(&seen).contains("node demo of site site"));
    }

    #[test]
    fn each_damaged_part_is_named_and_the_others_are_shown() {
        let a = Slot::A;
        let cases: [(Role, u64, &str); 7] = [
            (Role::Boot(a), 100, "slot a: the UKI has the SHA-256"),
            (Role::Boot(a), (64 << 20) - 4000, "slot a: boot record damaged"),
            (Role::Verity(a), 4100, "slot a: the hash tree in verity-a does not match the root hash"),
            (Role::Control, 9, "control record 0: control record damaged or written in part"),
            (Role::Control, 4096 + 9, "control record 1: control record damaged or written in part"),
            (Role::Seal(a), 2, "seal-a: this is not a seal"),
            (Role::Secret, 1024 + 56, "the secret partition has no ext4"),
        ];
        for (role, offset, expected) in cases {
            let fixture = fixture::image();
            flip(&fixture, role, offset);
            let seen = look(&fixture);
            assert!(
                seen.warnings.iter().any(|warning| warning.starts_with(expected)),
                "{role}: {:?}",
                seen.warnings
            );
            assert_eq!(seen.partitions.len(), 11, "{role}");
        }
    }

    #[test]
    fn a_torn_primary_table_is_read_from_the_backup() {
        let fixture = fixture::image();
        overwrite_disk(&fixture, 512 + 60, |byte| !byte);
        let seen = look(&fixture);
        assert!(
            seen.warnings[0].starts_with("the primary partition table is damaged"),
            "{:?}",
            seen.warnings
        );
        assert!(matches!(seen.slots[0].state, SlotState::Whole { .. }));
    }

    #[test]
    fn a_file_that_is_not_an_image_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert!(matches!(inspect(&path), Err(ReadError::NoTable { .. })));
        assert!(matches!(inspect(&folder.path().join("no")), Err(ReadError::Open { .. })));
        assert!(matches!(inspect(folder.path()), Err(ReadError::Open { .. })));
    }
}
