//! `psyops-agent status`: the boot report and the configuration run, for people and for programs.

use super::{FORMAT, StatusArguments, complain, say};
use crate::configure::RunLock;
use crate::last_failure;
use crate::report;
use crate::root::Root;
use crate::status::Status;
use crate::syslog::{PauseState, Places};
use handoff::json::{Object, seconds};
use handoff::report::{BootReport, Configure, Outcome};
use handoff::shown::Shown;
use std::error::Error;
use std::process::ExitCode;

/// The exit code if there is no report, or the configuration is still running.
const UNKNOWN: u8 = 3;

pub(super) fn run(root: &Root, arguments: &StatusArguments) -> ExitCode {
    let report = match report::load(root) {
        Ok(report) => report,
        Err(error) => {
            complain(&error);
            return ExitCode::from(UNKNOWN);
        }
    };
    let status = Status::load(root);
    let syslog = PauseState::load(&Places::state(root));
    if arguments.json {
        let status = status.and_then(|status| serde_json::to_string(&status).ok());
        let status = status.unwrap_or_else(|| "null".into());
        let syslog = syslog.and_then(|state| serde_json::to_string(&state).ok());
        say(&Object::new()
            .number("format", FORMAT)
            .raw("report", &report.to_json())
            .raw("status", &status)
            .raw("syslog_pause", &syslog.unwrap_or_else(|| "null".into()))
            .raw("last_failure", &last_failure::shown(root).unwrap_or_else(|| "null".into()))
            .finish());
    } else if arguments.short {
        say(&report::summary(&report));
    } else {
        say(&report::summary(&report));
        say(&details(&report, status.as_ref()));
        syslog.iter().flat_map(PauseState::lines).for_each(|line| say(&line));
        if let Some(line) = last_failure::shown_line(root) {
            say(&format!("the boot before failed: {line}"));
        }
    }
    ExitCode::from(code(&report))
}

/// Completes the timeline. It first waits for the end of a configuration run, which writes the report too.
pub(super) fn timeline(root: &Root) -> ExitCode {
    let _lock = match RunLock::wait(root) {
        Ok(lock) => lock,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let written = report::load(root)
        .map_err(Box::<dyn Error>::from)
        .and_then(|report| Ok(report::write(root, &report::with_services(root, &report))?));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// The exit code for a report. Monitoring depends on these numbers.
fn code(report: &BootReport) -> u8 {
    match (report.outcome, report.configure) {
        (_, Configure::Pending) => UNKNOWN,
        (Outcome::Ok, _) => 0,
        (Outcome::Degraded, _) => 1,
        (Outcome::Rescue, _) => 4,
    }
}

fn details(report: &BootReport, status: Option<&Status>) -> String {
    let mut lines = vec![format!("{} files match the seal", report.verified)];
    for (what, names) in [
        ("repaired", &report.repaired),
        ("right in memory only", &report.memory_only),
        ("not in the seal", &report.unknown),
    ] {
        lines.extend(names.iter().map(|name| format!("{what}: {name}")));
    }
    // Something older that runs is among the faults already.
    let places = report.older.iter().filter(|older| !older.what.runs());
    lines.extend(places.map(|older| format!("older: {}", older.message)));
    lines.extend(report.faults.iter().map(|fault| format!("fault {}: {}", fault.fault, fault.message)));
    for stage in status.map(|status| status.stages.as_slice()).unwrap_or_default() {
        lines.push(format!("stage {}: {}, {} s", stage.stage, stage.result.word(), seconds(stage.took_ms)));
        lines.extend(stage.roles.iter().map(|role| format!("  {}", role.line())));
    }
    lines.extend(status.and_then(|status| status.mark_good.clone()));
    // The lines have names of files, and each must stay one line.
    lines.iter().map(|line| Shown(line).to_string()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_reflects_the_outcome() {
        for (outcome, configure, expected) in [
            (Outcome::Ok, Configure::Ok, 0),
            (Outcome::Degraded, Configure::Ok, 1),
            (Outcome::Degraded, Configure::Failed, 1),
            (Outcome::Degraded, Configure::Timeout, 1),
            (Outcome::Ok, Configure::Pending, 3),
            (Outcome::Degraded, Configure::Pending, 3),
            (Outcome::Rescue, Configure::Failed, 4),
        ] {
            let report = BootReport { outcome, configure, ..BootReport::default() };
            assert_eq!(code(&report), expected, "{outcome} {configure}");
        }
    }
}
