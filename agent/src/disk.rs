//! The disk that booted: the one whose secret partition is mounted, and its other partitions by their names. In a boot
//! without secrets, the disk that the root is read from.
//!
//! Not the partition with the right label on any disk: a clone of the stick beside it has the same labels.

use crate::file::{self, FileError, failing};
use crate::root::Root;
use handoff::partition::Role;
use std::fs;
use std::path::PathBuf;

/// Why a partition was not found.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Something in `/proc` or `/sys` cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Neither is the secret partition mounted nor the root mapped, so the disk that booted is not known.
    #[error(
        "cannot find the disk that booted: no partition is mounted at {} and no root is mapped as {}; look at `psyops-agent status`",
        handoff::paths::SECRET_PARTITION,
        handoff::paths::ROOT_MAPPING
    )]
    NoDisk,
    /// The disk that booted lacks a partition.
    #[error("{disk} has no partition {role}; flash the stick again", disk = disk.display())]
    NoPartition {
        /// The disk's path in `/sys`.
        disk: PathBuf,
        /// The name of the missing partition.
        role: &'static str,
    },
}

/// The disk that booted.
#[derive(Debug)]
pub struct BootDisk<'a> {
    root: &'a Root,
    sysfs: PathBuf,
}

impl<'a> BootDisk<'a> {
    /// Finds the disk from the mounted secret partition, or else from the mapped root.
    pub fn find(root: &'a Root) -> Result<Self, DiskError> {
        let mounts = file::read_text(&root.at("/proc/self/mountinfo"))?;
        let link = match device_number(&mounts, handoff::paths::SECRET_PARTITION) {
            Some(number) => root.at("/sys/dev/block").join(number),
            None => below_the_root(root).ok_or(DiskError::NoDisk)?,
        };
        let partition = failing("follow", &link, fs::canonicalize(&link))?;
        let sysfs = partition.parent().ok_or(DiskError::NoDisk)?.to_owned();
        Ok(Self { root, sysfs })
    }

    /// The path of the device file of a partition of the disk.
    pub fn partition(&self, role: Role) -> Result<PathBuf, DiskError> {
        for name in file::names(&self.sysfs)? {
            let Ok(facts) = file::read_text(&self.sysfs.join(name).join("uevent")) else { continue };
            let fact = |key: &str| facts.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            if fact("PARTNAME") == Some(role.name())
                && let Some(device) = fact("DEVNAME")
            {
                return Ok(self.root.at("/dev").join(device));
            }
        }
        Err(DiskError::NoPartition { disk: self.sysfs.clone(), role: role.name() })
    }
}

/// The link in `/sys` to a partition that the mapped root is read from.
fn below_the_root(root: &Root) -> Option<PathBuf> {
    let block = root.at("/sys/block");
    let mapped = file::names(&block).ok()?.into_iter().map(|name| block.join(name)).find(|device| {
        file::read_text(&device.join("dm/name"))
            .is_ok_and(|name| name.trim_end() == handoff::paths::ROOT_MAPPING)
    })?;
    let below = mapped.join("slaves");
    Some(below.join(file::names(&below).ok()?.into_iter().next()?))
}

/// The `major:minor` of the partition that is mounted at `point`. File systems in memory on top of it are skipped.
fn device_number<'a>(mounts: &'a str, point: &str) -> Option<&'a str> {
    mounted_at(mounts, point).find(|number| !is_in_memory(number))
}

/// The `major:minor` of all file systems mounted at `point`, the topmost first (`proc_pid_mountinfo(5)`).
fn mounted_at<'a>(mounts: &'a str, point: &str) -> impl Iterator<Item = &'a str> {
    mounts.lines().rev().filter_map(move |line| {
        let mut fields = line.split(' ').skip(2);
        let (number, mounted) = (fields.next()?, fields.nth(1)?);
        (mounted == point).then_some(number)
    })
}

/// Whether a file system is in memory: those without a device have major number 0.
fn is_in_memory(number: &str) -> bool {
    number.starts_with("0:")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    const MOUNTS: &str = "21 1 0:20 / /run rw shared:1 - tmpfs tmpfs rw\n\
        30 21 8:11 / /run/psyops/private/secret-partition ro,nosuid - ext4 /dev/sda11 ro\n";

    /// A root with a disk `sda` of these partitions (device and name), of which `sda11` is mounted.
    pub(crate) fn stick(partitions: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
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
        (folder, root)
    }

    #[test]
    fn partitions_are_found_on_the_disk_that_booted() {
        let (_folder, root) = stick(&[("sda9", "seal-a"), ("sda11", "secret")]);
        let disk = BootDisk::find(&root).unwrap();
        let seal = disk.partition(Role::from_name("seal-a").unwrap()).unwrap();
        assert_eq!(root.absolute(&seal), Path::new("/dev/sda9"));
        let missing = disk.partition(Role::Control);
        assert!(matches!(missing, Err(DiskError::NoPartition { role: "control", .. })));
    }

    #[test]
    fn without_a_secret_partition_the_root_shows_which_disk_booted() {
        let (_folder, root) = stick(&[("sda2", "control"), ("sda4", "root-a")]);
        file::write(&root.at("/proc/self/mountinfo"), b"", 0o644).unwrap();
        assert!(matches!(BootDisk::find(&root), Err(DiskError::NoDisk)));
        let mapped = root.at("/sys/block/dm-0");
        file::write(&mapped.join("dm/name"), b"psyops-root\n", 0o644).unwrap();
        file::create_folder(&mapped.join("slaves")).unwrap();
        symlink(root.at("/sys/devices/usb/block/sda/sda4"), mapped.join("slaves/sda4")).unwrap();
        let control = BootDisk::find(&root).unwrap().partition(Role::Control).unwrap();
        assert_eq!(root.absolute(&control), Path::new("/dev/sda2"));
    }
}
