//! Confirming the boot to the selector: the slot's tries are set to their full number in the control partition.
//!
//! A boot is confirmed when the configure stage ended, even with a failure: a bad command that a site gives its nodes
//! must not use up both slots and leave all nodes in the rescue shell. Not confirmed is a boot in which the agent never
//! got so far (because of the kernel, root, init or agent), and one whose site chose `reboot` or `rescue` for a failed
//! configuration. On a read-only medium, or with a root that came without a slot, nothing is written, and the status
//! says so.

use crate::disk::{BootDisk, DiskError};
use crate::root::Root;
use handoff::control::ControlRecord;
use handoff::partition::Role;
use handoff::slot::Slot;
use medium::{MediumError, Partition, control};

/// Why a boot was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// The control partition could not be read or written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The control partition was not found.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Confirms `slot` on the disk that booted. `false` if it was confirmed with all its tries already.
pub fn confirm(root: &Root, slot: Slot) -> Result<bool, ConfirmError> {
    let _span = tracing::info_span!("confirm", slot = %slot).entered();
    change(root, |record| record.confirmed(slot))
}

/// Requests the rescue shell for the next start. `false` if it was requested already.
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
