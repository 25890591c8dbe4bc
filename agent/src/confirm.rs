//! Telling the selector that this boot was good: the slot's tries are filled up in the control partition.
//!
//! A boot is confirmed when the configure stage came to an end, well or not: a bad command that a site gives its nodes
//! must not use up both slots and leave a fleet in the rescue shell. What is not confirmed: a boot in which the agent
//! never got so far (kernel, root, init or agent at fault), and one whose site answers a failed configuration with
//! `reboot` or `rescue`. On a medium that cannot be written, or with a root that came without a slot, nothing is done,
//! and the status says so.

use crate::disk::{BootDisk, DiskError};
use crate::root::Root;
use handoff::control::ControlRecord;
use handoff::partition::Role;
use handoff::slot::Slot;
use medium::{MediumError, Partition, control};

/// Why a boot was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The partition could not be read or written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The partition is not found.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Confirms `slot` on the disk that booted. `false` where it was confirmed with all its tries already.
pub fn confirm(root: &Root, slot: Slot) -> Result<bool, ConfirmError> {
    change(root, |record| record.confirmed(slot))
}

/// Asks the selector for the rescue shell at the next start.
pub fn request_rescue(root: &Root) -> Result<bool, ConfirmError> {
    change(root, |record| ControlRecord { rescue_requested: true, ..record })
}

fn change(root: &Root, change: impl FnOnce(ControlRecord) -> ControlRecord) -> Result<bool, ConfirmError> {
    let device = BootDisk::find(root)?.partition(Role::Control)?;
    Ok(control::change(&Partition::open_to_write(&device)?, change)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tests::stick;
    use crate::file;
    use handoff::control::{ControlArea, RECORD_SIZE, SlotState};

    fn record(root: &Root) -> ControlRecord {
        let bytes = file::read(&root.at("/dev/sda2")).unwrap();
        let (first, second) = bytes.split_at(RECORD_SIZE);
        ControlArea::decode(first, second).current().unwrap().clone()
    }

    #[test]
    fn the_slot_of_the_disk_that_booted_is_confirmed_once() {
        let (_folder, root) = stick(&[("sda2", "control"), ("sda11", "secret")]);
        let mut bytes = ControlRecord::fresh(3).encode();
        bytes.resize(RECORD_SIZE * 2, 0);
        file::write(&root.at("/dev/sda2"), &bytes, 0o600).unwrap();
        assert!(confirm(&root, Slot::A).unwrap());
        let after = record(&root);
        assert_eq!(after.slots.a.state, SlotState::Confirmed);
        assert_eq!((after.sequence, after.slots.b.state), (2, SlotState::Empty));
        assert!(!confirm(&root, Slot::A).unwrap(), "a second time changes nothing");
        assert_eq!(record(&root), after);
    }
}
