//! Asks `handoff::decision` what to do, does it, and asks again with what was learned, until a slot runs.
#![cfg(target_os = "uefi")]

use crate::clock::Clock;
use crate::console::say;
use crate::control::Control;
use crate::disk::OwnDisk;
use crate::halt;
use crate::keys::{self, Asked};
use crate::slot::CheckedUki;
use crate::start;
use crate::variables;
use alloc::format;
use alloc::string::{String, ToString as _};
use handoff::control::ControlRecord;
use handoff::decision::{Decision, Health, decide};
use handoff::selection::Selection;
use handoff::slot::{PerSlot, Slot};

/// Takes turns until a slot runs; returns why none could be started.
pub(crate) fn take(disk: &OwnDisk, clock: &Clock) -> String {
    let mut control = Control::read(disk);
    let wish = match keys::listen() {
        Asked::For(wish) => wish,
        Asked::FirmwareSetup => halt::to_firmware_setup(),
    };
    let mut record = control.state();
    let mut health = PerSlot::<Health>::default();
    let mut checked = PerSlot::<Option<CheckedUki>>::default();
    loop {
        match decide(&record, &health, wish) {
            Decision::Check(slot) => {
                let (learned, uki) = check(disk, slot, clock);
                *health.get_mut(slot) = learned;
                *checked.get_mut(slot) = uki;
            }
            Decision::Start { slot, mode, record: next, reason } => {
                let Some(uki) = checked.get_mut(slot).take() else {
                    // Only a slot that was checked is ever decided for; were it otherwise, it is not started.
                    *health.get_mut(slot) = Health::Bad("not checked".into());
                    continue;
                };
                let counted = count(&mut control, &next);
                let tries_left = next.slots.get(slot).tries_left;
                record = next;
                say(format_args!("starting slot {slot}, {mode}, {tries_left} tries left: {reason}"));
                variables::set_selection(&Selection { slot, mode, tries_left, counted, reason });
                variables::set_loader_interface(disk.esp(), &format!("psyops-{slot}"), clock);
                let fault = start::start(uki);
                say(format_args!("slot {slot}: {fault}"));
                *health.get_mut(slot) = Health::Bad(fault.to_string());
            }
            Decision::Halt(why) => return why,
        }
    }
}

/// Looks at a slot, and says what was found and how long that took.
fn check(disk: &OwnDisk, slot: Slot, clock: &Clock) -> (Health, Option<CheckedUki>) {
    let began = clock.now();
    match CheckedUki::read(disk, slot) {
        Ok(uki) => {
            let (release, bytes) = (uki.release(), uki.bytes().len());
            let milliseconds = clock.now().saturating_sub(began) / 1000;
            say(format_args!("slot {slot}: release {release}, {bytes} bytes hold ({milliseconds} ms)"));
            (Health::Intact(release.clone()), Some(uki))
        }
        Err(fault) => {
            say(format_args!("slot {slot}: {fault}"));
            (Health::Bad(fault.to_string()), None)
        }
    }
}

/// Writes the state before the slot runs. Where that fails the stick boots all the same, and says that nobody counts.
fn count(control: &mut Control, next: &ControlRecord) -> bool {
    match control.write(next) {
        Ok(()) => true,
        Err(fault) => {
            say(format_args!("this start is not counted: {fault}"));
            false
        }
    }
}
