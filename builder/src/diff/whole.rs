//! What an image has only once, not in each slot: partitions, seals, control records, ESP, the secret partition.

use super::change::{Change, DifferenceKind, Facts, Value};
use crate::browse;
use crate::image::ext4;
use crate::image::reader::{ImageReader, ReadError};
use crate::image::slot;
use crate::limits;
use crate::site::Bytes;
use crate::width::{to_u64, to_usize};
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::slot::Slot;
use keys::seal::SealError;

/// How many bytes of two partitions are compared at once.
const CHUNK: u64 = 1 << 20;

/// The disk and its partitions. The GUIDs of partitions follow from root, site and node, and are not listed again.
pub(super) fn partitions(image: &ImageReader) -> Facts {
    let disk = vec![("size", Value::Number(image.size().0)), ("GUID", Value::text(&image.disk_guid()))];
    let mut facts = Facts::from([("the disk".to_owned(), disk)]);
    for found in image.partitions() {
        let mut partition =
            vec![("size", Value::Number(found.size.0)), ("offset", Value::Number(found.offset.0))];
        if found.role.is_none() {
            partition.push(("type", Value::text(&found.type_guid)));
        }
        let twice = facts.contains_key(&found.name);
        let name = if twice { format!("{} ({})", found.name, found.number) } else { found.name.clone() };
        facts.insert(name, partition);
    }
    facts
}

/// The seal in a partition, by its plain header; an empty one has no facts.
pub(super) fn seal(image: &ImageReader, slot: Slot) -> Result<Facts, String> {
    let seal = match slot::seal(image, slot).map_err(|error| error.to_string())? {
        Err(SealError::Empty) => return Ok(Facts::new()),
        other => other.map_err(|error| error.to_string())?,
    };
    let header = seal.unproven_header();
    let signer = seal.unproven_signer().map_or_else(|| "nobody".into(), |id| id.to_string());
    let facts = vec![
        ("site", Value::text(&header.site)),
        ("node", Value::text(&header.node)),
        ("recipient", Value::text(&header.recipient)),
        ("recipients", Value::Number(to_u64(crate::inspect::stanzas(seal.bytes())))),
        ("generation", Value::Number(header.generation.number())),
        ("created", Value::text(&header.created)),
        ("security epoch", Value::text(&header.security_epoch)),
        ("signed by", Value::Text(signer)),
        ("content", Value::Digest(Sha256Digest::of(seal.bytes()))),
    ];
    Ok([(Role::Seal(slot).to_string(), facts)].into())
}

/// The facts that decide which slot starts. The sequence number is left out, as every start increases it.
pub(super) fn control(image: &ImageReader) -> Result<Facts, String> {
    let area = slot::control(image).map_err(|error| error.to_string())?;
    let record = area.effective();
    let refused: Vec<String> = record.refused.iter().map(ToString::to_string).collect();
    let facts = vec![
        ("first", Value::text(&record.first)),
        ("tries", Value::Number(record.tries.into())),
        ("rescue requested", Value::text(&record.rescue_requested)),
        ("refused", Value::Text(refused.join(", "))),
    ];
    let mut all = Facts::from([("start".to_owned(), facts)]);
    for slot in Slot::BOTH {
        let status = record.slots.get(slot);
        let facts = vec![
            ("state", Value::text(&status.state)),
            ("tries left", Value::Number(status.tries_left.into())),
        ];
        all.insert(format!("slot {slot}"), facts);
    }
    Ok(all)
}

/// What is wrong with each of the two control records.
pub(super) fn control_faults(image: &ImageReader) -> Vec<String> {
    let records = match slot::control(image) {
        Ok(area) => area.records.map(Result::err),
        Err(error) => return vec![error.to_string()],
    };
    (0..).zip(records).filter_map(|(number, bad)| Some(format!("record {number}: {}", bad?))).collect()
}

/// The files of the ESP, the selector among them.
pub(super) fn esp(image: &ImageReader) -> Result<Facts, String> {
    let fact = |(path, content): (String, Vec<u8>)| {
        let facts = vec![
            ("size", Value::Number(Bytes::of(&content).0)),
            ("content", Value::Digest(Sha256Digest::of(&content))),
        ];
        (path, facts)
    };
    Ok(browse::esp_files(image).map_err(|error| error.to_string())?.into_iter().map(fact).collect())
}

/// Whether the secret partitions have the same bytes. What differs in them is not shown.
pub(super) fn secret([a, b]: [&ImageReader; 2]) -> Result<Vec<Change>, ReadError> {
    let differs =
        vec![Change { kind: DifferenceKind::Changed, name: Role::Secret.to_string(), details: Vec::new() }];
    let size = a.check_size(Role::Secret, &limits::SECRET)?;
    if size != b.partition(Role::Secret)?.size.0 {
        return Ok(differs);
    }
    let mut offset = 0;
    while offset < size {
        let length = CHUNK.min(size.saturating_sub(offset));
        let read = |image: &ImageReader| image.read(Role::Secret, Bytes(offset), to_usize(length));
        if read(a)? != read(b)? {
            return Ok(differs);
        }
        offset = offset.saturating_add(length);
    }
    Ok(Vec::new())
}

/// What is wrong with the secret partition's file system.
pub(super) fn secret_fault(image: &ImageReader) -> Option<String> {
    if let Err(error) = image.is_there(Role::Secret) {
        return Some(error.to_string());
    }
    ext4::open(image).err().map(|error| format!("it has no ext4 file system that can be read: {error}"))
}
