//! Watching a boot without a person: the boot report is picked out of the serial console.

use super::machine::{Machine, MachineError};
use handoff::marker;
use handoff::report::{BootReport, Configure, Outcome};
use std::time::{Duration, Instant};

/// A boot report as it came, and read.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenReport {
    /// The JSON.
    pub json: serde_json::Value,
    /// What it means.
    pub report: BootReport,
}

impl SeenReport {
    /// Whether this is the last word: the loader reports a rescue, the agent everything else.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.report.outcome == Outcome::Rescue || self.report.configure != Configure::Pending
    }
}

/// Waits for the final report of a boot. A report line that other output tore apart is passed over: it is on every
/// console, and the loader and the agent both write one.
pub fn wait_for_report(machine: &mut Machine, deadline: Duration) -> Result<SeenReport, MachineError> {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let line = machine.wait_for_line(marker::REPORT, left)?;
        if let Some(seen) = parse(&line)
            && seen.is_final()
        {
            return Ok(seen);
        }
    }
}

/// Reads the report in a line of a console; `None` where there is none or it is torn.
#[must_use]
pub fn parse(line: &str) -> Option<SeenReport> {
    let (_, text) = line.split_once(marker::REPORT)?;
    // Something may follow on the same line: only the first value counts.
    let json = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next()?.ok()?;
    let report = serde_json::from_value(json.clone()).ok()?;
    Some(SeenReport { json, report })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(outcome: Outcome, configure: Configure) -> String {
        let report = BootReport { outcome, configure, ..BootReport::default() };
        format!("[   12.3] {}{}[   12.4] more", marker::REPORT, report.to_json())
    }

    #[test]
    fn the_loaders_word_is_final_only_for_a_rescue() {
        for (outcome, configure, last) in [
            (Outcome::Ok, Configure::Pending, false),
            (Outcome::Ok, Configure::Ok, true),
            (Outcome::Degraded, Configure::Failed, true),
            (Outcome::Rescue, Configure::Pending, true),
        ] {
            let seen = parse(&line(outcome, configure)).unwrap();
            assert_eq!((seen.report.outcome, seen.is_final()), (outcome, last));
        }
    }

    #[test]
    fn torn_reports_are_none() {
        let whole = line(Outcome::Ok, Configure::Ok);
        assert_eq!(parse(whole.get(..60).unwrap()), None);
        assert_eq!(parse("no report"), None);
    }
}
