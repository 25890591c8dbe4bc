//! The results, for people and for programs.

use super::{Check, Verification};
use handoff::shown::Shown;
use serde_json::{Value, json};

/// A line for each part, then the comparison with the site, then both conclusions.
#[must_use]
pub fn to_text(verification: &Verification) -> String {
    let mut text: String = verification.checks.iter().map(|check| line(check, "BAD")).collect();
    text.push_str(&comparison_to_text(&verification.current));
    if let Some(wrong) = &verification.wrong_identity {
        text.push_str(&line(&Check::of("identity", Err(wrong.clone())), "NO "));
    }
    let path = Shown(verification.path.display());
    text.push_str(&if verification.is_whole() {
        format!("{path} is whole\n")
    } else {
        format!("{path} is not whole: build it again, or flash the stick again\n")
    });
    match verification.is_current() {
        None => {}
        Some(true) => text.push_str(&format!("{path} is current\n")),
        Some(false) => text.push_str(&format!(
            "{path} is not current: build it again from the site, and flash or update the node\n"
        )),
    }
    if verification.wrong_identity.is_some() {
        text.push_str(
            "this identity does not open the seal: name the identity of an admin of the site with --identity\n",
        );
    }
    text
}

/// The comparison with the site; empty without one.
pub(crate) fn comparison_to_text(current: &[Check]) -> String {
    if current.is_empty() {
        return String::new();
    }
    let lines = current.iter().map(|check| line(check, "OLD"));
    ["compared with the site:\n".to_owned()].into_iter().chain(lines).collect()
}

fn line(check: &Check, bad: &str) -> String {
    let (word, note, what) = match &check.result {
        Ok(what) if check.was_checked => ("ok ", "", what),
        Ok(what) => ("-- ", "not checked: ", what),
        Err(what) => (bad, "", what),
    };
    format!("{word}  {:<16} {note}{}\n", check.part, Shown(what))
}

/// The results as JSON.
#[must_use]
pub fn to_json(verification: &Verification) -> Value {
    json!({
        "format": 1,
        "image": verification.path.display().to_string(),
        "whole": verification.is_whole(),
        "current": verification.is_current(),
        "checks": checks_to_json(&verification.checks),
        "identity_problem": verification.wrong_identity,
        "compared_with_site": checks_to_json(&verification.current),
    })
}

/// The checks as a JSON list.
pub(crate) fn checks_to_json(checks: &[Check]) -> Vec<Value> {
    let checks = checks.iter().map(|check| {
        let (what, problem) = match &check.result {
            Ok(what) => (Some(what), None),
            Err(problem) => (None, Some(problem)),
        };
        json!({
            "part": check.part,
            "checked": check.was_checked,
            "ok": check.result.is_ok(),
            "found": what,
            "problem": problem,
        })
    });
    checks.collect()
}
