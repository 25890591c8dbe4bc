//! A damaged system: it is never started, and the other slot runs if there is one.
//!
//! What the selector decides is tested on a small stick in `selector.rs`; here whole systems run.

use anyhow::{Context as _, Result, ensure};
use builder::run::{Machine, OnReset};
use handoff::boot_record::{BootRecord, SIZE, SIZE_U64};
use handoff::control::{ControlRecord, SlotState, SlotStatus};
use handoff::marker;
use handoff::partition::Role;
use handoff::report::Outcome;
use handoff::slot::{PerSlot, Slot};
use qemu_tests::site_fixture::SiteFixture;
use qemu_tests::stick::{Booted, DEADLINE, Stick};
use std::time::Duration;

/// A stick with the same system in both slots, both on trial.
fn with_both_slots() -> Result<Stick> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    for part in [Role::Boot, Role::Root, Role::Verity] {
        let (from, to) = (stick.extent(part(Slot::A))?, stick.extent(part(Slot::B))?);
        ensure!(from.length == to.length, "the slots differ in size");
        let length = usize::try_from(from.length)?;
        stick.write(part(Slot::B), 0, &stick.read(part(Slot::A), 0, length)?)?;
    }
    let trying = SlotStatus { tries_left: 3, state: SlotState::Trying };
    // A sequence higher than the builder's: this record is current.
    let slots = PerSlot { a: trying, b: trying };
    let record = ControlRecord { sequence: 9, slots, ..ControlRecord::fresh(3) };
    stick.set_control(0, &record)?;
    Ok(stick)
}

/// An offset inside a block of the root that is read at every start: in its superblock.
const ROOT_START: u64 = 10;

fn runs_slot_b_because(stick: &Stick, reason: &str) -> Result<()> {
    let seen = stick.boot_cold_and_power_off()?;
    assert_eq!(seen.report.outcome, Outcome::Ok, "{:?}", seen.report);
    assert_eq!(seen.report.slot.as_deref(), Some("b"), "{:?}", seen.report);
    let said = seen.report.selected.clone().unwrap_or_default();
    ensure!(said.contains(reason), "{reason:?} is not in the selector's reason: {said}");
    Ok(())
}

#[test]
fn a_flipped_byte_in_the_uki_runs_the_other_slot() -> Result<()> {
    let stick = with_both_slots()?;
    stick.flip(Role::Boot(Slot::A), 1_000_000)?;
    runs_slot_b_because(&stick, "slot a")
}

#[test]
fn a_flipped_byte_in_the_boot_record_runs_the_other_slot() -> Result<()> {
    let stick = with_both_slots()?;
    let end = stick.extent(Role::Boot(Slot::A))?.length;
    stick.flip(Role::Boot(Slot::A), end - SIZE_U64 + 20)?;
    runs_slot_b_because(&stick, "boot record damaged")
}

#[test]
fn without_another_slot_a_damaged_uki_is_reported() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    stick.flip(Role::Boot(Slot::A), 1_000_000)?;
    let mut machine = Machine::start(&stick.cold())?;
    let line = machine.wait_for_line("nothing can be started", DEADLINE)?;
    ensure!(line.contains("slot a"), "{line}");
    Ok(())
}

/// Boots a stick whose only system is damaged where the loader finds it; it must reboot until no tries are left, and
/// then open the rescue shell, without ever starting the root's init.
fn is_never_handed_over_to(stick: &Stick) -> Result<()> {
    let mut record = ControlRecord::fresh(3);
    record.slots.a.tries_left = 1;
    record.sequence = 9;
    stick.set_control(0, &record)?;
    let mut booted = Booted::wait(&stick.cold())?;
    assert_eq!(booted.seen.report.outcome, Outcome::Rescue, "{:?}", booted.seen.report);
    let console = booted.machine.console();
    ensure!(!console.contains(marker::HANDOVER), "handed over to a damaged root:\n{console}");
    assert_eq!(stick.control()?.effective().slots.a.tries_left, 0);
    booted.machine.send("echo still-$((1+1))\n")?;
    booted.machine.wait_for("still-2", Duration::from_secs(30))?;
    Ok(())
}

#[test]
fn a_root_with_a_flipped_byte_is_never_started() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    stick.flip(Role::Root(Slot::A), ROOT_START)?;
    is_never_handed_over_to(&stick)
}

#[test]
fn a_root_with_a_flipped_byte_in_its_hash_tree_is_never_started() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    // The first block after the superblock is the top of the tree.
    stick.flip(Role::Verity(Slot::A), 4096 + 5)?;
    is_never_handed_over_to(&stick)
}

#[test]
fn the_other_slot_boots_if_the_root_of_one_fails() -> Result<()> {
    let stick = with_both_slots()?;
    // The loader takes any slot whose tree matches the root hash, so this is healed without a reboot.
    stick.flip(Role::Verity(Slot::A), 4096 + 5)?;
    let report = stick.boot_and_power_off()?.report;
    assert_eq!(report.outcome, Outcome::Ok, "{report:?}");
    Ok(())
}

#[test]
fn the_other_slot_boots_when_one_that_was_never_marked_good_has_no_tries() -> Result<()> {
    let stick = with_both_slots()?;
    let mut setup = stick.cold();
    setup.on_reset = OnReset::End;
    for tries_left in [2, 1, 0] {
        let mut machine = Machine::start(&setup)?;
        machine.wait_for(marker::LOADER, DEADLINE)?;
        machine.cut_power()?;
        machine.wait_for_end(Duration::from_secs(30))?;
        assert_eq!(stick.control()?.effective().slots.a.tries_left, tries_left);
    }
    runs_slot_b_because(&stick, "slot a: no tries left")
}

#[test]
fn a_stick_boots_if_either_control_record_is_lost() -> Result<()> {
    for place in [0, 1] {
        let stick = SiteFixture::micro()?.stick("alpha")?;
        stick.set_control(1 - place, &ControlRecord { sequence: 5, ..ControlRecord::fresh(3) })?;
        stick.write(Role::Control, 4096 * u64::try_from(place)?, &[0x5a; 700])?;
        let report = stick.boot_cold_and_power_off()?.report;
        assert_eq!((report.outcome, report.slot.as_deref()), (Outcome::Ok, Some("a")), "{report:?}");
    }
    Ok(())
}

#[test]
fn the_undamaged_slot_boots_if_both_control_records_are_lost() -> Result<()> {
    let stick = with_both_slots()?;
    stick.write(Role::Control, 0, &[0; 8192])?;
    stick.flip(Role::Boot(Slot::A), 1_000_000)?;
    runs_slot_b_because(&stick, "slot a")
}

#[test]
fn the_key_r_leads_to_the_rescue_shell() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let mut machine = Machine::start(&stick.cold())?;
    machine.wait_for("keys for a second", DEADLINE)?;
    machine.send("r")?;
    let seen = builder::run::watch::wait_for_report(&mut machine, DEADLINE)?;
    assert_eq!(seen.report.outcome, Outcome::Rescue, "{:?}", seen.report);
    machine.send("echo rescue-$((40+2))\n")?;
    machine.wait_for("rescue-42", Duration::from_secs(30))?;
    // Rescue uses no try.
    assert_eq!(stick.control()?.effective().slots.a.tries_left, 3);
    Ok(())
}

#[test]
fn the_boot_record_describes_the_uki() -> Result<()> {
    let stick = SiteFixture::micro()?.stick("alpha")?;
    let end = stick.extent(Role::Boot(Slot::A))?.length;
    let record = BootRecord::decode(&stick.read(Role::Boot(Slot::A), end - SIZE_U64, SIZE)?);
    let record = record.context("slot a has no boot record")?;
    let uki = stick.read(Role::Boot(Slot::A), 0, usize::try_from(record.length)?)?;
    assert_eq!(handoff::hash::Sha256Digest::of(&uki), record.digest);
    Ok(())
}
