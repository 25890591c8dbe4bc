//! The secret partition, inside the machine: writing the differing files as the loader does, and checking what a power
//! cut left of it with the same code.
//!
//! A state is good if the partition mounts, every file is the complete old or new one, the node's key is unchanged, and
//! the next run makes everything right without an error that e2fsck finds. Once the writer has reported that it is
//! done, every file must be the new one.

use super::case::{Case, Writer};
use super::tally::Outcome;
use anyhow::{Context as _, Result, bail, ensure};
use handoff::manifest::{Manifest, RelativePath};
use keys::reconcile::{Comparison, compare, repair};
use keys::seal::OpenedSeal;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the file system: the smallest that the builder makes.
pub const FILE_SYSTEM: u64 = builder::secrets::ext4::SMALLEST;
/// Bytes for marks after the part of the disk that the scenario tests.
pub const MARKS: u64 = 64 * 1024;

/// The mount flags of the loader.
const DATA_ONLY: MsFlags = MsFlags::MS_NODEV.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NOEXEC);
const POINT: &str = "/mnt";
const E2FSCK: &str = "/usr/local/bin/e2fsck";

/// A case with both its seals open, on a device.
#[derive(Debug)]
pub struct StoreCase {
    case: Case,
    old: Option<OpenedSeal>,
    new: OpenedSeal,
    device: PathBuf,
}

/// The store while it is mounted.
struct Mounted {
    point: &'static Path,
}

impl Mounted {
    fn new(device: &Path, flags: MsFlags) -> Result<Self> {
        let none: Option<&str> = None;
        mount(Some(device), POINT, Some("ext4"), DATA_ONLY | flags, none)
            .with_context(|| format!("{} does not mount", device.display()))?;
        Ok(Self { point: Path::new(POINT) })
    }

    fn remount(&self, flags: MsFlags) -> Result<()> {
        let none: Option<&str> = None;
        let flags = DATA_ONLY | MsFlags::MS_REMOUNT | flags;
        mount(none, self.point, none, flags, none).with_context(|| format!("remounting {POINT}"))
    }

    fn unmount(self) -> Result<()> {
        let point = self.point;
        std::mem::forget(self);
        umount2(point, MntFlags::empty()).with_context(|| format!("unmounting {POINT}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Needed only after an error: the next state needs the mount point.
        let _ = umount2(self.point, MntFlags::MNT_DETACH);
    }
}

impl StoreCase {
    /// Opens the seals of `case`, for the store on `device`.
    pub fn new(case: Case, device: &Path) -> Result<Self> {
        let old = case.old.as_ref().map(|seal| case.open(seal)).transpose()?;
        let new = case.open(&case.new)?;
        Ok(Self { case, old, new, device: device.to_owned() })
    }

    /// Writes the differing files, and a mark after the file system when the writer reports that it is done.
    pub fn write(&self) -> Result<()> {
        let mounted = Mounted::new(&self.device, MsFlags::MS_RDONLY)?;
        let before = compare(Path::new(POINT), self.new.manifest())?;
        ensure!(before.needs_repair(self.new.manifest()), "there is nothing to write");
        mounted.remount(MsFlags::empty())?;
        match self.case.writer {
            Writer::Reconcile => {
                repair(Path::new(POINT), &self.new, &before)?;
            }
            Writer::Wrong(wrong) => wrong.write(Path::new(POINT), &self.new, &before)?,
        }
        mark(&self.device, FILE_SYSTEM)?;
        mounted.remount(MsFlags::MS_RDONLY)?;
        let after = compare(Path::new(POINT), self.new.manifest())?;
        ensure!(after.differing.is_empty(), "after the repair it differs: {:?}", after.differing);
        mounted.unmount()
    }

    /// Checks the state on the device, repairs it, and checks it again.
    pub fn look(&self, done: bool) -> Result<Outcome> {
        // Writable at first, like the loader when the journal has to be replayed.
        let mounted = Mounted::new(&self.device, MsFlags::empty())?;
        let found = self.outcome()?;
        ensure!(!done || found == Outcome::New, "the writer said that it was done, and not all is new");
        mounted.unmount()?;
        let mounted = Mounted::new(&self.device, MsFlags::MS_RDONLY)?;
        self.heal(&mounted)?;
        self.key_is_there()?;
        mounted.unmount()?;
        let checked =
            Command::new(E2FSCK).arg("-fn").arg(&self.device).output().context("starting e2fsck")?;
        ensure!(checked.status.success(), "e2fsck: {}", String::from_utf8_lossy(&checked.stdout));
        Ok(found)
    }

    /// Checks that every file is the old or the new one.
    fn outcome(&self) -> Result<Outcome> {
        self.key_is_there()?;
        let now = compare(Path::new(POINT), self.new.manifest())?;
        let before = self.old.as_ref().map(|old| compare(Path::new(POINT), old.manifest())).transpose()?;
        let mut seen = BTreeSet::new();
        for path in self.paths() {
            let is_new = holds(&now, self.new.manifest(), &path);
            let is_old = match (&before, &self.old) {
                (Some(before), Some(old)) => holds(before, old.manifest(), &path),
                _ => !exists(&path),
            };
            match (is_old, is_new) {
                (true, true) => {}
                (true, false) => drop(seen.insert("old")),
                (false, true) => drop(seen.insert("new")),
                (false, false) => {
                    let differs =
                        now.differing.iter().find(|difference| difference.subject.file() == Some(&path));
                    let what = differs.map_or_else(|| format!("{path} is there"), ToString::to_string);
                    bail!("neither the old nor the new file: {what}");
                }
            }
        }
        Ok(match (seen.contains("old"), seen.contains("new")) {
            (true, true) => Outcome::Between,
            (true, false) => Outcome::Old,
            (false, _) => Outcome::New,
        })
    }

    /// Does what the loader does in the next boot.
    fn heal(&self, mounted: &Mounted) -> Result<()> {
        let manifest = self.new.manifest();
        let found = compare(Path::new(POINT), manifest)?;
        if found.needs_repair(manifest) {
            mounted.remount(MsFlags::empty())?;
            let repaired = repair(Path::new(POINT), &self.new, &found);
            mounted.remount(MsFlags::MS_RDONLY)?;
            repaired.context("the next run does not end well")?;
        }
        let after = compare(Path::new(POINT), manifest)?;
        ensure!(!after.needs_repair(manifest), "after the next run not all is right: {after:?}");
        Ok(())
    }

    fn key_is_there(&self) -> Result<()> {
        let key =
            fs::read(Path::new(POINT).join(handoff::paths::AGE_KEY)).context("the node's key is gone")?;
        ensure!(key == self.case.age_key, "the node's key is another");
        Ok(())
    }

    /// The paths of all files in either seal.
    fn paths(&self) -> BTreeSet<RelativePath> {
        let seals = self.old.iter().chain([&self.new]);
        seals.flat_map(|seal| seal.manifest().entries.iter().map(|entry| entry.path.clone())).collect()
    }
}

/// Whether `path` matches the manifest: the right file, or missing if it is not in the manifest.
fn holds(comparison: &Comparison, manifest: &Manifest, path: &RelativePath) -> bool {
    comparison.same.contains(path)
        || (!exists(path) && !manifest.entries.iter().any(|entry| entry.path == *path))
}

fn exists(path: &RelativePath) -> bool {
    fs::symlink_metadata(Path::new(POINT).join(path.as_str())).is_ok()
}

/// Writes a sector without the kernel's cache, so that the disk's log has it at the moment of the call, without any
/// other write.
pub fn mark(device: &Path, offset: u64) -> Result<()> {
    const ALIGNMENT: usize = 4096;
    let file = OpenOptions::new().write(true).custom_flags(nix::libc::O_DIRECT).open(device);
    let file = file.with_context(|| format!("opening {} for a mark", device.display()))?;
    let buffer = vec![b'M'; 2 * ALIGNMENT];
    let aligned = buffer.as_ptr().align_offset(ALIGNMENT);
    let sector = buffer.get(aligned..aligned + ALIGNMENT).context("no aligned memory")?;
    file.write_all_at(sector, offset).context("writing a mark")
}
