//! Step `secret`: mounts the secret partition of the boot disk without changing a byte of it.
//!
//! The partition is found on that disk and not by its label: another stick of the site may be in the machine.

use crate::boot::Boot;
use crate::disk::facts::{BlockDevice, Disk};
use crate::ext4::{self, FileSystemState, NotAStore};
use crate::failure::{Failure, FailureKind, StepError};
use crate::mounts::{self, MountError, STRANGERS_DATA};
use crate::sysfs;
use handoff::advice::{WRITE_SECRETS, WRITE_STICK};
use handoff::fault::Fault;
use handoff::partition::Role;
use handoff::paths;
use nix::mount::MsFlags;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

/// How long the step may take; replaying a journal on a worn stick is slow.
pub(crate) const DEADLINE: Duration = Duration::from_mins(3);

/// Override options in the superblock: what happens after an error, whether writes are flushed in their order, and
/// which group a new file has. The mode of the journal is not set, because every write is flushed by itself.
const OPTIONS: &str = "errors=remount-ro,barrier=1,nodiscard,nogrpid,block_validity,acl";

/// Errors of the step `secret`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The disk has no secret partition.
    #[error("there is no secret partition on {0}")]
    None(String),
    /// The disk has more than one secret partition.
    #[error("there are {} secret partitions on {disk}: {}", .partitions.len(), .partitions.join(", "))]
    Several {
        /// The description of the disk.
        disk: String,
        /// The names of its secret partitions.
        partitions: Vec<String>,
    },
    /// The partition cannot be read.
    #[error("the secret partition {device} cannot be read: {error}")]
    Unreadable {
        /// The device of the secret partition.
        device: BlockDevice,
        /// The kernel's error.
        error: std::io::Error,
    },
    /// The partition does not have the file system of a secret store.
    #[error("the secret partition {device} has {problem}")]
    NotAStore {
        /// The device of the secret partition.
        device: BlockDevice,
        /// Which other content the partition has.
        problem: NotAStore,
    },
    /// The kernel refuses to mount it.
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl StepError for SecretError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(Fault::SecretPartition)
    }

    fn remedy(&self) -> String {
        match self {
            Self::Several { .. } => "remove all but one of them from the partition table".into(),
            Self::Unreadable { .. } => "the stick is worn or was pulled out; make another one".into(),
            Self::None(_) => format!("write the stick again on the workstation: {WRITE_STICK}"),
            Self::NotAStore { .. } | Self::Mount(_) => {
                format!("make it again on the workstation: {WRITE_SECRETS}")
            }
        }
    }
}

/// The mounted secret partition.
pub(crate) struct SecretStore {
    device: BlockDevice,
    /// Why the store must not be written, if that is known before trying.
    read_only: Option<&'static str>,
}

impl SecretStore {
    /// The path at which the store is mounted.
    #[expect(clippy::unused_self, reason = "only a store that was mounted has a place")]
    pub(crate) fn path(&self) -> &'static Path {
        Path::new(paths::SECRET_PARTITION)
    }

    /// The device of its partition.
    pub(crate) fn device(&self) -> &BlockDevice {
        &self.device
    }

    /// Why the store must not be written; `None` if it may be.
    pub(crate) fn read_only(&self) -> Option<&'static str> {
        self.read_only
    }

    /// Runs `work` while the store is writable, and makes it read-only again.
    #[expect(clippy::unused_self, reason = "only a store that was mounted can be written")]
    pub(crate) fn writable<T>(&self, work: impl FnOnce() -> T) -> Result<T, MountError> {
        mounts::remount(paths::SECRET_PARTITION, STRANGERS_DATA)?;
        let done = work();
        mounts::remount(paths::SECRET_PARTITION, STRANGERS_DATA | MsFlags::MS_RDONLY)?;
        Ok(done)
    }
}

/// Runs the step `secret`.
pub(crate) fn run(boot: &mut Boot, disk: &Disk) -> Result<SecretStore, SecretError> {
    let device = partition(disk)?;
    mounts::private_folder()?;
    let write_protected =
        sysfs::number(Path::new("/sys/class/block").join(&device.name).join("ro")) == Some(1);
    let mut state = state(&device)?;
    if state == FileSystemState::NeedsRecovery && !write_protected {
        boot.log.info(&format!("secret partition {device} was not unmounted; its journal is replayed once"));
        mounts::mount(
            &device.path().to_string_lossy(),
            paths::SECRET_PARTITION,
            "ext4",
            STRANGERS_DATA,
            OPTIONS,
        )?;
        mounts::unmount(paths::SECRET_PARTITION)?;
        state = self::state(&device)?;
    }
    // A clean file system has nothing to replay, so mounting it changes nothing, and its journal is available for a
    // repair. `noload` would make the repair's writes unjournaled; it is for a journal that cannot be replayed.
    let (options, read_only) = match (state, write_protected) {
        (FileSystemState::Clean, false) => (OPTIONS.to_owned(), None),
        (FileSystemState::Clean, true) => (OPTIONS.to_owned(), Some("the medium is write-protected")),
        (FileSystemState::NeedsRecovery, _) => {
            (format!("{OPTIONS},noload"), Some("its journal cannot be replayed on this medium"))
        }
        (FileSystemState::Errors, _) => (format!("{OPTIONS},noload"), Some("its file system has errors")),
    };
    mounts::mount(
        &device.path().to_string_lossy(),
        paths::SECRET_PARTITION,
        "ext4",
        STRANGERS_DATA | MsFlags::MS_RDONLY,
        &options,
    )?;
    boot.log.info(&format!("secret partition {device} is mounted read-only"));
    if state != FileSystemState::Clean {
        boot.degrade(&Failure {
            step: "secret",
            kind: FailureKind::Site(Fault::Repair),
            problem: format!("secret partition {device}: {}", read_only.unwrap_or("its state is unknown")),
            remedy: format!(
                "run e2fsck -f on it on the workstation, or make it again there: {WRITE_SECRETS}"
            ),
        });
    }
    Ok(SecretStore { device, read_only })
}

pub(crate) fn partition(disk: &Disk) -> Result<BlockDevice, SecretError> {
    let found: Vec<&BlockDevice> =
        disk.with_role(Role::Secret).filter_map(|partition| partition.device.as_ref()).collect();
    match found.as_slice() {
        [] => Err(SecretError::None(disk.description.clone())),
        [one] => Ok((*one).clone()),
        several => Err(SecretError::Several {
            disk: disk.description.clone(),
            partitions: several.iter().map(ToString::to_string).collect(),
        }),
    }
}

fn state(device: &BlockDevice) -> Result<FileSystemState, SecretError> {
    let mut superblock = [0; ext4::LENGTH];
    let read = File::open(device.path()).and_then(|file| file.read_exact_at(&mut superblock, ext4::OFFSET));
    read.map_err(|error| SecretError::Unreadable { device: device.clone(), error })?;
    FileSystemState::of_store(&superblock)
        .map_err(|problem| SecretError::NotAStore { device: device.clone(), problem })
}
