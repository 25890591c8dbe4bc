//! The services of the root's own init, if it records times: the last part of the boot report's timeline.
//!
//! Read once after boot. An init without times makes the timeline shorter; it is not an error.

mod scripts;
mod systemd;

use crate::root::Root;
use handoff::report::{BootReport, Step, StepKind};

/// Puts the services into the report, in place of the former ones.
pub fn add(root: &Root, report: &mut BootReport) {
    let mut services =
        if root.at("/run/systemd/system").is_dir() { systemd::services() } else { scripts::services(root) };
    services.sort_by_key(|step| step.start_ms);
    report.steps.retain(|step| step.kind != StepKind::Service);
    report.steps.extend(services);
}

/// A service that started and was ready at these times, in milliseconds since the kernel started.
fn service(name: &str, start_ms: u64, up_ms: u64) -> Step {
    let took_ms = up_ms.saturating_sub(start_ms);
    Step { name: name.to_owned(), kind: StepKind::Service, start_ms, took_ms }
}
