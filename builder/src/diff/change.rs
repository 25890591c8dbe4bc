//! Compares two sets of named facts: names that only one of them has, and names with different facts.

use handoff::hash::Sha256Digest;
use handoff::slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, for example a version.
    Text(String),
    /// A number, mostly of bytes.
    Number(u64),
    /// The digest of a content.
    Digest(Sha256Digest),
}

impl Value {
    /// The text of anything that can be displayed.
    pub(super) fn text(of: &impl ToString) -> Self {
        Self::Text(of.to_string())
    }
}

/// For people: only as many digits of a digest as are needed to tell two apart.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Digest(digest) => write!(f, "{:.12}…", digest.to_string()),
        }
    }
}

/// The facts about each name.
pub(super) type Facts = BTreeMap<String, Vec<(&'static str, Value)>>;

/// How a name differs between the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Only the second image has it.
    Added,
    /// Only the first image has it.
    Removed,
    /// Both images have it, with different facts.
    Changed,
}

impl DifferenceKind {
    /// All of them, in the order of the output.
    pub const ALL: [Self; 3] = [Self::Added, Self::Removed, Self::Changed];

    /// The word for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// A fact that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The name of the fact: `size`, `mode`, `version`...
    pub what: &'static str,
    /// The value in the first image; none if it lacks the fact.
    pub from: Option<Value>,
    /// The value in the second image; none if it lacks the fact.
    pub to: Option<Value>,
}

/// A name, and how it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whether it was added, removed or changed.
    pub kind: DifferenceKind,
    /// A path, a package, a word of the command line...
    pub name: String,
    /// The facts that differ.
    pub details: Vec<Detail>,
}

/// A part of the images that both have, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name of the part: `packages`, `root`, `seal`...
    pub part: &'static str,
    /// The slot, if each slot has such a part.
    pub slot: Option<Slot>,
    /// The differences; empty if the part is the same.
    pub changes: Vec<Change>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
}

impl Section {
    pub(super) fn new(part: &'static str, slot: Option<Slot>, changes: Vec<Change>) -> Self {
        Self { part, slot, changes, notes: Vec::new() }
    }

    /// Whether there are no differences.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Compares two sets of facts, in the order of their names.
pub(super) fn compare(a: &Facts, b: &Facts) -> Vec<Change> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let change = |name: &String| {
        let (from, to) = (a.get(name), b.get(name));
        let kind = match (from, to) {
            (None, _) => DifferenceKind::Added,
            (_, None) => DifferenceKind::Removed,
            (Some(from), Some(to)) if from == to => return None,
            _ => DifferenceKind::Changed,
        };
        let empty = Vec::new();
        let details = details(from.unwrap_or(&empty), to.unwrap_or(&empty));
        Some(Change { kind, name: name.clone(), details })
    };
    names.into_iter().filter_map(change).collect()
}

fn details(from: &[(&'static str, Value)], to: &[(&'static str, Value)]) -> Vec<Detail> {
    let get = |facts: &[(&'static str, Value)], what: &str| {
        facts.iter().find(|(name, _)| *name == what).map(|(_, value)| value.clone())
    };
    let only_there = to.iter().filter(|(what, _)| get(from, what).is_none());
    let names = from.iter().chain(only_there).map(|(what, _)| *what);
    let details = names.map(|what| Detail { what, from: get(from, what), to: get(to, what) });
    details.filter(|detail| detail.from != detail.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(of: &[(&str, u64, &str)]) -> Facts {
        let fact = |(name, size, mode): &(&str, u64, &str)| {
            ((*name).to_owned(), vec![("size", Value::Number(*size)), ("mode", Value::text(mode))])
        };
        of.iter().map(fact).collect()
    }

    #[test]
    fn differing_names_and_facts_are_listed() {
        let a = facts(&[("gone", 1, "0644"), ("same", 2, "0644"), ("other", 3, "0644")]);
        let mut b = facts(&[("new", 1, "0600"), ("same", 2, "0644"), ("other", 3, "4755")]);
        let changes = compare(&a, &b);
        let told: Vec<_> =
            changes.iter().map(|change| (change.kind, change.name.as_str(), change.details.len())).collect();
        assert_eq!(
            told,
            [
                (DifferenceKind::Removed, "gone", 2),
                (DifferenceKind::Added, "new", 2),
                (DifferenceKind::Changed, "other", 1)
            ]
        );
        assert_eq!(changes[2].details[0].what, "mode");
        b.insert("same".into(), vec![("target", Value::text(&"x"))]);
        let whats: Vec<_> = compare(&a, &b)[3].details.iter().map(|detail| detail.what).collect();
        assert_eq!(whats, ["size", "mode", "target"]);
        assert_eq!(compare(&a, &a), []);
        let digest = Value::Digest(Sha256Digest::of(b""));
        assert_eq!(digest.to_string(), "e3b0c44298fc…");
    }
}
