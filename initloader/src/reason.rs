//! Writing the reason of a failed boot and its log into the control partition, so that they survive the restart.

use crate::boot::Boot;
use crate::failure::Failure;
use handoff::last_failure::LastFailure;
use handoff::partition::Role;
use medium::{Partition, failure_area};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How long writing may take on a worn stick before the machine restarts without it.
const DEADLINE: Duration = Duration::from_mins(1);

/// Writes the failure, if the disk that this system was started from is known. An error is only logged.
pub(crate) fn leave(boot: &mut Boot, failure: &Failure) {
    let Some(control) = boot.disk.as_ref().and_then(|disk| disk.device(Role::Control)) else { return };
    let device = control.path();
    boot.watch("leave-reason", DEADLINE);
    let report = &boot.report;
    let reason = LastFailure {
        node: report.node.clone().unwrap_or_default(),
        slot: report.slot.as_deref().and_then(|letter| letter.parse().ok()),
        release: report.release.clone().unwrap_or_default(),
        step: failure.step.into(),
        fault: failure.kind.to_string(),
        problem: failure.problem.clone(),
        remedy: failure.remedy.clone(),
        unix_time: clock_gettime(ClockId::CLOCK_REALTIME)
            .map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0)),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into(),
        log: boot.log.text().into(),
    };
    let left = Partition::open_to_write(&device).and_then(|control| failure_area::leave(&control, reason));
    match left {
        Ok(()) => boot.log.info("the reason is stored on the stick; the next boot that succeeds reports it"),
        Err(error) => boot.log.error(&format!("the reason cannot be stored on the stick: {error}")),
    }
}
