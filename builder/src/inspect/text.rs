//! The facts as text for people, no longer than a screen.

use super::facts::{Inspection, OlderSeal, SealFacts, SlotFacts, SlotState};
use charts::size;
use handoff::control::ControlArea;
use handoff::shown::Shown;
use handoff::slot::Slot;

/// The facts as lines.
#[must_use]
pub fn to_text(inspection: &Inspection) -> String {
    let mut text = format!("{}: {}\n", Shown(inspection.path.display()), size(inspection.size.0));
    if let Some(seal) = inspection.seal() {
        text.push_str(&format!("node {} of site {} (from its seal)\n", seal.node, seal.site));
    }
    text.push_str(&format!("disk {}\n\n", inspection.disk_guid));
    for partition in &inspection.partitions {
        let foreign = if partition.role.is_none() { "  (not of psyopsOS)" } else { "" };
        text.push_str(&format!(
            "{:>3}  {:<10} at {:>10}  {:>10}  {}{foreign}\n",
            partition.number,
            Shown(&partition.name).to_string(),
            size(partition.offset.0),
            size(partition.size.0),
            partition.guid
        ));
    }
    text.push('\n');
    inspection.slots.iter().for_each(|facts| text.push_str(&slot(facts)));
    if let Some(area) = &inspection.control {
        text.push_str(&control(area));
    }
    inspection.seals.iter().for_each(|facts| text.push_str(&seal(facts)));
    if let Some(OlderSeal { slot, generation, newer }) = inspection.older_seal() {
        let used = slot.other();
        text.push_str(&format!(
            "        seal-{slot} is older (generation {generation}); nodes use seal-{used} (generation {newer}) if \
             its signature is valid\n"
        ));
    }
    if let Some(secret) = &inspection.secret {
        text.push_str(&format!("secret  ext4 {}, UUID {}\n", Shown(&secret.label), secret.uuid));
    }
    if !inspection.warnings.is_empty() {
        text.push('\n');
    }
    for warning in &inspection.warnings {
        text.push_str(&format!("warning: {}\n", Shown(warning)));
    }
    text
}

fn slot(facts: &SlotFacts) -> String {
    match &facts.state {
        SlotState::Empty => format!("slot {}  empty\n", facts.slot),
        SlotState::Bad { problem, .. } => format!("slot {}  bad: {}\n", facts.slot, Shown(problem)),
        SlotState::Whole { record, root, command_line } => format!(
            "slot {}  release {}, security epoch {}, UKI of {}\n        root hash {root}\n        {}\n",
            facts.slot,
            record.release,
            record.security_epoch,
            size(record.length),
            Shown(command_line),
        ),
    }
}

fn control(area: &ControlArea) -> String {
    let record = area.effective();
    let slot = |slot: Slot| {
        let status = record.slots.get(slot);
        format!("{slot} {} with {} of {} tries", status.state, status.tries_left, record.tries)
    };
    let assumed = if area.current().is_none() { " (assumed: both records are lost)" } else { "" };
    let rescue = if record.rescue_requested { ", rescue requested" } else { "" };
    format!("control first {}; {}; {}{rescue}{assumed}\n", record.first, slot(Slot::A), slot(Slot::B))
}

fn seal(facts: &SealFacts) -> String {
    match &facts.content {
        Ok(None) => format!("seal-{}  empty\n", facts.slot),
        Err(problem) => format!("seal-{}  bad: {}\n", facts.slot, Shown(problem)),
        Ok(Some((header, recipients))) => format!(
            "seal-{}  generation {} of {}, security epoch {}\n        for {} and {} more\n",
            facts.slot,
            header.generation,
            header.created,
            header.security_epoch,
            header.recipient,
            recipients.saturating_sub(1),
        ),
    }
}
