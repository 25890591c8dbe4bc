//! The result of the comparison, for people and for programs.

use super::{Rebuilt, Verdict};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A line for each part, then the result.
#[must_use]
pub fn to_text(rebuilt: &Rebuilt) -> String {
    let mut text = String::new();
    for (part, verdict) in &rebuilt.parts {
        let line = match verdict {
            Verdict::Same => "the same".to_owned(),
            Verdict::Different { offset, found, built } => {
                format!("DIFFERENT from byte {offset} on: {found} in the image, {built} from the site")
            }
            Verdict::Holds(how) => format!("valid, {how}"),
            Verdict::Bad(why) => format!("BAD: {why}"),
        };
        let _ = writeln!(text, "{part:<9} {line}");
    }
    let (path, node) = (rebuilt.path.display(), &rebuilt.node);
    let _ = if rebuilt.is_same() {
        writeln!(text, "{path}: equal to a new build of node {node}; the secret partition was not compared")
    } else {
        writeln!(text, "{path}: differs from a new build of node {node}")
    };
    text
}

/// The result as one JSON object.
#[must_use]
pub fn to_json(rebuilt: &Rebuilt) -> Value {
    let parts = rebuilt.parts.iter().map(|(part, verdict)| {
        let mut value = json!({"part": part.to_string(), "good": verdict.is_good()});
        match verdict {
            Verdict::Same => {}
            Verdict::Different { offset, found, built } => {
                value["offset"] = (*offset).into();
                value["found"] = found.to_string().into();
                value["built"] = built.to_string().into();
            }
            Verdict::Holds(detail) | Verdict::Bad(detail) => value["detail"] = detail.as_str().into(),
        }
        value
    });
    json!({
        "format": 1,
        "image": rebuilt.path.display().to_string(),
        "node": rebuilt.node.to_string(),
        "same": rebuilt.is_same(),
        "parts": parts.collect::<Vec<_>>(),
    })
}
