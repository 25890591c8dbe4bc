//! The lowest seal generations that a system accepts: one floor for all nodes, and higher ones for single nodes.
//!
//! A person with the stick can turn back any counter on it, so the signed system carries the floor: a genuine seal with
//! a lower generation was replaced and is refused. The loader configuration has two kinds of lines for it:
//! `least-serial: NUMBER` and `least-serial-of: NODE NUMBER`.

use crate::name::Name;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

/// The floors of a system. Zero means that there is none: generations begin at 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeastGeneration {
    all: u64,
    nodes: BTreeMap<Name, u64>,
}

impl LeastGeneration {
    /// Raises the floor of all nodes to `generation`; a lower number changes nothing.
    pub fn raise_all(&mut self, generation: u64) {
        self.all = self.all.max(generation);
    }

    /// Raises the floor of one node to `generation`; a lower number changes nothing.
    pub fn raise(&mut self, node: Name, generation: u64) {
        let floor = self.nodes.entry(node).or_default();
        *floor = (*floor).max(generation);
    }

    /// The floor of all nodes.
    #[must_use]
    pub fn for_all(&self) -> u64 {
        self.all
    }

    /// The lowest generation that a seal of `node` may have; 0 where every generation is accepted.
    #[must_use]
    pub fn for_node(&self, node: &Name) -> u64 {
        self.nodes.get(node).map_or(self.all, |own| self.all.max(*own))
    }

    /// The floor that is set for this node itself; 0 if there is none.
    #[must_use]
    pub fn own_of(&self, node: &Name) -> u64 {
        self.nodes.get(node).copied().unwrap_or_default()
    }

    /// The nodes that have their own floor, with it.
    pub fn nodes(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.nodes
            .iter()
            .filter(|(_, generation)| **generation > 0)
            .map(|(node, generation)| (node, *generation))
    }

    /// The lines of the loader configuration for these floors; empty if there are none.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if self.all > 0 {
            text.push_str(&format!("least-serial: {}\n", self.all));
        }
        for (node, generation) in self.nodes.iter().filter(|(_, generation)| **generation > 0) {
            text.push_str(&format!("least-serial-of: {node} {generation}\n"));
        }
        text
    }

    /// Reads a line of the loader configuration; `None` for a key of something else, and for a value that is not valid.
    pub fn take(&mut self, key: &str, value: &str) -> Option<()> {
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        match key {
            "least-serial" => self.raise_all(number(value)?),
            "least-serial-of" => {
                let (node, generation) = value.split_once(' ')?;
                self.raise(node.parse().ok()?, number(generation)?);
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_higher_floor_counts_for_a_node() {
        let mut least = LeastGeneration::default();
        assert_eq!(least.for_node(&name("a")), 0);
        least.raise_all(7);
        least.raise(name("a"), 9);
        least.raise(name("b"), 3);
        assert_eq!(["a", "b", "c"].map(|node| least.for_node(&name(node))), [9, 7, 7]);
        least.raise_all(2);
        least.raise(name("a"), 1);
        assert_eq!((least.for_all(), least.for_node(&name("a"))), (7, 9), "a floor never sinks");
    }

    #[test]
    fn a_written_value_is_read_back() {
        let mut least = LeastGeneration::default();
        assert_eq!(least.encode(), "");
        least.raise_all(7);
        least.raise(name("a"), 9);
        let mut read = LeastGeneration::default();
        for line in least.encode().lines() {
            let (key, value) = line.split_once(": ").unwrap();
            read.take(key, value).unwrap();
        }
        assert_eq!(read, least);
    }

    #[test]
    fn a_floor_that_is_not_a_generation_is_refused() {
        let mut least = LeastGeneration::default();
        for (key, value) in [
            ("least-serial", "0"),
            ("least-serial", "-1"),
            ("least-serial", "18446744073709551616"),
            ("least-serial-of", "a"),
            ("least-serial-of", "a 0"),
            ("least-serial-of", "../a 1"),
            ("serial", "1"),
        ] {
            assert_eq!(least.take(key, value), None, "{key}: {value}");
        }
        assert_eq!(least, LeastGeneration::default());
    }
}
