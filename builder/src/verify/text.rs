//! What was found, for people and for programs.

use super::Verification;
use serde_json::{Value, json};

/// A line for each part.
#[must_use]
pub fn to_text(verification: &Verification) -> String {
    let mut text = String::new();
    for check in &verification.checks {
        let (word, what) = match &check.result {
            Ok(what) => ("ok ", what),
            Err(what) => ("BAD", what),
        };
        text.push_str(&format!("{word}  {:<16} {what}\n", check.part));
    }
    let path = verification.path.display();
    text.push_str(&if verification.is_whole() {
        format!("{path} is whole\n")
    } else {
        format!("{path} is not as it should be: build it anew, or flash the stick again\n")
    });
    text
}

/// The same as JSON.
#[must_use]
pub fn to_json(verification: &Verification) -> Value {
    let checks = verification.checks.iter().map(|check| {
        let (what, problem) = match &check.result {
            Ok(what) => (Some(what), None),
            Err(problem) => (None, Some(problem)),
        };
        json!({ "part": check.part, "ok": check.result.is_ok(), "found": what, "problem": problem })
    });
    json!({
        "image": verification.path.display().to_string(),
        "whole": verification.is_whole(),
        "checks": checks.collect::<Vec<_>>(),
    })
}
