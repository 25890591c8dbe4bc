//! Calls `handoff::decision`, does what it returns, and calls it again with what was learned, until a slot runs.
#![cfg(target_os = "uefi")]

use crate::clock::Clock;
use crate::console::say;
use crate::control::Control;
use crate::disk::OwnDisk;
use crate::halt;
use crate::keys::{Asked, Window};
use crate::slot::CheckedUki;
use crate::start;
use crate::variables;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt::Display;
use handoff::control::ControlRecord;
use handoff::decision::{BootRequest, Decision, Health, decide};
use handoff::selection::Selection;
use handoff::slot::{PerSlot, Slot};

/// What is known of the slots, and the UKIs that were checked.
#[derive(Default)]
struct Slots {
    health: PerSlot<Health>,
    checked: PerSlot<Option<CheckedUki>>,
}

/// Makes decisions until a slot runs; returns why none could be started.
pub(crate) fn take(disk: &OwnDisk, clock: &Clock) -> String {
    let mut control = Control::read(disk);
    let mut record = control.state();
    let mut slots = Slots::default();
    let window = Window::open(clock);
    // The slot that will most likely run is read while a person may still press a key.
    if let Decision::Check(slot) = decide(&record, &slots.health, BootRequest::None) {
        slots.check(disk, slot, clock);
    }
    let request = match window.listen(clock) {
        Asked::For(request) => request,
        Asked::FirmwareSetup => halt::to_firmware_setup(),
    };
    loop {
        match decide(&record, &slots.health, request) {
            Decision::Check(slot) => slots.check(disk, slot, clock),
            Decision::Start { slot, mode, record: next, reason } => {
                let Some(uki) = slots.checked.get_mut(slot).take() else {
                    // The decision is always for a slot that was checked; if that were wrong, the slot would not be
                    // started.
                    slots.fail(slot, &"not checked");
                    continue;
                };
                let counted = count(&mut control, &next);
                let tries_left = next.slots.get(slot).tries_left;
                record = next;
                say(format_args!("starting slot {slot}, {mode}, {tries_left} tries left: {reason}"));
                variables::set_selection(&Selection { slot, mode, tries_left, counted, reason });
                variables::set_loader_interface(disk.esp(), &format!("psyops-{slot}"), clock);
                let fault = start::start(uki);
                slots.fail(slot, &fault);
            }
            Decision::Halt(why) => return why,
        }
    }
}

impl Slots {
    /// Checks a slot, and prints the result and how long it took.
    fn check(&mut self, disk: &OwnDisk, slot: Slot, clock: &Clock) {
        let began = clock.now();
        match CheckedUki::read(disk, slot) {
            Ok(uki) => {
                let (release, bytes) = (uki.release(), uki.bytes().len());
                let milliseconds = clock.now().saturating_sub(began) / 1000;
                say(format_args!(
                    "slot {slot}: release {release}, {bytes} bytes are intact ({milliseconds} ms)"
                ));
                *self.health.get_mut(slot) = Health::Intact(release.clone());
                *self.checked.get_mut(slot) = Some(uki);
            }
            Err(fault) => self.fail(slot, &fault),
        }
    }

    /// Prints why a slot is not to be started, and remembers it.
    fn fail(&mut self, slot: Slot, why: &dyn Display) {
        say(format_args!("slot {slot}: {why}"));
        *self.health.get_mut(slot) = Health::Bad(why.to_string());
    }
}

/// Writes the state before the slot runs. If that fails the stick still boots, and a message says that the start is not
/// counted.
fn count(control: &mut Control, next: &ControlRecord) -> bool {
    match control.write(next) {
        Ok(()) => true,
        Err(fault) => {
            say(format_args!("this start is not counted: {fault}"));
            false
        }
    }
}
