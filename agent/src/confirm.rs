//! Telling the selector that this boot was good: the slot's tries are filled up in the control partition.
//!
//! A boot is confirmed when the configure stage came to an end, well or not: a bad command that a site gives its nodes
//! must not use up both slots and leave a fleet in the rescue shell. What is not confirmed: a boot in which the agent
//! never got so far (kernel, root, init or agent at fault), and one whose site answers a failed configuration with
//! `reboot` or `rescue`. On a medium that cannot be written, or with a root that came without a slot, nothing is done,
//! and the status says so.

use crate::file::{self, FileError, failing};
use crate::root::Root;
use handoff::control::{ControlArea, ControlRecord, RECORD_OFFSETS, RECORD_SIZE};
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Why a boot was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Something could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The secret partition is not mounted, so the disk that booted is not known.
    #[error("nothing is mounted at {}: the disk that booted is not known", handoff::paths::SECRETS)]
    NoDisk,
    /// The disk that booted has no control partition.
    #[error("{disk} has no control partition; write the stick anew", disk = .0.display())]
    NoControl(PathBuf),
}

/// Confirms `slot` on the disk that booted. `false` where it was confirmed with all its tries already.
pub fn confirm(root: &Root, slot: Slot) -> Result<bool, ConfirmError> {
    change(&control_device(root)?, |record| record.confirmed(slot))
}

/// Asks the selector for the rescue shell at the next start.
pub fn request_rescue(root: &Root) -> Result<bool, ConfirmError> {
    change(&control_device(root)?, |record| ControlRecord { rescue_requested: true, ..record })
}

fn change(device: &Path, change: impl FnOnce(ControlRecord) -> ControlRecord) -> Result<bool, ConfirmError> {
    let file = failing("open", device, OpenOptions::new().read(true).write(true).open(device))?;
    let read = |offset| -> Result<Vec<u8>, FileError> {
        let mut record = vec![0; RECORD_SIZE];
        failing("read", device, file.read_exact_at(&mut record, offset))?;
        Ok(record)
    };
    let area = ControlArea::decode(&read(RECORD_OFFSETS[0])?, &read(RECORD_OFFSETS[1])?);
    let present = area.effective();
    let wanted = change(present.clone());
    if area.current().is_some() && wanted == present {
        return Ok(false);
    }
    let (offset, record) = area.replacement(&wanted);
    failing("write", device, write_through(&file, &record.encode(), offset))?;
    Ok(true)
}

fn write_through(file: &File, record: &[u8], offset: u64) -> std::io::Result<()> {
    file.write_all_at(record, offset)?;
    file.sync_all()
}

/// The control partition of the disk that the secret partition lies on.
fn control_device(root: &Root) -> Result<PathBuf, ConfirmError> {
    let mounts = file::read_text(&root.at("/proc/self/mountinfo"))?;
    let number = device_number(&mounts, handoff::paths::SECRETS).ok_or(ConfirmError::NoDisk)?;
    let link = root.at("/sys/dev/block").join(number);
    let partition = failing("follow", &link, fs::canonicalize(&link))?;
    let disk = partition.parent().ok_or(ConfirmError::NoDisk)?;
    for name in file::names(disk)? {
        let Ok(facts) = file::read_text(&disk.join(name).join("uevent")) else { continue };
        let fact = |key: &str| facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if fact("PARTNAME") == Some(Role::Control.name())
            && let Some(device) = fact("DEVNAME")
        {
            return Ok(root.at("/dev").join(device));
        }
    }
    Err(ConfirmError::NoControl(disk.to_owned()))
}

/// The `major:minor` of what is mounted at `point` (`proc_pid_mountinfo(5)`); the last mount there covers the others.
fn device_number<'a>(mounts: &'a str, point: &str) -> Option<&'a str> {
    mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (number, mounted) = (fields.next()?, fields.nth(1)?);
        (mounted == point).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::control::SlotState;
    use std::os::unix::fs::symlink;

    const MOUNTS: &str = "21 1 0:20 / /run rw shared:1 - tmpfs tmpfs rw\n\
        30 21 8:11 / /run/psyops/secrets ro,nosuid - ext4 /dev/sda11 ro\n";

    fn stick(partitions: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        file::write(&root.at("/proc/self/mountinfo"), MOUNTS.as_bytes(), 0o644).unwrap();
        for (device, name) in partitions {
            let facts = format!("MAJOR=8\nDEVNAME={device}\nDEVTYPE=partition\nPARTNAME={name}\n");
            let path = root.at("/sys/devices/usb/block/sda").join(device).join("uevent");
            file::write(&path, facts.as_bytes(), 0o644).unwrap();
        }
        file::create_folder(&root.at("/sys/dev/block")).unwrap();
        symlink(root.at("/sys/devices/usb/block/sda/sda11"), root.at("/sys/dev/block/8:11")).unwrap();
        let mut bytes = ControlRecord::fresh(3).encode();
        bytes.resize(RECORD_SIZE * 2, 0);
        file::write(&root.at("/dev/sda2"), &bytes, 0o600).unwrap();
        (folder, root)
    }

    fn record(root: &Root) -> ControlRecord {
        let bytes = file::read(&root.at("/dev/sda2")).unwrap();
        let (first, second) = bytes.split_at(RECORD_SIZE);
        ControlArea::decode(first, second).current().unwrap().clone()
    }

    #[test]
    fn the_slot_of_the_disk_that_booted_is_confirmed_once() {
        let (_folder, root) = stick(&[("sda2", "control"), ("sda11", "secret")]);
        assert!(confirm(&root, Slot::A).unwrap());
        let after = record(&root);
        assert_eq!(after.slots.a.state, SlotState::Confirmed);
        assert_eq!((after.sequence, after.slots.b.state), (2, SlotState::Empty));
        assert!(!confirm(&root, Slot::A).unwrap(), "a second time changes nothing");
        assert_eq!(record(&root), after);
    }

    #[test]
    fn what_is_missing_is_named() {
        let (_folder, root) = stick(&[("sda11", "secret")]);
        assert!(matches!(confirm(&root, Slot::A), Err(ConfirmError::NoControl(_))));
        file::write(&root.at("/proc/self/mountinfo"), b"", 0o644).unwrap();
        assert!(matches!(confirm(&root, Slot::A), Err(ConfirmError::NoDisk)));
    }
}
