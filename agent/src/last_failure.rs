//! Why the last failed boot failed: shown once by the next boot that succeeds, and its log kept with the others.
//!
//! The loader writes it into the control partition before rescue or a restart; the agent does so if the site chose one
//! of these for a failed configuration.

use crate::clock::unix_seconds;
use crate::consoles;
use crate::disk::{BootDisk, DiskError};
use crate::file::{self, FileError};
use crate::root::Root;
use handoff::fault::Fault;
use handoff::last_failure::LastFailure;
use handoff::marker;
use handoff::partition::Role;
use handoff::paths;
use handoff::report::BootReport;
use handoff::role_settings::Stage;
use handoff::shown::ShownLines;
use medium::{MediumError, Partition, failure_area};

/// Why a failure could not be shown or recorded.
#[derive(Debug, thiserror::Error)]
pub enum LastFailureError {
    /// The control partition was not found.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The control partition cannot be read or written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The log cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Shows a failure that no boot has shown yet: on every console, in the log folder and for `status`. Only then is it
/// marked as shown: after a power cut it is shown twice rather than never.
pub fn show(root: &Root) -> Result<Option<LastFailure>, LastFailureError> {
    let device = BootDisk::find(root)?.partition(Role::Control)?;
    let area = failure_area::read(&Partition::open(&device)?)?;
    let Some(record) = area.current().filter(|record| !record.acknowledged) else { return Ok(None) };
    let failure = record.failure.clone();
    let log = root.at(paths::LOGS).join("last-failure.log");
    // Any person who had the stick may have written this record.
    file::write(&log, ShownLines(&failure.log).to_string().as_bytes(), 0o600)?;
    file::write(&root.at(paths::LAST_FAILURE), format!("{}\n", failure.to_json()).as_bytes(), 0o640)?;
    consoles::announce(root, &format!("{}{}", marker::LAST_FAILURE, line(&failure)));
    failure_area::acknowledge(&Partition::open_to_write(&device)?)?;
    Ok(Some(failure))
}

/// The failure that this boot has shown, as JSON.
#[must_use]
pub fn shown(root: &Root) -> Option<String> {
    let text = file::read_text(&root.at(paths::LAST_FAILURE)).ok()?;
    let holds = serde_json::from_str::<serde_json::Value>(&text).is_ok();
    holds.then(|| text.trim().to_owned())
}

/// The failure that this boot has shown, for people, on one line.
#[must_use]
pub fn shown_line(root: &Root) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&shown(root)?).ok()?;
    let text = |key: &str| value.get(key).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
    let slot = text("slot");
    Some(worded(&slot, &text("fault"), &text("step"), &text("problem")))
}

fn line(failure: &LastFailure) -> String {
    let slot = failure.slot.map_or_else(|| "?".to_owned(), |slot| slot.to_string());
    worded(&slot, &failure.fault, &failure.step, &failure.problem)
}

fn worded(slot: &str, fault: &str, step: &str, problem: &str) -> String {
    format!("slot {slot}: {fault} (step {step}): {problem}; its log is {}/last-failure.log", paths::LOGS)
}

/// Records that this boot's configuration failed, before the machine restarts because of it.
pub fn leave(root: &Root, report: &BootReport) -> Result<(), LastFailureError> {
    let problem: Vec<&str> = report
        .faults
        .iter()
        .filter(|fault| fault.fault == Fault::Configure.name())
        .map(|fault| fault.message.as_str())
        .collect();
    let logs = root.at(paths::LOGS);
    let logs = [Stage::Identity, Stage::Configure].map(|stage| logs.join(format!("configure-{stage}.log")));
    let failure = LastFailure {
        node: report.node.clone().unwrap_or_default(),
        slot: report.slot.as_deref().and_then(|letter| letter.parse().ok()),
        release: report.release.clone().unwrap_or_default(),
        step: Stage::Configure.word().into(),
        fault: Fault::Configure.name().into(),
        problem: problem.join("; "),
        remedy: "correct the role or command that the log names".into(),
        unix_time: unix_seconds(),
        boot_id: file::read_text(&root.at("/proc/sys/kernel/random/boot_id"))
            .unwrap_or_default()
            .trim()
            .into(),
        log: logs.iter().filter_map(|log| file::read_text(log).ok()).collect(),
    };
    let device = BootDisk::find(root)?.partition(Role::Control)?;
    Ok(failure_area::leave(&Partition::open_to_write(&device)?, failure)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tests::stick;
    use handoff::control::PARTITION_SIZE;
    use handoff::report::FaultReport;
    use handoff::slot::Slot;

    #[test]
    fn a_failure_is_shown_once_and_its_log_is_kept() {
        let (_folder, root) = stick(&[("sda2", "control"), ("sda11", "secret")]);
        let empty = vec![0; usize::try_from(PARTITION_SIZE).unwrap()];
        file::write(&root.at("/dev/sda2"), &empty, 0o600).unwrap();
        assert_eq!(show(&root).unwrap(), None, "nothing failed");
        let fault = FaultReport { fault: "configure".into(), message: "role x: failed".into() };
        let report = BootReport { slot: Some("b".into()), faults: vec![fault], ..BootReport::default() };
        let log = root.at("/var/log/psyops/configure-configure.log");
        file::write(&log, b"what happened\x1b[2J\n", 0o600).unwrap();
        leave(&root, &report).unwrap();
        let failure = show(&root).unwrap().unwrap();
        assert_eq!((failure.slot, failure.problem.as_str()), (Some(Slot::B), "role x: failed"));
        let kept = file::read_text(&root.at("/var/log/psyops/last-failure.log")).unwrap();
        assert_eq!(kept, "what happened\\u001b[2J\n");
        assert!(
            shown_line(&root).unwrap().starts_with("slot b: configure (step configure): role x: failed;")
        );
        assert_eq!(show(&root).unwrap(), None, "a second time there is nothing to show");
    }
}
