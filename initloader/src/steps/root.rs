//! Step `root`: mounts the root file system whose hash is on the kernel command line, by dm-verity, under an overlay in
//! memory.
//!
//! The slot is chosen by content: the one whose top hash block has the root hash. While the loader itself reads, a
//! wrong block is an error with a message; from then on the kernel panics or restarts on one, as the site chose, and
//! the selector counts that start.

use crate::boot::Boot;
use crate::disk::facts::{BlockDevice, Disk};
use crate::dm::{DmError, Mapping, Target};
use crate::failure::{FailureKind, StepError};
use crate::mounts::{self, DATA_ONLY, MountError};
use crate::program::{self, CannotRun};
use crate::sysfs;
use crate::tree::Tree;
use handoff::advice::WRITE_STICK;
use handoff::fault::Fault;
use handoff::hash::{Sha256Digest, to_hex};
use handoff::kernel_arguments;
use handoff::loader_config::LoaderConfig;
use handoff::partition::Role;
use handoff::paths;
use handoff::slot::Slot;
use handoff::verity::{BLOCK, BLOCK_LEN, RootHash, Superblock};
use nix::errno::Errno;
use nix::mount::MsFlags;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the step may take.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);
/// The init of a system whose command line names no other.
const DEFAULT_INIT: &str = "/sbin/init";
/// Below a folder that only root can enter: in the layers, files that the overlay hides or replaces keep their old
/// modes.
const LOWER: &str = "/run/psyops/private/lower";
const OVERLAY: &str = "/run/psyops/private/overlay";

/// Errors of the step `root`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    /// The kernel command line has no root hash.
    #[error("no root hash on the kernel command line ({}=...)", kernel_arguments::ROOT_HASH)]
    NoHash,
    /// The text on the kernel command line is not a root hash.
    #[error("{0:?} on the kernel command line is not a root hash")]
    BadHash(String),
    /// No slot has the root with this hash.
    #[error("no slot has the root {root}: {}", .reasons.join("; "))]
    NoSlot {
        /// The root hash of the command line.
        root: RootHash,
        /// The reason for each slot.
        reasons: Vec<String>,
    },
    /// The device mapper refuses the device.
    #[error("dm-verity over {device}: {error}")]
    Mapper {
        /// The partition with the root.
        device: BlockDevice,
        /// The request that failed.
        error: DmError,
    },
    /// A block of the root does not match its hash.
    #[error("the root on {device} is damaged: {problem}")]
    Damaged {
        /// The partition with the root.
        device: BlockDevice,
        /// The error that the damage caused.
        problem: String,
    },
    /// Another mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A folder for the overlay cannot be made.
    #[error("{OVERLAY}: {0}")]
    Overlay(std::io::Error),
    /// The root's init cannot run.
    #[error("the root has no init that can run: {0}")]
    Init(CannotRun),
}

impl StepError for RootError {
    fn kind(&self) -> FailureKind {
        FailureKind::Site(Fault::Root)
    }

    fn remedy(&self) -> String {
        match self {
            Self::NoHash | Self::BadHash(_) => "build the image again; its kernel command line is damaged",
            Self::NoSlot { .. } | Self::Damaged { .. } => {
                return format!(
                    "start the other slot, or write the stick again on the workstation: {WRITE_STICK}"
                );
            }
            Self::Mapper { .. } | Self::Mount(_) => {
                "look whether the modules dm-verity, squashfs and overlay are loaded"
            }
            Self::Overlay(_) => "give the machine more memory",
            Self::Init(_) => "look at init= on the kernel command line, or start the other slot",
        }
        .into()
    }
}

/// The root, mounted, with an init that can run.
pub(crate) struct MountedRoot {
    /// The path of the init in the root.
    pub(crate) init: PathBuf,
}

/// The mapped device, by name; the UUID is only needed to create it. It has the form of cryptsetup's, for tools.
pub(crate) fn mapping(uuid: &str) -> Mapping {
    let name = paths::ROOT_MAPPING;
    Mapping { name, uuid: format!("CRYPT-VERITY-{uuid}-{name}") }
}

/// A slot whose hash tree has the expected root hash.
struct FoundSlot {
    slot: Slot,
    data: BlockDevice,
    hashes: BlockDevice,
    superblock: Superblock,
}

impl FoundSlot {
    fn target(&self, root: RootHash, options: &[&str]) -> Target {
        let (data, hashes) = (&self.data.numbers, &self.hashes.numbers);
        Target {
            sectors: self.superblock.data_blocks.saturating_mul(BLOCK / 512),
            kind: "verity",
            parameters: self.superblock.table_parameters(data, hashes, root, options),
        }
    }
}

/// Runs the step `root`.
pub(crate) fn run(boot: &mut Boot, disk: &Disk, trust: &LoaderConfig) -> Result<MountedRoot, RootError> {
    let root = root_hash(boot.arguments.value(kernel_arguments::ROOT_HASH))?;
    let found = find(boot, disk, root)?;
    boot.log.info(&format!("root: slot {}, {} with hash tree {}", found.slot, found.data, found.hashes));
    boot.report.slot = Some(found.slot.to_string());
    let mapper = |error| RootError::Mapper { device: found.data.clone(), error };
    let mapping = mapping(&to_hex(&found.superblock.uuid));
    // An earlier attempt may have left a device of this name.
    mapping.remove().map_err(mapper)?;
    let node = mapping.create(&found.target(root, &[])).map_err(mapper)?;
    mount(&node, &trust.overlay_size).map_err(|error| named(error, &found.data))?;
    let init = PathBuf::from(boot.arguments.value(kernel_arguments::INIT).unwrap_or(DEFAULT_INIT));
    let tree = Tree::open(Path::new(paths::NEW_ROOT))
        .map_err(|errno| RootError::Init(CannotRun::Open { path: paths::NEW_ROOT.into(), errno }))?;
    program::check(&tree, &init).map_err(|error| damaged_or_unfit(error, &found.data))?;
    mapping.load(&found.target(root, &[trust.root_corruption.option()])).map_err(mapper)?;
    Ok(MountedRoot { init })
}

fn root_hash(argument: Option<&str>) -> Result<RootHash, RootError> {
    let text = argument.ok_or(RootError::NoHash)?;
    text.parse::<Sha256Digest>().map(RootHash).map_err(|_| RootError::BadHash(text.to_owned()))
}

/// The slot with the root; if both have the same one, the slot that the selector chose.
fn find(boot: &Boot, disk: &Disk, root: RootHash) -> Result<FoundSlot, RootError> {
    let first = boot.selection.as_ref().map_or(Slot::A, |selection| selection.slot);
    let mut reasons = Vec::new();
    for slot in [first, first.other()] {
        match examine(disk, slot, root) {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(format!("slot {slot}: {reason}")),
        }
    }
    Err(RootError::NoSlot { root, reasons })
}

fn examine(disk: &Disk, slot: Slot, root: RootHash) -> Result<FoundSlot, String> {
    let device = |role: Role| disk.device(role).cloned().ok_or_else(|| format!("no partition {role}"));
    let (data, hashes) = (device(Role::Root(slot))?, device(Role::Verity(slot))?);
    let mut blocks = vec![0; 2 * BLOCK_LEN];
    let read = File::open(hashes.path()).and_then(|file| file.read_exact_at(&mut blocks, 0));
    read.map_err(|error| format!("{hashes}: {error}"))?;
    let (first, top) = blocks.split_at(BLOCK_LEN);
    let superblock = Superblock::decode(first).map_err(|error| format!("{hashes}: {error}"))?;
    if superblock.hash_block(top) != root.0 {
        return Err(format!("{hashes} is the hash tree of another root, or damaged"));
    }
    for (device, needed) in
        [(&data, superblock.data_blocks.saturating_mul(BLOCK)), (&hashes, superblock.hash_device_size())]
    {
        let size = sysfs::number(Path::new("/sys/class/block").join(&device.name).join("size")).unwrap_or(0);
        if size.saturating_mul(512) < needed {
            return Err(format!("{device} is smaller than its {needed} bytes of content"));
        }
    }
    Ok(FoundSlot { slot, data, hashes, superblock })
}

/// Mounts the squashfs, and over it an overlay in memory for changes.
fn mount(node: &Path, overlay_size: &str) -> Result<(), RootError> {
    mounts::private_folder()?;
    mounts::mount(&node.to_string_lossy(), LOWER, "squashfs", DATA_ONLY | MsFlags::MS_RDONLY, "")?;
    let options = format!("mode=0700,size={overlay_size}");
    mounts::mount("tmpfs", OVERLAY, "tmpfs", MsFlags::MS_NODEV | MsFlags::MS_NOSUID, &options)?;
    for folder in ["upper", "work"] {
        // The upper folder's mode becomes the mode of the root itself.
        let made = std::fs::DirBuilder::new().mode(0o755).create(Path::new(OVERLAY).join(folder));
        made.map_err(RootError::Overlay)?;
    }
    let options = format!("lowerdir={LOWER},upperdir={OVERLAY}/upper,workdir={OVERLAY}/work");
    mounts::mount("overlay", paths::NEW_ROOT, "overlay", MsFlags::empty(), &options)?;
    Ok(())
}

/// Turns a read error into one about dm-verity: the kernel's log names the block.
fn named(error: RootError, device: &BlockDevice) -> RootError {
    match error {
        RootError::Mount(MountError { what, errno: Errno::EIO, .. }) => {
            RootError::Damaged { device: device.clone(), problem: format!("{what} cannot be mounted") }
        }
        other => other,
    }
}

fn damaged_or_unfit(error: CannotRun, device: &BlockDevice) -> RootError {
    match error {
        CannotRun::Open { path, errno: Errno::EIO } => {
            let problem = format!("{} does not match its hash tree", path.display());
            RootError::Damaged { device: device.clone(), problem }
        }
        other => RootError::Init(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_hash_is_64_digits_or_an_error_of_its_own() {
        assert!(matches!(root_hash(None), Err(RootError::NoHash)));
        assert!(matches!(root_hash(Some("12")), Err(RootError::BadHash(text)) if text == "12"));
        assert_eq!(root_hash(Some(&"ab".repeat(32))).unwrap().to_string(), "ab".repeat(32));
    }

    #[test]
    fn an_error_of_reading_is_named_as_damage() {
        let device = BlockDevice { name: "sda4".into(), numbers: "8:4".into() };
        let error = |errno| {
            RootError::Mount(MountError { action: "mount", what: "x".into(), place: "/".into(), errno })
        };
        assert!(matches!(named(error(Errno::EIO), &device), RootError::Damaged { .. }));
        assert!(matches!(named(error(Errno::ENODEV), &device), RootError::Mount(_)));
        let open = |errno| CannotRun::Open { path: "/sbin/init".into(), errno };
        assert!(matches!(damaged_or_unfit(open(Errno::EIO), &device), RootError::Damaged { .. }));
        assert!(matches!(damaged_or_unfit(open(Errno::ENOENT), &device), RootError::Init(_)));
    }
}
