//! Which slot to start: a pure function from the control record and what is known of the slots.
//!
//! The selector calls [`decide`], does what it returns (checks a slot, or starts one), and calls it again with what it
//! learned. Checking a slot means reading megabytes from a stick, so only slots that may be started are checked.

use crate::control::{ControlRecord, SlotState};
use crate::name::Name;
use crate::selection::Mode;
use crate::slot::{PerSlot, Slot};
use alloc::format;
use alloc::string::String;

/// What the selector has found out about a slot's boot partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Not checked yet.
    #[default]
    Unknown,
    /// Boot record and UKI are intact; holds the release.
    Intact(Name),
    /// Not to be started; holds the reason.
    Bad(String),
}

/// The request of a person at the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootRequest {
    /// Nothing was pressed.
    #[default]
    None,
    /// The rescue shell.
    Rescue,
    /// This slot, whatever its tries.
    Slot(Slot),
}

/// What the selector does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Read this slot's record and UKI, then ask again.
    Check(Slot),
    /// Write `record`, then start this slot.
    Start {
        /// The slot to start.
        slot: Slot,
        /// Whether the system boots normally or goes to the rescue shell.
        mode: Mode,
        /// The control record to write first.
        record: ControlRecord,
        /// Why this slot and mode, in words for the screen.
        reason: String,
    },
    /// No slot can be started; holds the reason.
    Halt(String),
}

/// Returns the next step for the selector.
#[must_use]
pub fn decide(record: &ControlRecord, health: &PerSlot<Health>, request: BootRequest) -> Decision {
    let rescue = request == BootRequest::Rescue || record.rescue_requested;
    let order = match request {
        BootRequest::Slot(slot) => [slot, slot.other()],
        _ => [record.first, record.first.other()],
    };
    let mut passed = String::new();
    for slot in order {
        let asked_for = request == BootRequest::Slot(slot);
        if let Some(why) = why_not(record, health, slot, rescue || asked_for) {
            note(&mut passed, slot, &why);
            continue;
        }
        return match health.get(slot) {
            Health::Unknown => Decision::Check(slot),
            _ if rescue => start(record, slot, Mode::Rescue, rescue_reason(request), &passed),
            _ if asked_for => start(record, slot, Mode::Normal, "asked for at the keyboard", &passed),
            _ if slot == record.first => start(record, slot, Mode::Normal, "first in order", &passed),
            _ => start(record, slot, Mode::Normal, "second in order", &passed),
        };
    }
    last_resort(record, health, order, passed)
}

/// For when no slot may be started normally: any intact one is started into the rescue shell.
fn last_resort(
    record: &ControlRecord,
    health: &PerSlot<Health>,
    order: [Slot; 2],
    passed: String,
) -> Decision {
    for slot in order {
        match health.get(slot) {
            Health::Bad(_) => {}
            Health::Unknown => return Decision::Check(slot),
            Health::Intact(_) => {
                return start(record, slot, Mode::Rescue, "no slot has a try left", &passed);
            }
        }
    }
    Decision::Halt(passed)
}

/// Why `slot` is not started; `free` means that tries and refusals do not count.
fn why_not(record: &ControlRecord, health: &PerSlot<Health>, slot: Slot, free: bool) -> Option<String> {
    let status = record.slots.get(slot);
    if let Health::Bad(why) = health.get(slot) {
        return Some(why.clone());
    }
    if free {
        return None;
    }
    if status.state == SlotState::Empty {
        return Some("empty".into());
    }
    if status.tries_left == 0 {
        return Some("no tries left".into());
    }
    match health.get(slot) {
        Health::Intact(release) if record.refused.contains(release) => {
            Some(format!("release {release} is refused"))
        }
        _ => None,
    }
}

fn rescue_reason(request: BootRequest) -> &'static str {
    if request == BootRequest::Rescue {
        "rescue asked for at the keyboard"
    } else {
        "rescue requested by the last system"
    }
}

fn note(passed: &mut String, slot: Slot, why: &str) {
    if !passed.is_empty() {
        passed.push_str("; ");
    }
    passed.push_str(&format!("slot {slot}: {why}"));
}

fn start(record: &ControlRecord, slot: Slot, mode: Mode, why: &str, passed: &str) -> Decision {
    let mut next = record.clone();
    next.rescue_requested = false;
    if mode == Mode::Normal {
        let status = next.slots.get_mut(slot);
        status.tries_left = status.tries_left.saturating_sub(1);
    }
    let reason = if passed.is_empty() { why.into() } else { format!("{why}; {passed}") };
    Decision::Start { slot, mode, record: next, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::SlotStatus;
    use alloc::vec::Vec;

    fn name() -> Name {
        "r1".parse().unwrap()
    }

    /// Runs the selector's loop against slots whose actual condition is `intact`.
    fn run(record: &ControlRecord, intact: PerSlot<bool>, request: BootRequest) -> (Decision, Vec<Slot>) {
        let mut health = PerSlot::<Health>::default();
        let mut checked = Vec::new();
        loop {
            match decide(record, &health, request) {
                Decision::Check(slot) => {
                    assert!(!checked.contains(&slot), "slot {slot} checked twice");
                    checked.push(slot);
                    *health.get_mut(slot) = if *intact.get(slot) {
                        Health::Intact(name())
                    } else {
                        Health::Bad("UKI damaged".into())
                    };
                }
                end => return (end, checked),
            }
        }
    }

    fn statuses() -> Vec<SlotStatus> {
        let mut all = Vec::new();
        for state in [SlotState::Empty, SlotState::Trying, SlotState::Good] {
            for tries_left in 0..=3 {
                all.push(SlotStatus { tries_left, state });
            }
        }
        all
    }

    fn every_state(mut visit: impl FnMut(&ControlRecord, PerSlot<bool>, BootRequest)) {
        let requests =
            [BootRequest::None, BootRequest::Rescue, BootRequest::Slot(Slot::A), BootRequest::Slot(Slot::B)];
        for first in Slot::BOTH {
            for a in statuses() {
                for b in statuses() {
                    for rescue_requested in [false, true] {
                        for refused in [Vec::new(), alloc::vec![name()]] {
                            let record = ControlRecord {
                                first,
                                slots: PerSlot { a, b },
                                rescue_requested,
                                refused,
                                ..ControlRecord::fresh(3)
                            };
                            for bits in 0..4 {
                                let intact = PerSlot { a: bits & 1 != 0, b: bits & 2 != 0 };
                                for request in requests {
                                    visit(&record, intact, request);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn in_every_state_an_intact_slot_is_started_and_a_bad_one_never() {
        every_state(|record, intact, request| {
            let (decision, _) = run(record, intact, request);
            match decision {
                Decision::Start { slot, .. } => {
                    assert!(*intact.get(slot), "{record:?} {intact:?} {request:?}");
                }
                Decision::Halt(_) => assert!(!intact.a && !intact.b, "{record:?} {intact:?} {request:?}"),
                Decision::Check(_) => unreachable!(),
            }
        });
    }

    #[test]
    fn a_normal_start_takes_exactly_one_try_and_rescue_none() {
        every_state(|record, intact, request| {
            if let (Decision::Start { slot, mode, record: next, .. }, _) = run(record, intact, request) {
                let before = record.slots.get(slot).tries_left;
                let after = next.slots.get(slot).tries_left;
                match mode {
                    Mode::Normal => assert_eq!(after, before.saturating_sub(1)),
                    Mode::Rescue => assert_eq!(after, before),
                }
                assert_eq!(next.slots.get(slot.other()), record.slots.get(slot.other()));
                assert!(!next.rescue_requested, "a rescue request is served once");
            }
        });
    }

    #[test]
    fn a_slot_without_tries_or_of_a_refused_release_starts_only_on_request() {
        every_state(|record, intact, request| {
            let (decision, _) = run(record, intact, request);
            if let Decision::Start { slot, mode: Mode::Normal, .. } = decision
                && request == BootRequest::None
            {
                let status = record.slots.get(slot);
                assert!(status.tries_left > 0 && status.state != SlotState::Empty);
                assert!(record.refused.is_empty());
                assert!(!record.rescue_requested);
            }
        });
    }

    #[test]
    fn an_intact_first_slot_is_started_and_the_other_is_not_read() {
        every_state(|record, intact, request| {
            let first = record.first;
            let status = record.slots.get(first);
            let can = status.tries_left > 0 && status.state != SlotState::Empty && *intact.get(first);
            if can && request == BootRequest::None && record.refused.is_empty() && !record.rescue_requested {
                let (decision, checked) = run(record, intact, request);
                assert!(
                    matches!(decision, Decision::Start { slot, mode: Mode::Normal, .. } if slot == first)
                );
                assert_eq!(checked, [first]);
            }
        });
    }

    #[test]
    fn the_reason_names_the_skipped_slot() {
        let record = ControlRecord::assumed();
        let (decision, _) = run(&record, PerSlot { a: false, b: true }, BootRequest::None);
        let Decision::Start { slot: Slot::B, reason, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(reason, "second in order; slot a: UKI damaged");
    }
}
