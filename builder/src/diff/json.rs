//! The difference for programs: always complete.

use super::{Change, Detail, Difference, Section, Value};
use serde_json::{Value as Json, json};

/// The difference as one JSON object.
#[must_use]
pub fn to_json(difference: &Difference) -> Json {
    let [a, b] = difference.paths.each_ref().map(|path| path.display().to_string());
    let damaged = difference.damaged.iter().map(
        |damage| json!({ "image": damage.side.to_string(), "part": damage.part, "problem": damage.problem }),
    );
    json!({
        "format": 1,
        "A": a,
        "B": b,
        "same": difference.is_same() && difference.damaged.is_empty(),
        "damaged": damaged.collect::<Vec<_>>(),
        "parts": difference.sections.iter().map(section).collect::<Vec<_>>(),
    })
}

fn section(section: &Section) -> Json {
    json!({
        "part": section.part,
        "slot": section.slot.map(|slot| slot.to_string()),
        "same": section.is_same(),
        "notes": section.notes,
        "changes": section.changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn change(change: &Change) -> Json {
    json!({
        "kind": change.kind.word(),
        "name": change.name,
        "details": change.details.iter().map(detail).collect::<Vec<_>>(),
    })
}

fn detail(detail: &Detail) -> Json {
    json!({ "what": detail.what, "from": detail.from.as_ref().map(value), "to": detail.to.as_ref().map(value) })
}

fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => text.clone().into(),
        Value::Number(number) => (*number).into(),
        Value::Digest(digest) => digest.to_string().into(),
    }
}
