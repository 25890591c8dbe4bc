//! The facts as JSON, for programs.

use super::facts::{Inspection, SealFacts, SlotFacts, SlotState};
use crate::image::reader::FoundPartition;
use handoff::boot_record::BootRecord;
use handoff::control::ControlArea;
use handoff::partition::Role;
use serde_json::{Value, json};

/// The facts as one JSON object.
#[must_use]
pub fn to_json(inspection: &Inspection) -> Value {
    let seal = inspection.seal();
    json!({
        "format": 1,
        "path": inspection.path.display().to_string(),
        "size": inspection.size.0,
        "disk_guid": inspection.disk_guid.to_string(),
        "site": seal.map(|seal| seal.site.to_string()),
        "node": seal.map(|seal| seal.node.to_string()),
        "partitions": inspection.partitions.iter().map(|found| partition(found, inspection)).collect::<Vec<_>>(),
        "control": inspection.control.as_ref().map(control),
        "slots": inspection.slots.iter().map(slot).collect::<Vec<_>>(),
        "seals": inspection.seals.iter().map(seal_partition).collect::<Vec<_>>(),
        "older_seal": inspection.older_seal().map(|older| json!({
            "slot": older.slot.to_string(),
            "serial": older.generation.number(),
            "newer": older.newer.number(),
        })),
        "secret": inspection.secret.as_ref().map(|secret| json!({
            "label": secret.label,
            "uuid": secret.uuid.to_string(),
        })),
        "warnings": inspection.warnings,
    })
}

fn partition(partition: &FoundPartition, inspection: &Inspection) -> Value {
    json!({
        "number": partition.number,
        "name": partition.name,
        "role": partition.role.map(Role::name),
        "guid": partition.guid.to_string(),
        "type": partition.type_guid.to_string(),
        "offset": partition.offset.0,
        "size": partition.size.0,
        "used": inspection.used.get(&partition.number).map(|used| used.0),
    })
}

fn control(area: &ControlArea) -> Value {
    let effective = area.effective();
    let slot = |slot| {
        let status = effective.slots.get(slot);
        json!({"state": status.state.to_string(), "tries_left": status.tries_left})
    };
    json!({
        "first": effective.first.to_string(),
        "tries": effective.tries,
        "a": slot(handoff::slot::Slot::A),
        "b": slot(handoff::slot::Slot::B),
        "rescue_requested": effective.rescue_requested,
        "refused": effective.refused.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sequence": effective.sequence,
        "assumed": area.current().is_none(),
    })
}

fn record_facts(record: Option<&BootRecord>) -> Value {
    record.map_or(Value::Null, |record| {
        json!({
            "release": record.release.to_string(),
            "security_epoch": record.security_epoch,
            "uki_size": record.length,
            "uki_sha256": record.digest.to_string(),
            "signed": !record.signature.is_empty(),
        })
    })
}

fn slot(facts: &SlotFacts) -> Value {
    let mut value = match &facts.state {
        SlotState::Empty => json!({"state": "empty"}),
        SlotState::Whole { record, root, command_line } => json!({
            "state": "whole",
            "boot_record": record_facts(Some(record)),
            "root_hash": root.to_string(),
            "command_line": command_line,
        }),
        SlotState::Bad { record, problem } => json!({
            "state": "bad",
            "boot_record": record_facts(record.as_ref()),
            "problem": problem,
        }),
    };
    value["slot"] = facts.slot.to_string().into();
    value
}

fn seal_partition(facts: &SealFacts) -> Value {
    let mut value = match &facts.content {
        Ok(None) => json!({"state": "empty"}),
        Ok(Some((header, recipients))) => json!({
            "state": "present",
            "site": header.site.to_string(),
            "node": header.node.to_string(),
            "recipient": header.recipient.to_string(),
            "recipients": recipients,
            "serial": header.generation.number(),
            "created": header.created.to_string(),
            "release_floor": header.security_epoch,
        }),
        Err(problem) => json!({"state": "bad", "problem": problem}),
    };
    value["slot"] = facts.slot.to_string().into();
    value
}
