//! Watching a boot without a user: the boot report is extracted from the serial console.
//!
//! Any program in the machine can write to the console, so a report counts only with the proof that it is from the
//! system that was started (`handoff::report_key`).

use super::machine::{Machine, MachineError};
use handoff::marker;
use handoff::report::{BootReport, Configure, Outcome};
use handoff::report_key::{self, ReportKey};
use std::time::{Duration, Instant};

/// A boot report, as text and parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenReport {
    /// The report in JSON, as it was printed.
    pub json: serde_json::Value,
    /// The parsed report.
    pub report: BootReport,
}

impl SeenReport {
    /// Whether no other report follows: the loader reports a rescue, and the agent everything else.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.report.outcome == Outcome::Rescue || self.report.configure != Configure::Pending
    }
}

/// Waits for the final report of a boot. A report line that other output interrupted is skipped: the line is printed on
/// every console, and both the loader and the agent print one. A report without a proof is skipped as well.
pub fn wait_for_report(machine: &mut Machine, deadline: Duration) -> Result<SeenReport, MachineError> {
    let key = machine.report_key().clone();
    wait_for(machine, deadline, Some(&key))
}

/// The same for an image of an older builder: any report counts.
pub fn wait_for_any_report(machine: &mut Machine, deadline: Duration) -> Result<SeenReport, MachineError> {
    wait_for(machine, deadline, None)
}

fn wait_for(
    machine: &mut Machine,
    deadline: Duration,
    key: Option<&ReportKey>,
) -> Result<SeenReport, MachineError> {
    let end = Instant::now() + deadline;
    let mut unproven = false;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let line = match machine.wait_for_line(marker::REPORT, left) {
            Err(MachineError::Timeout { .. }) if unproven => {
                return Err(MachineError::Unproven { seconds: deadline.as_secs() });
            }
            line => line?,
        };
        match parse(&line, key) {
            Some(seen) if seen.is_final() => return Ok(seen),
            Some(_) => {}
            None => unproven |= parse(&line, None).is_some_and(|seen| seen.is_final()),
        }
    }
}

/// Parses the report in a line of a console; `None` if there is none, it is incomplete, or does not prove with `key`
/// that it is the machine's own.
#[must_use]
pub fn parse(line: &str, key: Option<&ReportKey>) -> Option<SeenReport> {
    // A forged report may precede it on the same line.
    let (_, text) = line.rsplit_once(marker::REPORT)?;
    let text = match key {
        Some(key) => report_key::proven_text(text, key)?,
        None => report_key::text(text),
    };
    // Other text may follow on the same line: only the first value counts.
    let json = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>().next()?.ok()?;
    let report = serde_json::from_value(json.clone()).ok()?;
    Some(SeenReport { json, report })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(outcome: Outcome, configure: Configure) -> String {
        let report = BootReport { outcome, configure, ..BootReport::default() };
        let line = report_key::line(&report.to_json(), Some(&key(7)));
        format!("[   12.3] {}{line}[   12.4] more", marker::REPORT)
    }

    fn key(byte: u8) -> ReportKey {
        ReportKey::new([byte; 32])
    }

    /// An attack that once worked: a file name on the secret partition was printed, and `psyops run --headless`
    /// accepted it.
    #[test]
    fn a_report_from_another_source_is_ignored() {
        let report = BootReport { outcome: Outcome::Ok, configure: Configure::Ok, ..BootReport::default() };
        let forged = format!("{}{}", marker::REPORT, report.to_json());
        assert_eq!(parse(&forged, Some(&key(7))), None);
        assert!(parse(&forged, None).is_some());
        let of_another_machine = line(Outcome::Ok, Configure::Ok);
        assert_eq!(parse(&of_another_machine, Some(&key(8))), None);
        let behind = format!("{forged} {}", line(Outcome::Degraded, Configure::Failed));
        assert_eq!(parse(&behind, Some(&key(7))).unwrap().report.outcome, Outcome::Degraded);
        let proof = behind.split_once("psyops-proof:").unwrap().1;
        assert_eq!(parse(&format!("{forged} psyops-proof:{proof}"), Some(&key(7))), None);
    }

    #[test]
    fn a_report_of_the_loader_is_final_only_for_rescue() {
        for (outcome, configure, last) in [
            (Outcome::Ok, Configure::Pending, false),
            (Outcome::Ok, Configure::Ok, true),
            (Outcome::Degraded, Configure::Failed, true),
            (Outcome::Rescue, Configure::Pending, true),
        ] {
            let seen = parse(&line(outcome, configure), Some(&key(7))).unwrap();
            assert_eq!((seen.report.outcome, seen.is_final()), (outcome, last));
        }
    }

    #[test]
    fn incomplete_reports_are_ignored() {
        let whole = line(Outcome::Ok, Configure::Ok);
        for key in [None, Some(&key(7))] {
            assert_eq!(parse(whole.get(..60).unwrap(), key), None);
            assert_eq!(parse("no report", key), None);
        }
    }
}
