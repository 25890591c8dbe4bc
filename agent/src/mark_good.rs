//! Marking the boot good for the selector: the slot's tries are set to their full number in the control partition.
//!
//! A boot is marked good when the configure stage ended, even with a failure: a bad command that a site gives its nodes
//! must not use up both slots and leave all nodes in the rescue shell. Not marked good is a boot in which the agent
//! never got so far (because of the kernel, root, init or agent), and one whose site chose `reboot` or `rescue` for a
//! failed configuration. On a read-only medium, or with a root that came without a slot, nothing is written, and the
//! status says so.

use crate::disk::{BootDisk, DiskError};
use crate::root::Root;
use handoff::control::ControlRecord;
use handoff::partition::Role;
use handoff::slot::Slot;
use medium::{MediumError, Partition, control};

/// Why a boot could not be marked good, or rescue not requested.
#[derive(Debug, thiserror::Error)]
pub enum MarkGoodError {
    /// The control partition could not be read or written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The control partition was not found.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Marks `slot` good on the disk that booted. `false` if it was marked good with all its tries already.
pub fn mark_good(root: &Root, slot: Slot) -> Result<bool, MarkGoodError> {
    let _span = tracing::info_span!("mark good", slot = %slot).entered();
    change(root, |record| record.marked_good(slot))
}

/// Requests the rescue shell for the next start. `false` if it was requested already.
pub fn request_rescue(root: &Root) -> Result<bool, MarkGoodError> {
    change(root, |record| ControlRecord { rescue_requested: true, ..record })
}

fn change(root: &Root, change: impl FnOnce(ControlRecord) -> ControlRecord) -> Result<bool, MarkGoodError> {
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
    fn the_slot_of_the_disk_that_booted_is_marked_good_once() {
        let (_folder, root) = stick(&[("sda2", "control"), ("sda11", "secret")]);
        let mut bytes = ControlRecord::fresh(3).encode();
        bytes.resize(RECORD_SIZE * 2, 0);
        file::write(&root.at("/dev/sda2"), &bytes, 0o600).unwrap();
        assert!(mark_good(&root, Slot::A).unwrap());
        let after = record(&root);
        assert_eq!(after.slots.a.state, SlotState::Good);
        assert_eq!((after.sequence, after.slots.b.state), (2, SlotState::Empty));
        assert!(!mark_good(&root, Slot::A).unwrap(), "a second time changes nothing");
        assert_eq!(record(&root), after);
    }
}
