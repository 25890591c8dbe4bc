//! The facts as a map of the disk, with words for each partition. `charts` draws the map.

use super::facts::{Inspection, SealFacts, SlotFacts, SlotState};
use crate::image::reader::FoundPartition;
use charts::disk_map::{Content, DiskMap, Extent, draw};
use charts::size;
use handoff::partition::Role;
use handoff::slot::Slot;

/// The map as an SVG file.
#[must_use]
pub fn to_svg(inspection: &Inspection) -> String {
    draw(&disk_map(inspection))
}

fn disk_map(inspection: &Inspection) -> DiskMap {
    let name = inspection.path.file_name().unwrap_or(inspection.path.as_os_str()).to_string_lossy();
    let title = match inspection.seal() {
        Some(seal) => format!("{name}: node {} of site {}", seal.node, seal.site),
        None => format!("{name}: no seal"),
    };
    let [a, b] = &inspection.slots;
    let summary = format!(
        "{}, {} partitions; slot a: {}; slot b: {}",
        size(inspection.size.0),
        inspection.partitions.len(),
        slot_words(a),
        slot_words(b)
    );
    DiskMap {
        title,
        summary,
        size: inspection.size.0,
        extents: inspection.partitions.iter().map(|found| extent(inspection, found)).collect(),
        warnings: inspection.warnings.clone(),
    }
}

fn extent(inspection: &Inspection, found: &FoundPartition) -> Extent {
    let (words, bad) = words(inspection, found);
    Extent {
        number: found.number,
        name: found.name.clone(),
        role: found.role,
        offset: found.offset.0,
        size: found.size.0,
        used: inspection.used.get(&found.number).map(|used| used.0),
        content: Content { words, bad },
    }
}

/// What is in a partition, and whether that is something bad.
fn words(inspection: &Inspection, found: &FoundPartition) -> (String, bool) {
    let Some(role) = found.role else { return ("not of psyopsOS".into(), true) };
    match role {
        Role::Esp => esp_words(inspection),
        Role::Control => control_words(inspection),
        Role::Boot(slot) => boot_words(inspection, slot),
        Role::Root(slot) | Role::Verity(slot) => match &facts(inspection, slot).state {
            SlotState::Empty => ("empty".into(), false),
            SlotState::Bad { .. } => (format!("part of slot {slot}, which is damaged"), true),
            SlotState::Whole { record, .. } if role == Role::Root(slot) => {
                (format!("squashfs of release {}", record.release), false)
            }
            SlotState::Whole { root, .. } => (format!("hash tree of root {root}"), false),
        },
        Role::Seal(slot) => seal_words(inspection, slot),
        Role::Secret => inspection.secret.as_ref().map_or_else(
            || ("no readable file system".into(), true),
            |secret| (format!("ext4, labelled {}", secret.label), false),
        ),
        Role::Data => ("logs and state that are kept over a reboot".into(), false),
    }
}

fn esp_words(inspection: &Inspection) -> (String, bool) {
    let problem = inspection.warnings.iter().find_map(|warning| warning.strip_prefix("esp: "));
    problem
        .map_or_else(|| ("the selector, on FAT32".into(), false), |problem| (format!("bad: {problem}"), true))
}

fn control_words(inspection: &Inspection) -> (String, bool) {
    let Some(area) = &inspection.control else { return ("cannot be read".into(), true) };
    let whole = area.records.iter().filter(|record| record.is_ok()).count();
    (
        format!(
            "{whole} of {} records are valid, slot {} is first",
            area.records.len(),
            area.effective().first
        ),
        whole < 2,
    )
}

fn boot_words(inspection: &Inspection, slot: Slot) -> (String, bool) {
    let facts = facts(inspection, slot);
    let tries = inspection.control.as_ref().map(|area| {
        let record = area.effective();
        let status = record.slots.get(slot);
        format!(": {}, {} of {} tries left", status.state, status.tries_left, record.tries)
    });
    match &facts.state {
        SlotState::Empty => ("empty".into(), false),
        SlotState::Bad { problem, .. } => (format!("bad: {problem}"), true),
        SlotState::Whole { record, .. } => {
            (format!("release {}{}", record.release, tries.unwrap_or_default()), false)
        }
    }
}

fn seal_words(inspection: &Inspection, slot: Slot) -> (String, bool) {
    let content = |facts: &&SealFacts| facts.slot == slot;
    match inspection.seals.iter().find(content).map(|facts| &facts.content) {
        None | Some(Ok(None)) => ("empty".into(), false),
        Some(Ok(Some((header, _)))) => {
            (format!("generation {} for node {}", header.generation, header.node), false)
        }
        Some(Err(problem)) => (format!("bad: {problem}"), true),
    }
}

fn facts(inspection: &Inspection, slot: Slot) -> &SlotFacts {
    let [a, b] = &inspection.slots;
    match slot {
        Slot::A => a,
        Slot::B => b,
    }
}

fn slot_words(facts: &SlotFacts) -> String {
    match &facts.state {
        SlotState::Empty => "empty".into(),
        SlotState::Whole { record, .. } => format!("release {}", record.release),
        SlotState::Bad { .. } => "bad".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;

    #[test]
    fn an_image_is_drawn_with_its_warnings() {
        let fixture = fixture::image();
        let mut seen = super::super::inspect(&fixture.image.path).unwrap();
        let map = to_svg(&seen);
        for words in [
            "node demo of site site",
            "release 1.0: trying, 3 of 3 tries left",
            "3.0 MiB of ",
            "not to scale",
        ] {
            assert!(map.contains(words), "{words}: {map}");
        }
        assert_eq!(map.matches("class=\"row\"").count(), 11);
        assert!(!map.contains("class=\"warning\""));
        seen.warnings.extend(["a<b".into(), "esp: no <FAT>".into()]);
        seen.partitions[0].name = "\"&\u{1}".into();
        let map = to_svg(&seen);
        assert!(map.contains("bad: no &lt;FAT&gt;</text>"), "{map}");
        assert!(map.contains("a&lt;b") && map.contains("&quot;&amp;\\u0001") && !map.contains('\u{1}'));
    }
}
