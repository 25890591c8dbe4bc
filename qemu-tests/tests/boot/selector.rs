//! The selector on a small stick, cold, from firmware: which slot runs, what is counted on the disk, what is printed.
//!
//! Each test damages one thing. A boot is only good if the started system was told what is asserted, the machine ended
//! by itself, and the control records on the disk are right.

use anyhow::{Result, ensure};
use builder::run::Access;
use handoff::control::{ControlRecord, SlotState, SlotStatus};
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::selection::{Mode, Selection};
use handoff::slot::{PerSlot, Slot};
use qemu_tests::selector_vm::{Console, DEADLINE, Probe, SelectorVm, end_of, probe};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

const KEY_WINDOW: &str = "keys for a second";

fn trying(tries_left: u8) -> SlotStatus {
    SlotStatus { tries_left, state: SlotState::Trying }
}

/// Slot a first, both slots on trial with these tries.
fn record(sequence: u64, a: u8, b: u8) -> ControlRecord {
    ControlRecord { sequence, slots: PerSlot { a: trying(a), b: trying(b) }, ..ControlRecord::fresh(3) }
}

fn must_be(told: &Selection, slot: Slot, mode: Mode, tries_left: u8) {
    assert_eq!((told.slot, told.mode, told.tries_left), (slot, mode, tries_left), "{told:?}");
}

/// Boots while `keys` are typed in the key window.
fn boot_typing(vm: &SelectorVm, keys: &str) -> Result<Console> {
    let mut machine = vm.start(Access::Write)?;
    machine.wait_for(KEY_WINDOW, DEADLINE)?;
    machine.send(keys)?;
    end_of(machine)
}

#[test]
fn a_fresh_stick_boots_slot_a_and_each_start_takes_a_try() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let console = vm.boot(Access::Write)?;
    let told = console.selection()?;
    must_be(&told, Slot::A, Mode::Normal, 2);
    assert!(told.counted);
    assert_eq!(told.reason, "first in order");
    assert_eq!(console.variable("LoaderDevicePartUUID")?, vm.disk.part_uuid(Role::Esp)?);
    assert_eq!(console.variable("LoaderEntrySelected")?, "psyops-a");
    assert!(console.variable("LoaderInfo")?.starts_with("psyops-selector "));
    let began: u64 = console.variable("LoaderTimeInitUSec")?.parse()?;
    let started: u64 = console.variable("LoaderTimeExecUSec")?.parse()?;
    // The counter is measured with the firmware's stall, which is longer on a busy host: half a second is accepted.
    ensure!(began > 0 && started > began + 500_000, "the key window takes a second: {began}..{started}");

    let area = vm.disk.control()?;
    let after = ControlRecord {
        sequence: 2,
        slots: PerSlot { a: trying(2), ..Default::default() },
        ..ControlRecord::fresh(3)
    };
    assert_eq!(area.records, [Ok(ControlRecord::fresh(3)), Ok(after)]);

    must_be(&vm.boot(Access::Write)?.selection()?, Slot::A, Mode::Normal, 1);
    assert_eq!(vm.disk.control()?.effective().sequence, 3);
    Ok(())
}

#[test]
fn a_start_of_a_good_slot_takes_a_try_too() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    vm.disk.set_control(0, &ControlRecord::fresh(3).marked_good(Slot::A))?;
    must_be(&vm.boot(Access::Write)?.selection()?, Slot::A, Mode::Normal, 2);
    let status = vm.disk.control()?.effective().slots.a;
    assert_eq!(status, SlotStatus { tries_left: 2, state: SlotState::Good });
    Ok(())
}

#[test]
fn the_other_slot_starts_if_one_has_no_tries() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 0, 3))?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert_eq!(told.reason, "second in order; slot a: no tries left");
    assert_eq!(vm.disk.control()?.effective().slots, PerSlot { a: trying(0), b: trying(2) });
    Ok(())
}

#[test]
fn without_tries_the_rescue_shell_starts_and_no_try_is_taken() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let spent =
        ControlRecord { slots: PerSlot { a: trying(0), ..Default::default() }, ..ControlRecord::fresh(3) };
    vm.disk.set_control(0, &spent)?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::A, Mode::Rescue, 0);
    assert_eq!(told.reason, "no slot has a try left; slot a: no tries left; slot b: empty");
    assert_eq!(vm.disk.control()?.effective().slots, spent.slots);
    Ok(())
}

#[test]
fn a_flipped_byte_in_the_uki_starts_the_other_slot() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    vm.disk.flip(Role::Boot(Slot::A), 5000)?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert!(
        told.reason.starts_with("second in order; slot a: UKI damaged: its SHA-256 is "),
        "{}",
        told.reason
    );
    assert_eq!(vm.disk.control()?.effective().slots, PerSlot { a: trying(3), b: trying(2) });
    Ok(())
}

#[test]
fn a_flipped_byte_in_the_boot_record_starts_the_other_slot() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    vm.disk.flip(Role::Boot(Slot::A), vm.record_offset(Slot::A)? + 20)?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert!(told.reason.starts_with("second in order; slot a: boot record damaged"), "{}", told.reason);
    Ok(())
}

#[test]
fn a_boot_record_of_a_larger_uki_starts_the_other_slot() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    vm.record(Slot::A, 1 << 40, Sha256Digest::of(b""))?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    let room = vm.record_offset(Slot::A)?;
    let expected =
        format!("the boot record has a UKI of 1099511627776 bytes, the partition has room for {room}");
    assert!(told.reason.contains(&expected), "{}", told.reason);
    Ok(())
}

#[test]
fn a_uki_that_firmware_refuses_uses_up_a_try_and_the_other_slot_starts() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    vm.install(Slot::A, &[0x5a; 10_000])?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert!(told.reason.contains("slot a: the firmware refused the UKI: "), "{}", told.reason);
    assert_eq!(vm.disk.control()?.effective().slots, PerSlot { a: trying(2), b: trying(2) });
    Ok(())
}

#[test]
fn a_uki_that_returns_uses_up_a_try_and_the_other_slot_starts() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    vm.install(Slot::A, &probe(Probe::ComesBack)?)?;
    let console = vm.boot(Access::Write)?;
    console.must_say("probe: coming back")?;
    let told = console.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert!(told.reason.contains("slot a: the UKI ended without starting a kernel"), "{}", told.reason);
    assert_eq!(vm.disk.control()?.effective().slots, PerSlot { a: trying(2), b: trying(2) });
    Ok(())
}

#[test]
fn the_other_control_record_counts_if_one_is_torn() -> Result<()> {
    for (torn, other) in [(0, 1), (1, 0)] {
        let vm = SelectorVm::with_both_slots(&record(4, 3, 3))?;
        vm.disk.set_control(torn, &record(7, 1, 1))?;
        vm.disk.set_control(other, &record(6, 3, 2))?;
        // Half of a record, like after a power cut.
        vm.disk.write(Role::Control, if torn == 0 { 0 } else { 4096 } + 2048, &[0xff; 2048])?;
        let console = vm.boot(Access::Write)?;
        console.must_say("control record 6 is valid")?;
        console.must_say(&format!("place {torn}: control record damaged or written in part"))?;
        must_be(&console.selection()?, Slot::A, Mode::Normal, 2);
        let area = vm.disk.control()?;
        assert_eq!(
            area.records.get(other),
            Some(&Ok(record(6, 3, 2))),
            "the record that held was written over"
        );
        assert_eq!(area.records.get(torn), Some(&Ok(record(7, 2, 2))));
    }
    Ok(())
}

#[test]
fn without_control_records_the_undamaged_slot_starts() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    vm.disk.write(Role::Control, 0, &[0; 8192])?;
    vm.disk.flip(Role::Boot(Slot::A), 0)?;
    let console = vm.boot(Access::Write)?;
    console.must_say("no control record is valid: both slots can be started")?;
    must_be(&console.selection()?, Slot::B, Mode::Normal, 2);
    let held = vm.disk.control()?.effective();
    assert_eq!((held.sequence, held.slots), (1, PerSlot { a: trying(3), b: trying(2) }));
    Ok(())
}

#[test]
fn without_a_control_partition_the_stick_boots_without_counting_tries() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let renamed = Command::new("sgdisk").arg("--change-name=2:other").arg(vm.disk.path()).output()?;
    ensure!(renamed.status.success(), "{renamed:?}");
    let console = vm.boot(Access::Write)?;
    console.must_say("no partition control on this disk")?;
    let told = console.selection()?;
    must_be(&told, Slot::A, Mode::Normal, 2);
    assert!(!told.counted);
    Ok(())
}

#[test]
fn a_stick_with_a_torn_first_partition_table_boots() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    // The header of the primary copy (sector 1), and the first entries after it.
    let file = OpenOptions::new().read(true).write(true).open(vm.disk.path())?;
    let (mut before, mut after) = ([0; 1024], [0; 1024]);
    file.read_exact_at(&mut before, 512)?;
    file.write_all_at(&[0; 1024], 512)?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::A, Mode::Normal, 2);
    assert!(told.counted);
    // EDK2 repairs the first copy before it starts anything (`PartitionDxe`), so that the selector has no fault to
    // print. Its message for firmware without such a repair is tested with the reader (handoff/src/gpt).
    file.read_exact_at(&mut after, 512)?;
    assert_eq!(after, before);
    Ok(())
}

#[test]
fn a_partition_of_the_right_name_and_another_type_is_not_started() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    let retyped = Command::new("sgdisk").arg("--typecode=3:8300").arg(vm.disk.path()).output()?;
    ensure!(retyped.status.success(), "{retyped:?}");
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert_eq!(told.reason, "second in order; slot a: no partition boot-a on this disk");
    Ok(())
}

#[test]
fn a_read_only_stick_boots_without_counting_tries() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let before = fs::read(vm.disk.path())?;
    let console = vm.boot(Access::ReadOnly)?;
    let told = console.selection()?;
    must_be(&told, Slot::A, Mode::Normal, 2);
    assert!(!told.counted);
    console.must_say("this start is not counted: control cannot be written: read-only medium")?;
    assert!(fs::read(vm.disk.path())? == before, "a read-only stick changed");
    Ok(())
}

#[test]
fn only_the_control_partition_is_ever_written() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let before = fs::read(vm.disk.path())?;
    vm.boot(Access::Write)?;
    let control = vm.disk.extent(Role::Control)?;
    let (start, end) = (control.start, control.start + control.length);
    let after = fs::read(vm.disk.path())?;
    for (offset, (old, new)) in (0_u64..).zip(before.iter().zip(&after)) {
        assert!(old == new || (start..end).contains(&offset), "byte {offset} of the disk changed");
    }
    Ok(())
}

#[test]
fn key_r_leads_to_rescue_and_takes_no_try() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let told = boot_typing(&vm, "r")?.selection()?;
    must_be(&told, Slot::A, Mode::Rescue, 3);
    assert_eq!(told.reason, "rescue asked for at the keyboard");
    Ok(())
}

#[test]
fn key_b_starts_slot_b_out_of_order() -> Result<()> {
    let vm = SelectorVm::with_both_slots(&record(1, 3, 3))?;
    let told = boot_typing(&vm, "b")?.selection()?;
    must_be(&told, Slot::B, Mode::Normal, 2);
    assert_eq!(told.reason, "asked for at the keyboard");
    Ok(())
}

#[test]
fn key_f_restarts_into_the_firmware_and_takes_no_try() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    let console = boot_typing(&vm, "f")?;
    console.must_say("restarting into the firmware's set-up")?;
    assert_eq!(vm.disk.control()?.effective(), ControlRecord::fresh(3));
    Ok(())
}

#[test]
fn a_requested_rescue_starts_once() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    vm.disk.set_control(0, &ControlRecord { rescue_requested: true, ..ControlRecord::fresh(3) })?;
    let told = vm.boot(Access::Write)?.selection()?;
    must_be(&told, Slot::A, Mode::Rescue, 3);
    assert_eq!(told.reason, "rescue requested by the last system");
    assert!(!vm.disk.control()?.effective().rescue_requested);
    Ok(())
}

#[test]
fn without_a_slot_to_start_the_selector_prints_why_and_waits_for_a_key() -> Result<()> {
    let vm = SelectorVm::fresh()?;
    vm.disk.flip(Role::Boot(Slot::A), 0)?;
    let mut machine = vm.start(Access::Write)?;
    machine.wait_for("press f for the firmware's set-up, any other key to restart", DEADLINE)?;
    let said = machine.console();
    assert!(said.contains("nothing can be started: slot a: UKI damaged: "), "{said}");
    assert!(said.contains("; slot b: empty slot: no boot record"), "{said}");
    assert!(
        said.contains(
            "to do: write this stick again on the workstation: build-image --site SITE --node NAME"
        ),
        "{said}"
    );
    machine.send("x")?;
    end_of(machine)?;
    assert_eq!(vm.disk.control()?.effective(), ControlRecord::fresh(3));
    Ok(())
}

#[test]
fn the_selector_ignores_another_stick_in_the_machine() -> Result<()> {
    let (own, other) =
        (SelectorVm::with_both_slots(&record(1, 3, 3))?, SelectorVm::with_both_slots(&record(9, 1, 1))?);
    own.disk.flip(Role::Boot(Slot::A), 0)?;
    let before = fs::read(other.disk.path())?;
    let console = own.boot_beside(&other)?;
    must_be(&console.selection()?, Slot::B, Mode::Normal, 2);
    assert_eq!(console.variable("LoaderDevicePartUUID")?, own.disk.part_uuid(Role::Esp)?);
    assert!(fs::read(other.disk.path())? == before, "the other stick changed");
    Ok(())
}

#[test]
fn a_clone_of_the_stick_is_recognised_by_its_port() -> Result<()> {
    let (own, clone) = (SelectorVm::fresh()?, SelectorVm::fresh()?);
    fs::copy(own.disk.path(), clone.disk.path())?;
    // With this record the clone would be used if it were taken for the own one.
    clone.disk.set_control(0, &record(9, 1, 1))?;
    let before = fs::read(clone.disk.path())?;
    must_be(&own.boot_beside(&clone)?.selection()?, Slot::A, Mode::Normal, 2);
    assert_eq!(own.disk.control()?.effective().sequence, 2);
    assert!(fs::read(clone.disk.path())? == before, "the clone changed");
    Ok(())
}
