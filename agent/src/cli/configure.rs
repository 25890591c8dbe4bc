//! `psyops-agent configure`: runs a stage; after the second one, the report, the mark of a good boot and the site's
//! action.

use super::{complain, pause, say};
use crate::configure::{self, RunLock};
use crate::file;
use crate::hardening;
use crate::last_failure;
use crate::mark_good;
use crate::node;
use crate::older;
use crate::report;
use crate::root::Root;
use crate::status::{Ending, Status};
use crate::syslog::{PausedSyslog, Places};
use handoff::fault::{Fault, FaultAction};
use handoff::manifest::Manifest;
use handoff::report::{BootReport, Configure};
use handoff::role_settings::Stage;
use handoff::slot::Slot;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::process::{Command, ExitCode, Stdio};

pub(super) fn run(root: &Root, stage: Stage) -> ExitCode {
    let lock = match RunLock::take(root) {
        Ok(lock) => lock,
        Err(error) => {
            complain(&error);
            return ExitCode::from(75);
        }
    };
    if stage == Stage::Configure
        && let Ok(report) = report::load(root)
        && let Err(error) = report::greet(root, &report)
    {
        complain(&error);
    }
    // Before init there is no syslog to pause.
    let paused = (stage == Stage::Configure).then(|| pause_syslog(root)).flatten();
    let result = configure::run(root, stage, &lock);
    if let Some(paused) = paused {
        pause::resume(root, paused);
    }
    let ending = match result {
        Ok(result) => {
            for role in &result.roles {
                say(&role.line());
            }
            result.result
        }
        Err(error) => {
            complain(&error);
            Ending::Failed
        }
    };
    if stage == Stage::Configure {
        finish(root);
    }
    match ending {
        Ending::Ok => ExitCode::SUCCESS,
        Ending::Failed | Ending::Running => ExitCode::from(1),
        Ending::Timeout => ExitCode::from(124),
    }
}

/// Reads the output of a daemon that a role's command left running.
pub(super) fn relay_output(left: usize) -> ExitCode {
    let log = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    match log.and_then(|log| configure::read_on(io::stdin().lock(), &log, left)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Pauses syslog; a node where that fails is configured all the same.
fn pause_syslog(root: &Root) -> Option<PausedSyslog> {
    let paused = PausedSyslog::begin(Places::of(root));
    paused.map_err(|error| complain(&error)).ok()
}

/// The boot is complete: marks it good, publishes the report, and applies the site's action.
fn finish(root: &Root) {
    let mut status = Status::load(root).unwrap_or_default();
    let mut report = report::complete(root, &status);
    if let Some(problem) = older::add(root, &mut report) {
        complain(&problem);
    }
    report.older.iter().for_each(|older| say(&older.message));
    let action = action(root, &report);
    let marked = match action {
        FaultAction::Reboot | FaultAction::Rescue => {
            format!("not marked good: the site's action for a failed configuration is {action}")
        }
        _ => {
            if let Err(error) = older::remember(root, &report) {
                complain(&error);
            }
            mark_slot_good(root, &report)
        }
    };
    status.mark_good = Some(marked);
    if !matches!(action, FaultAction::Reboot | FaultAction::Rescue)
        && let Err(error) = last_failure::show(root)
    {
        complain(&error);
    }
    if let Err(error) = status.save(root) {
        complain(&error);
    }
    close_modules(root);
    if let Err(error) = report::publish(root, &report) {
        complain(&error);
    }
    if matches!(action, FaultAction::Reboot | FaultAction::Rescue) && root.is_running_system() {
        if let Err(error) = last_failure::leave(root, &report) {
            complain(&error);
        }
        restart(root, action);
    }
}

/// The boot is complete: closes module loading if the site wants that.
fn close_modules(root: &Root) {
    let Ok(node) = node::load(root) else { return };
    if let Err(error) = hardening::close_modules(root, node.hardening, &mut |line| say(line)) {
        complain(&error);
    }
}

fn mark_slot_good(root: &Root, report: &BootReport) -> String {
    let Some(slot) = report.slot.as_deref().and_then(|letter| letter.parse::<Slot>().ok()) else {
        return "not marked good: this boot came from no slot".into();
    };
    match mark_good::mark_good(root, slot) {
        Ok(true) => format!("slot {slot} is marked good"),
        Ok(false) => format!("slot {slot} was marked good before"),
        Err(error) => {
            complain(&error);
            format!("slot {slot} is not marked good: {error}")
        }
    }
}

/// The site's action for a configuration that failed; `Continue` if it succeeded.
fn action(root: &Root, report: &BootReport) -> FaultAction {
    if report.configure == Configure::Ok {
        return FaultAction::Continue;
    }
    let text = file::read_text(&root.at(handoff::paths::MANIFEST)).unwrap_or_default();
    Manifest::decode(&text)
        .map_or(Fault::Configure.default_action(), |manifest| manifest.policy.action(Fault::Configure))
}

/// Reboots in the ordinary way. This start has used up a try, so the other slot is started in the end; for `rescue` the
/// control partition asks the selector for the rescue shell.
fn restart(root: &Root, action: FaultAction) {
    if action == FaultAction::Rescue
        && let Err(error) = mark_good::request_rescue(root)
    {
        complain(&error);
        return;
    }
    let started = Command::new("reboot").stdin(Stdio::null()).spawn();
    if let Err(error) = started {
        complain(&error);
    }
}
