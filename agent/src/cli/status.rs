//! `psyops-agent status`: the boot report and the configuration run, for people and for programs.

use super::{StatusArguments, complain, say};
use crate::last_failure;
use crate::report;
use crate::root::Root;
use crate::status::Status;
use handoff::json::{Object, seconds};
use handoff::report::{BootReport, Configure, Outcome};
use std::process::ExitCode;

pub(super) fn run(root: &Root, arguments: &StatusArguments) -> ExitCode {
    let report = match report::load(root) {
        Ok(report) => report,
        Err(error) => {
            complain(&error);
            return ExitCode::from(3);
        }
    };
    let status = Status::load(root);
    if arguments.json {
        let status = status.and_then(|status| serde_json::to_string(&status).ok());
        let status = status.unwrap_or_else(|| "null".into());
        say(&Object::new()
            .raw("report", &report.to_json())
            .raw("status", &status)
            .raw("last_failure", &last_failure::shown(root).unwrap_or_else(|| "null".into()))
            .finish());
    } else if arguments.short {
        say(&summary(&report));
    } else {
        say(&summary(&report));
        say(&details(&report, status.as_ref()));
        if let Some(line) = last_failure::shown_line(root) {
            say(&format!("the boot before failed: {line}"));
        }
    }
    match (report.outcome, report.configure) {
        (_, Configure::Pending) => ExitCode::from(3),
        (Outcome::Ok, _) => ExitCode::SUCCESS,
        _ => ExitCode::from(1),
    }
}

fn summary(report: &BootReport) -> String {
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

fn details(report: &BootReport, status: Option<&Status>) -> String {
    let mut lines = vec![format!("{} files hold what the seal says", report.verified)];
    for (what, names) in [
        ("repaired", &report.repaired),
        ("right in memory only", &report.memory_only),
        ("not known to the seal", &report.unknown),
    ] {
        lines.extend(names.iter().map(|name| format!("{what}: {name}")));
    }
    lines.extend(report.faults.iter().map(|fault| format!("fault {}: {}", fault.fault, fault.message)));
    for stage in status.map(|status| status.stages.as_slice()).unwrap_or_default() {
        lines.push(format!("stage {}: {}, {} s", stage.stage, stage.result.word(), seconds(stage.took_ms)));
        lines.extend(stage.roles.iter().map(|role| format!("  {}", role.line())));
    }
    lines.extend(status.and_then(|status| status.confirmation.clone()));
    lines.join("\n")
}
