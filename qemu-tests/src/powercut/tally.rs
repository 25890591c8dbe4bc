//! The results of a scenario's states, counted: one line for a scenario, or JSON.

use super::states::{Cut, CutKind};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The result of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All files are the old ones.
    Old,
    /// Some files are new and some are old, each complete.
    Between,
    /// All files are the new ones.
    New,
}

impl Outcome {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Old, Self::Between, Self::New];

    /// The result's word on a console.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::Between => "between",
            Self::New => "new",
        }
    }
}

/// A state of a scenario in which something was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// A description of the state.
    pub state: String,
    /// The error that shows the loss.
    pub what: String,
}

/// The counts of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The name of the scenario.
    pub scenario: String,
    /// The number of recorded write requests.
    pub requests: usize,
    /// The number of recorded flushes.
    pub flushes: usize,
    /// The number of all possible states.
    pub possible: usize,
    /// Whether the writer has a known error, so that something must be lost.
    pub wrong: bool,
    prefixes: usize,
    torn: usize,
    reordered: usize,
    old: usize,
    between: usize,
    new: usize,
    /// The states in which something was lost.
    pub lost: Vec<Lost>,
}

impl Tally {
    /// The counts before the first state.
    #[must_use]
    pub fn new(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned(), ..Self::default() }
    }

    /// Counts the result of a state.
    pub fn count(&mut self, cut: &Cut, outcome: Result<Outcome, String>) {
        match cut.kind {
            CutKind::Prefix => self.prefixes += 1,
            CutKind::Torn { .. } | CutKind::Scattered { .. } => self.torn += 1,
            CutKind::Reordered { .. } => self.reordered += 1,
        }
        match outcome {
            Ok(Outcome::Old) => self.old += 1,
            Ok(Outcome::Between) => self.between += 1,
            Ok(Outcome::New) => self.new += 1,
            Err(what) => self.lost.push(Lost { state: cut.to_string(), what }),
        }
    }

    /// The number of states that were tried.
    #[must_use]
    pub fn tried(&self) -> usize {
        self.prefixes + self.torn + self.reordered
    }

    /// The numbers of completely old and of completely new states.
    #[must_use]
    pub fn old_and_new(&self) -> (usize, usize) {
        (self.old, self.new)
    }
}

/// The counts of all scenarios.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The scenarios in the order in which they ran.
    pub tallies: Vec<Tally>,
}

impl Report {
    /// The counts of writers without a known error.
    fn right(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.iter().filter(|tally| !tally.wrong)
    }

    /// The number of states that were tried, of writers without a known error.
    #[must_use]
    pub fn tried(&self) -> usize {
        self.right().map(Tally::tried).sum()
    }

    /// The number of these states in which something was lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.right().map(|tally| tally.lost.len()).sum()
    }

    /// The writers with a known error whose losses were not found.
    #[must_use]
    pub fn not_caught(&self) -> Vec<&str> {
        let missed = self.tallies.iter().filter(|tally| tally.wrong && tally.lost.is_empty());
        missed.map(|tally| tally.scenario.as_str()).collect()
    }

    /// The counts as a table.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:<22}{:>9}{:>8}{:>9}{:>7}{:>10}{:>8}{:>7}{:>9}{:>7}{:>6}\n",
            "scenario",
            "requests",
            "flushes",
            "prefixes",
            "torn",
            "reordered",
            "states",
            "old",
            "between",
            "new",
            "lost"
        );
        for tally in &self.tallies {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:<22}{:>9}{:>8}{:>9}{:>7}{:>10}{:>8}{:>7}{:>9}{:>7}{:>6}",
                tally.scenario,
                tally.requests,
                tally.flushes,
                tally.prefixes,
                tally.torn,
                tally.reordered,
                tally.tried(),
                tally.old,
                tally.between,
                tally.new,
                tally.lost.len()
            );
        }
        for tally in &self.tallies {
            // For a writer with a known error, one loss is enough to show.
            let shown = if tally.wrong { 1 } else { tally.lost.len() };
            let word = if tally.wrong { "caught" } else { "LOST" };
            for lost in tally.lost.iter().take(shown) {
                let _ = writeln!(text, "{word} {}, {}: {}", tally.scenario, lost.state, lost.what);
            }
        }
        for missed in self.not_caught() {
            let _ = writeln!(text, "NOT CAUGHT {missed}");
        }
        let possible: usize = self.right().map(|tally| tally.possible).sum();
        let _ = writeln!(text, "states tried: {} of {possible}, states lost: {}", self.tried(), self.lost());
        text
    }

    /// The counts as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let scenario = |tally: &Tally| {
            let lost = |lost: &Lost| json!({"state": lost.state, "what": lost.what});
            json!({
                "scenario": tally.scenario,
                "requests": tally.requests,
                "flushes": tally.flushes,
                "possible": tally.possible,
                "wrong": tally.wrong,
                "tried": tally.tried(),
                "prefixes": tally.prefixes,
                "torn": tally.torn,
                "reordered": tally.reordered,
                "old": tally.old,
                "between": tally.between,
                "new": tally.new,
                "lost": tally.lost.iter().map(lost).collect::<Vec<_>>(),
            })
        };
        let scenarios: Vec<Value> = self.tallies.iter().map(scenario).collect();
        json!({"tried": self.tried(), "lost": self.lost(), "scenarios": scenarios})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_states_are_counted_and_named() {
        let mut tally = Tally::new("one-change");
        let cut = |kind| Cut { issued: 3, kind };
        tally.possible = 4;
        tally.count(&cut(CutKind::Prefix), Ok(Outcome::Old));
        tally.count(&cut(CutKind::Torn { sectors: 2 }), Ok(Outcome::New));
        tally.count(&cut(CutKind::Reordered { kept: vec![false, true] }), Err("hostname is empty".into()));
        let caught = Tally { wrong: true, ..tally.clone() };
        let missed = Tally { wrong: true, ..Tally::new("wrong-somehow") };
        let report = Report { tallies: vec![tally, caught, missed] };
        assert_eq!(report.not_caught(), ["wrong-somehow"]);
        let text = report.text();
        assert!(text.contains("LOST one-change, reordered 3 -+: hostname is empty\n"), "{text}");
        assert!(text.contains("caught one-change, reordered 3 -+: hostname is empty\n"), "{text}");
        assert!(text.ends_with("states tried: 3 of 4, states lost: 1\n"), "{text}");
        let json = report.json();
        assert_eq!((json["tried"].as_u64(), json["lost"].as_u64()), (Some(3), Some(1)));
        assert_eq!(json["scenarios"][0]["lost"][0]["state"], "reordered 3 -+");
    }
}
