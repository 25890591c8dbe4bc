//! The end of the boot report: adds the result of the configuration run to the loader's report, and publishes it.
//!
//! The outcome can only get worse here: faults that the loader found stay.

use crate::consoles;
use crate::file::{self, FileError};
use crate::node;
use crate::root::Root;
use crate::services;
use crate::status::{Ending, StageStatus, Status};
use handoff::fault::Fault;
use handoff::report::{BootReport, Configure, FaultReport, Outcome, Step, StepKind};
use handoff::report_key::{self, ReportKey};
use handoff::role_settings::Stage;
use std::path::PathBuf;

/// Why the boot report cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not a report.
    #[error("{path} is not a boot report that this agent can read: {source}; build the image again, so that loader and agent are of one release", path = path.display())]
    Syntax {
        /// The path of the file.
        path: PathBuf,
        /// The parser's error.
        source: serde_json::Error,
    },
}

/// Reads the boot report.
pub fn load(root: &Root) -> Result<BootReport, ReportError> {
    let path = root.at(handoff::paths::BOOT_REPORT);
    let text = file::read_text(&path)?;
    serde_json::from_str(&text).map_err(|source| ReportError::Syntax { path, source })
}

/// Completes the boot report with both stages from the status file. If the loader left no report, the new one has a
/// fault that says so.
#[must_use]
pub fn complete(root: &Root, status: &Status) -> BootReport {
    let mut report = load(root).unwrap_or_else(|error| without_loader(root, &error));
    for stage in [Stage::Identity, Stage::Configure] {
        match status.stage(stage) {
            Some(stage) => add(&mut report, stage),
            None => absent(&mut report, stage),
        }
    }
    if report.configure != Configure::Ok {
        report.outcome = report.outcome.max(Outcome::Degraded);
    }
    report
}

/// Writes the report to its files, keeps a copy with the logs, and prints it on every console.
pub fn publish(root: &Root, report: &BootReport) -> Result<(), FileError> {
    let report = with_services(root, report);
    write(root, &report)?;
    greet(root, &report)?;
    let key = file::read(&root.at(report_key::SMBIOS_TABLE)).ok().and_then(|table| ReportKey::find(&table));
    let line = report_key::line(&report.to_json(), key.as_ref());
    consoles::announce(root, &format!("{}{line}", handoff::marker::REPORT));
    if let Ok(log) = file::read(&root.at(handoff::paths::BOOT_LOG)) {
        file::write(&root.at(handoff::paths::LOGS).join("boot.log"), &log, 0o600)?;
    }
    Ok(())
}

/// The report with the times of the services so far.
#[must_use]
pub fn with_services(root: &Root, report: &BootReport) -> BootReport {
    let mut report = report.clone();
    services::add(root, &mut report);
    report
}

/// Writes the report to its two files.
pub fn write(root: &Root, report: &BootReport) -> Result<(), FileError> {
    let line = report.to_json() + "\n";
    file::write(&root.at(handoff::paths::BOOT_REPORT), line.as_bytes(), 0o640)?;
    file::write(&root.at(handoff::paths::LOGS).join("boot.json"), line.as_bytes(), 0o640)?;
    Ok(())
}

/// Writes the texts that shells and logins show, so that they need not start a program for it.
pub fn greet(root: &Root, report: &BootReport) -> Result<(), FileError> {
    let message = format!("{}\n", summary(report));
    file::write(&root.at(handoff::paths::MESSAGE_OF_THE_DAY), message.as_bytes(), 0o644)?;
    let word = match (report.outcome, report.configure) {
        (_, Configure::Pending) => "[configuring]\n".into(),
        (Outcome::Ok, _) => String::new(),
        (outcome, _) => format!("[{outcome}]\n"),
    };
    file::write(&root.at(handoff::paths::PROMPT), word.as_bytes(), 0o644)?;
    Ok(())
}

/// A summary of the report in one line.
#[must_use]
pub fn summary(report: &BootReport) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "?".into());
    let mut text = format!(
        "psyopsOS {} (site {}, release {}, slot {}): {}, configure {}",
        word(&report.node),
        word(&report.site),
        word(&report.release),
        word(&report.slot),
        report.outcome,
        report.configure
    );
    if !report.repaired.is_empty() {
        text.push_str(&format!(", {} repaired", report.repaired.len()));
    }
    match report.faults.len() {
        0 => {}
        1 => text.push_str(", 1 fault (psyops-agent status)"),
        several => text.push_str(&format!(", {several} faults (psyops-agent status)")),
    }
    text
}

fn add(report: &mut BootReport, stage: &StageStatus) {
    let ending = match stage.result {
        Ending::Ok => Configure::Ok,
        Ending::Failed => Configure::Failed,
        // A stage that still runs when the report is completed was interrupted: by the loader's deadline, or a crash.
        Ending::Timeout | Ending::Running => Configure::Timeout,
    };
    // `Pending` is the loader's value; a configure stage that succeeds does not replace a failed identity stage.
    if report.configure == Configure::Pending
        || (report.configure == Configure::Ok && ending != Configure::Ok)
    {
        report.configure = ending;
    }
    let name = step_name(&stage.stage);
    if !report.steps.iter().any(|step| step.name == name) {
        let name = name.into();
        let (kind, start_ms, took_ms) = (StepKind::Configure, stage.start_ms, stage.took_ms);
        report.steps.push(Step { name, kind, start_ms, took_ms });
    }
    if stage.result == Ending::Running {
        fault(report, &format!("the {} stage was cut off before its end", stage.stage), &stage.stage);
    }
    for role in stage.unwell() {
        fault(report, &role.line(), &stage.stage);
    }
}

/// The loader has its own step `identity` (the age key), so it names the agent's first stage differently.
fn step_name(stage: &str) -> &str {
    if stage == Stage::Identity.word() { "configure-identity" } else { stage }
}

fn absent(report: &mut BootReport, stage: Stage) {
    if report.configure != Configure::Timeout {
        report.configure = Configure::Failed;
    }
    fault(report, &format!("the {stage} stage was never run"), stage.word());
}

fn fault(report: &mut BootReport, problem: &str, stage: &str) {
    let log = format!("{}/configure-{stage}.log", handoff::paths::LOGS);
    let message = format!("{problem}; read {log}, then run `psyops-agent configure --stage {stage}` again");
    report.faults.push(FaultReport { fault: Fault::Configure.name().into(), message });
}

fn without_loader(root: &Root, error: &ReportError) -> BootReport {
    let node = node::load(root).ok();
    BootReport {
        node: node.as_ref().map(|node| node.name.to_string()),
        site: node.as_ref().map(|node| node.site.to_string()),
        outcome: Outcome::Degraded,
        faults: vec![FaultReport {
            fault: Fault::Configure.name().into(),
            message: format!("no report of the loader: {error}"),
        }],
        ..BootReport::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RoleStatus;

    fn stage(stage: Stage, results: &[Ending]) -> StageStatus {
        let mut status = StageStatus::started(stage, 0, 5000);
        let role = |result: &Ending| RoleStatus::command("r", *result, None, 1, None);
        status.roles = results.iter().map(role).collect();
        status.end(6500);
        status
    }

    #[test]
    fn the_report_on_a_console_has_the_proof_of_the_machine_and_nothing_else_gets_a_line_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let key = ReportKey::new([7; 32]);
        let mut table = vec![11, 5, 0, 1, 1];
        table.extend_from_slice(key.oem_string().as_bytes());
        table.extend_from_slice(&[0, 0]);
        file::write(&root.at(report_key::SMBIOS_TABLE), &table, 0o400).unwrap();
        file::write(&root.at("/sys/class/tty/console/active"), b"tty9\n", 0o644).unwrap();
        file::write(&root.at("/dev/tty9"), b"", 0o644).unwrap();
        let report = BootReport { node: Some("demo".into()), ..BootReport::default() };
        publish(&root, &report).unwrap();
        let console = file::read_text(&root.at("/dev/tty9")).unwrap();
        let line = console.trim().strip_prefix(handoff::marker::REPORT).unwrap();
        let json = load(&root).unwrap().to_json();
        assert_eq!(report_key::proven_text(line, &key), Some(json.as_str()));
        let forged = format!("a file\n{}{{}}", handoff::marker::REPORT);
        consoles::announce(&root, &forged);
        let console = file::read_text(&root.at("/dev/tty9")).unwrap();
        assert!(console.contains("a file\\npsyops-report: {}\r\n"), "{console}");
    }

    fn completed(loader: &BootReport, identity: &[Ending], configure: &[Ending]) -> BootReport {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at(handoff::paths::BOOT_REPORT), loader.to_json().as_bytes(), 0o644).unwrap();
        let mut status = Status::default();
        status.set(stage(Stage::Identity, identity));
        status.set(stage(Stage::Configure, configure));
        let report = complete(&root, &status);
        publish(&root, &report).unwrap();
        assert_eq!(load(&root).unwrap(), report, "what is published is what was completed");
        report
    }

    #[test]
    fn the_worst_result_of_loader_and_stages_counts() {
        use Ending::{Failed, Ok, Timeout};
        let degraded = BootReport { outcome: Outcome::Degraded, ..BootReport::default() };
        let failed_before = BootReport { configure: Configure::Failed, ..BootReport::default() };
        for (loader, identity, configure, outcome, ending) in [
            (&BootReport::default(), Ok, Ok, Outcome::Ok, Configure::Ok),
            (&degraded, Ok, Ok, Outcome::Degraded, Configure::Ok),
            (&BootReport::default(), Failed, Ok, Outcome::Degraded, Configure::Failed),
            (&BootReport::default(), Ok, Failed, Outcome::Degraded, Configure::Failed),
            (&BootReport::default(), Ok, Timeout, Outcome::Degraded, Configure::Timeout),
            (&failed_before, Ok, Ok, Outcome::Degraded, Configure::Failed),
        ] {
            let report = completed(loader, &[identity], &[configure]);
            assert_eq!((report.outcome, report.configure), (outcome, ending), "{identity:?} {configure:?}");
        }
    }

    #[test]
    fn steps_are_added_once_and_faults_name_the_log() {
        let step =
            Step { name: "configure-identity".into(), kind: StepKind::Configure, start_ms: 1, took_ms: 2 };
        let loader = BootReport { steps: vec![step], ..BootReport::default() };
        let report = completed(&loader, &[], &[Ending::Failed]);
        let names: Vec<&str> = report.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["configure-identity", "configure"]);
        assert_eq!(report.steps[1].took_ms, 1500);
        assert!(report.faults[0].message.contains("/var/log/psyops/configure-configure.log"));
    }

    #[test]
    fn without_the_loaders_report_the_boot_is_degraded() {
        let folder = tempfile::tempdir().unwrap();
        let report = complete(&Root::new(folder.path()), &Status::default());
        assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Failed));
    }
}
