//! The inputs of a build step, by name: their digest is the key of its result, and comparing the inputs of two builds
//! tells why the step ran again.

use super::StepName;
use handoff::hash::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Everything that decides the result of a step. The values are digests or short words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Inputs(BTreeMap<String, String>);

impl Inputs {
    /// The inputs of a step whose code has the version `recipe`.
    #[must_use]
    pub fn new(step: StepName, recipe: &str) -> Self {
        Self::default().with("step", step).with("builder", recipe)
    }

    /// The same with one more input.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.add(name, value);
        self
    }

    /// Adds an input.
    pub fn add(&mut self, name: impl Into<String>, value: impl Display) {
        self.0.insert(name.into(), format!("{value}"));
    }

    /// The names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The digest of all inputs: equal only for equal inputs.
    #[must_use]
    pub fn key(&self) -> Sha256Digest {
        let mut parts = Vec::new();
        for part in self.0.iter().flat_map(|(name, value)| [name, value]) {
            parts.push(format!("{}:{part}", part.len()));
        }
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        Sha256Digest::of_parts(&parts)
    }

    /// How these differ from `earlier`, a line for each input.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, value) in self.iter() {
            match earlier.0.get(name) {
                None => lines.push(format!("{name} is new")),
                Some(old) if old != value => lines.push(change(name, old, value)),
                Some(_) => {}
            }
        }
        let gone = earlier.0.keys().filter(|name| !self.0.contains_key(*name));
        lines.extend(gone.map(|name| format!("{name} is gone")));
        lines
    }
}

/// A change in words; of a digest, only that it changed.
fn change(name: &str, old: &str, new: &str) -> String {
    let first = |value: &str| value.split(' ').next().unwrap_or_default().to_owned();
    let (old, new) = (first(old), first(new));
    let is_digest = |word: &str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if old == new || is_digest(&old) || is_digest(&new) {
        format!("{name} changed")
    } else {
        format!("{name}: {old} -> {new}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_every_name_and_value() {
        let base = Inputs::new(StepName::Root, "1").with("agent", "a").with("release", "1");
        assert_eq!(base.key(), base.clone().key());
        let others = [
            Inputs::new(StepName::Root, "1").with("agent", "a").with("release", "2"),
            Inputs::new(StepName::Root, "1").with("agent", "arelease").with("", "1"),
            Inputs::new(StepName::Root, "2").with("agent", "a").with("release", "1"),
            Inputs::new(StepName::Uki, "1").with("agent", "a").with("release", "1"),
            base.clone().with("more", ""),
        ];
        for other in others {
            assert_ne!(other.key(), base.key(), "{other:?}");
        }
    }

    #[test]
    fn changes_are_described_in_words_where_possible() {
        let digest = |text: &str| Sha256Digest::of(text.as_bytes());
        let old = Inputs::new(StepName::Root, "1")
            .with("release", "1.0")
            .with("overlay common", digest("a"))
            .with("package tree", format!("2.1 {}", digest("x")))
            .with("package rebuilt", format!("2.1 {}", digest("x")))
            .with("role hello", digest("h"));
        let new = Inputs::new(StepName::Root, "1")
            .with("release", "1.1")
            .with("overlay common", digest("b"))
            .with("package tree", format!("2.2 {}", digest("y")))
            .with("package rebuilt", format!("2.1 {}", digest("y")))
            .with("role bye", digest("h"));
        let changes = new.changes_since(&old);
        let expected = [
            "overlay common changed",
            "package rebuilt changed",
            "package tree: 2.1 -> 2.2",
            "release: 1.0 -> 1.1",
            "role bye is new",
            "role hello is gone",
        ];
        assert_eq!(sorted(changes), expected);
        assert!(new.changes_since(&new).is_empty());
    }

    fn sorted(mut lines: Vec<String>) -> Vec<String> {
        lines.sort();
        lines
    }
}
