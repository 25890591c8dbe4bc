//! Each fault with each action that a site may choose for it. (Rescue for faults of the seal and the identity is in
//! `seal.rs`; repairs in `repair.rs`; roots in `slots.rs`.)

use anyhow::{Result, ensure};
use builder::run::{Access, Machine, OnReset};
use handoff::control::SlotState;
use handoff::fault::{Fault, FaultAction};
use handoff::partition::Role;
use handoff::paths::AGE_KEY;
use handoff::report::{BootReport, Configure, Outcome};
use handoff::slot::Slot;
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::{Booted, DEADLINE, Stick};
use std::time::Duration;

const FILE: &str = "hostname";
/// Why a fault does not restart the machine.
const NO_RESTART: &str = "no restart: the selector could not count";

fn without_seal(stick: &Stick) -> Result<()> {
    for slot in Slot::BOTH {
        let length = usize::try_from(stick.extent(Role::Seal(slot))?.length)?;
        stick.write(Role::Seal(slot), 0, &vec![0; length])?;
    }
    Ok(())
}

fn without_identity(stick: &Stick) -> Result<()> {
    stick.debugfs(&format!("rm /{AGE_KEY}\n"))
}

fn without_secret_partition(stick: &Stick) -> Result<()> {
    stick.write(Role::Secret, 0, &[0; 8192])
}

fn with_a_changed_file(stick: &Stick) -> Result<()> {
    stick.debugfs(&format!("rm /{FILE}\nwrite /etc/passwd /{FILE}\n"))
}

fn with_a_damaged_root(stick: &Stick) -> Result<()> {
    stick.flip(Role::Root(Slot::A), 10)
}

#[expect(clippy::unnecessary_wraps, reason = "it is used where harm is")]
fn unharmed(_: &Stick) -> Result<()> {
    Ok(())
}

/// The messages in the report about a fault, from the loader and from the agent.
fn has_fault(report: &BootReport, fault: &str) -> Result<String> {
    let found = report.faults.iter().filter(|found| found.fault == fault);
    let messages: Vec<&str> = found.map(|found| found.message.as_str()).collect();
    ensure!(!messages.is_empty(), "no fault {fault} in {report:?}");
    Ok(messages.join("\n"))
}

fn harmed(action: FaultAction, node: &str, harm: fn(&Stick) -> Result<()>) -> Result<Stick> {
    let stick = SiteFixture::with_action_for_all(action)?.stick(node)?;
    harm(&stick)?;
    Ok(stick)
}

/// Boots without any of the node's secrets, reports that, and marks the slot good: a boot that the site wants must not
/// use up the tries.
fn boots_without_secrets(fault: &str, harm: fn(&Stick) -> Result<()>) -> Result<()> {
    let stick = harmed(FaultAction::Degraded, "alpha", harm)?;
    let mut booted = stick.boot()?;
    let report = booted.seen.report.clone();
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Failed), "{report:?}");
    has_fault(&report, fault)?;
    let reason = has_fault(&report, "configure")?;
    ensure!(reason.contains("without the node's seal") && reason.contains(fault), "{reason}");
    booted.power_off()?;
    assert_eq!(stick.control()?.effective().slots.a.state, SlotState::Good);
    Ok(())
}

#[test]
fn a_node_without_a_seal_boots_degraded_if_the_site_wants_it() -> Result<()> {
    boots_without_secrets("seal", without_seal)
}

#[test]
fn a_node_without_its_age_key_boots_degraded_if_the_site_wants_it() -> Result<()> {
    boots_without_secrets("identity", without_identity)
}

#[test]
fn a_node_without_a_secret_partition_boots_degraded_if_the_site_wants_it() -> Result<()> {
    boots_without_secrets("secret-partition", without_secret_partition)
}

#[test]
fn a_changed_file_with_action_degraded_comes_from_memory_and_stays_on_the_disk() -> Result<()> {
    let stick = harmed(FaultAction::Degraded, "alpha", with_a_changed_file)?;
    let wrong = stick.secret_file(FILE)?;
    let report = stick.boot_and_power_off()?.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Ok), "{report:?}");
    assert_eq!((report.memory_only.as_slice(), report.repaired.len()), ([FILE.to_owned()].as_slice(), 0));
    has_fault(&report, "file-differs")?;
    assert_eq!(stick.secret_file(FILE)?, wrong);
    Ok(())
}

#[test]
fn a_missing_file_with_action_degraded_starts_no_configuration_run() -> Result<()> {
    let report = harmed(FaultAction::Degraded, "lacks-boot", unharmed)?.boot_and_power_off()?.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Failed), "{report:?}");
    ensure!(has_fault(&report, "install")?.contains("token"), "{report:?}");
    ensure!(has_fault(&report, "configure")?.contains("not started"), "{report:?}");
    Ok(())
}

/// The machine restarts by itself for this fault, has used a try, and does not start the root's init.
fn restarts(fault: &str, node: &str, harm: fn(&Stick) -> Result<()>) -> Result<()> {
    let stick = harmed(FaultAction::Reboot, node, harm)?;
    let mut setup = stick.cold();
    setup.on_reset = OnReset::End;
    let mut machine = Machine::start(&setup)?;
    machine.wait_for_line(&format!("psyops fault: {fault} (step"), DEADLINE)?;
    machine.wait_for_line("restarting: this try is used up", Duration::from_mins(1))?;
    machine.wait_for_end(Duration::from_mins(1))?;
    ensure!(!machine.console().contains(handoff::marker::HANDOVER), "{}", machine.console());
    assert_eq!(stick.control()?.effective().slots.a.tries_left, 2);
    Ok(())
}

#[test]
fn a_node_without_a_seal_restarts_if_the_site_wants_it() -> Result<()> {
    restarts("seal", "alpha", without_seal)
}

#[test]
fn a_node_without_a_secret_partition_restarts_if_the_site_wants_it() -> Result<()> {
    restarts("secret-partition", "alpha", without_secret_partition)
}

#[test]
fn a_node_with_a_changed_file_restarts_if_the_site_wants_it() -> Result<()> {
    restarts("file-differs", "alpha", with_a_changed_file)
}

#[test]
fn a_node_that_lacks_a_file_restarts_if_the_site_wants_it() -> Result<()> {
    restarts("install", "lacks-boot", unharmed)
}

#[test]
fn restarts_end_in_rescue_when_no_try_is_left() -> Result<()> {
    let stick = harmed(FaultAction::Reboot, "alpha", without_identity)?;
    let mut record = stick.control()?.effective();
    record.sequence += 5;
    record.slots.a.tries_left = 2;
    stick.set_control(0, &record)?;
    let mut booted = stick.boot_cold()?;
    assert_eq!(booted.seen.report.outcome, Outcome::Rescue);
    let console = booted.machine.console();
    assert_eq!(console.matches("restarting: this try is used up").count(), 2, "{console}");
    ensure!(console.contains("no slot has a try left"), "{console}");
    // Leaving rescue makes one more attempt, and does not start the counting again.
    booted.machine.send("exit\n")?;
    let again = builder::run::watch::wait_for_report(&mut booted.machine, DEADLINE)?;
    assert_eq!(again.report.outcome, Outcome::Rescue);
    ensure!(booted.machine.console().contains("no restart: the selector started this system for rescue"));
    Ok(())
}

#[test]
fn a_failed_run_with_action_reboot_does_not_mark_the_slot_good() -> Result<()> {
    let stick = harmed(FaultAction::Reboot, "failing", unharmed)?;
    let mut setup = stick.cold();
    setup.on_reset = OnReset::End;
    let mut booted = Booted::wait(&setup)?;
    assert_eq!(booted.seen.report.configure, Configure::Failed);
    booted.machine.wait_for_end(Duration::from_mins(2))?;
    let slot = stick.control()?.effective().slots.a;
    assert_eq!((slot.tries_left, slot.state), (2, SlotState::Trying));
    Ok(())
}

fn ends_in_rescue(stick: &Stick, fault: &str) -> Result<Booted> {
    let booted = stick.boot()?;
    let report = &booted.seen.report;
    assert_eq!(report.outcome, Outcome::Rescue, "{report:?}");
    has_fault(report, fault)?;
    ensure!(!booted.machine.console().contains("restarting"), "{}", booted.machine.console());
    Ok(booted)
}

#[test]
fn a_changed_file_with_action_rescue_is_not_repaired() -> Result<()> {
    let stick = harmed(FaultAction::Rescue, "alpha", with_a_changed_file)?;
    let wrong = stick.secret_file(FILE)?;
    ends_in_rescue(&stick, "file-differs")?;
    assert_eq!(stick.secret_file(FILE)?, wrong);
    Ok(())
}

#[test]
fn a_damaged_root_with_action_rescue_does_not_restart_first() -> Result<()> {
    ends_in_rescue(&harmed(FaultAction::Rescue, "alpha", with_a_damaged_root)?, "root").map(|_| ())
}

#[test]
fn a_failed_run_with_action_rescue_requests_rescue_from_the_selector() -> Result<()> {
    let stick = harmed(FaultAction::Rescue, "failing", unharmed)?;
    let mut machine = Machine::start(&stick.cold())?;
    machine.wait_for("rescue requested by the last system", DEADLINE.saturating_mul(2))?;
    let seen = builder::run::watch::wait_for_report(&mut machine, DEADLINE)?;
    assert_eq!(seen.report.outcome, Outcome::Rescue);
    ensure!(!stick.control()?.effective().rescue_requested, "a request is fulfilled once");
    Ok(())
}

/// A repair that cannot be written, on a read-only medium: the selector cannot count there, so a restart would never
/// end.
#[test]
fn a_failed_repair_on_a_read_only_medium_starts_rescue_or_restarts() -> Result<()> {
    for (action, restarts) in [(FaultAction::Rescue, &[][..]), (FaultAction::Reboot, &[NO_RESTART])] {
        // With the same action for `file-differs`, the loader would not try a repair.
        let stick = SiteFixture::with_action(Fault::Repair, action)?.stick("alpha")?;
        with_a_changed_file(&stick)?;
        let mut setup = if action == FaultAction::Reboot { stick.cold() } else { stick.setup()? };
        for disk in &mut setup.disks {
            disk.access = Access::ReadOnly;
        }
        let booted = Booted::wait(&setup)?;
        assert_eq!(booted.seen.report.outcome, Outcome::Rescue, "{:?}", booted.seen.report);
        has_fault(&booted.seen.report, "repair")?;
        let console = booted.machine.console();
        let is_about_it = |line: &&str| line.contains("no restart") || line.contains("restarting");
        let said: Vec<&str> = console.lines().filter(is_about_it).collect();
        ensure!(said.len() == restarts.len(), "{said:?}\n{console}");
        ensure!(said.iter().zip(restarts).all(|(line, words)| line.contains(words)), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_missing_file_starts_rescue_by_default_and_is_named() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("lacks-boot")?;
    let booted = ends_in_rescue(&stick, "install")?;
    let message = has_fault(&booted.seen.report, "install")?;
    ensure!(message.contains("token") && message.contains("/etc/profile/token"), "{message}");
    Ok(())
}

#[test]
fn without_a_file_that_only_the_run_needs_the_node_boots_and_the_run_does_not_start() -> Result<()> {
    let report = SiteFixture::micro()?.stick("lacks-run")?.boot_and_power_off()?.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Degraded, Configure::Failed), "{report:?}");
    assert_eq!(report.missing, ["token"]);
    let reason = has_fault(&report, "configure")?;
    ensure!(reason.contains("not started") && reason.contains("token"), "{reason}");
    Ok(())
}

#[test]
fn an_optional_file_is_only_reported() -> Result<()> {
    let report = SiteFixture::micro()?.stick("lacks-optional")?.boot_and_power_off()?.report;
    assert_eq!((report.outcome, report.configure), (Outcome::Ok, Configure::Ok), "{report:?}");
    assert_eq!(report.missing, ["token"]);
    ensure!(has_fault(&report, "install")?.contains("token"), "{report:?}");
    Ok(())
}
