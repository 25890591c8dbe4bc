//! An image file whose partitions are read and changed by role, in place, as damage would change them.

use anyhow::{Context as _, Result, ensure};
use handoff::control::{ControlArea, ControlRecord, RECORD_OFFSETS, RECORD_SIZE};
use handoff::partition::{Role, SECTOR};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A disk image in a file.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: File,
}

/// The position of a partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The offset on the disk of its first byte.
    pub start: u64,
    /// The size of the partition.
    pub length: u64,
}

impl Disk {
    /// Opens an image for reading and damaging.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("opening the image {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The image file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The position of the partition of `role`.
    pub fn extent(&self, role: Role) -> Result<Extent> {
        let table = gpt::GptConfig::new().open(&self.path).context("reading the partition table")?;
        let entry = table.partitions().values().find(|entry| entry.name == role.name());
        let entry = entry.with_context(|| format!("no partition {role} in {}", self.path.display()))?;
        let sectors = entry.last_lba + 1 - entry.first_lba;
        Ok(Extent { start: entry.first_lba * SECTOR, length: sectors * SECTOR })
    }

    /// The unique GUID of the partition of `role`, in lower case.
    pub fn part_uuid(&self, role: Role) -> Result<String> {
        let table = gpt::GptConfig::new().open(&self.path).context("reading the partition table")?;
        let entry = table.partitions().values().find(|entry| entry.name == role.name());
        Ok(entry.with_context(|| format!("no partition {role}"))?.part_guid.to_string().to_lowercase())
    }

    /// Reads `length` bytes of a partition.
    pub fn read(&self, role: Role, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let start = self.place(role, offset, length)?;
        self.file.read_exact_at(&mut bytes, start).with_context(|| format!("reading {role}"))?;
        Ok(bytes)
    }

    /// Writes into a partition.
    pub fn write(&self, role: Role, offset: u64, bytes: &[u8]) -> Result<()> {
        let start = self.place(role, offset, bytes.len())?;
        self.file.write_all_at(bytes, start).with_context(|| format!("writing {role}"))
    }

    /// Flips the lowest bit of one byte of a partition.
    pub fn flip(&self, role: Role, offset: u64) -> Result<()> {
        let flipped: Vec<u8> = self.read(role, offset, 1)?.iter().map(|byte| byte ^ 1).collect();
        self.write(role, offset, &flipped)
    }

    /// Reads both control records.
    pub fn control(&self) -> Result<ControlArea> {
        let [first, second] = RECORD_OFFSETS;
        let first = self.read(Role::Control, first, RECORD_SIZE)?;
        let second = self.read(Role::Control, second, RECORD_SIZE)?;
        Ok(ControlArea::decode(&first, &second))
    }

    /// Writes a control record to place 0 or 1.
    pub fn set_control(&self, place: usize, record: &ControlRecord) -> Result<()> {
        let offset = RECORD_OFFSETS.get(place).context("a control record is number 0 or 1")?;
        self.write(Role::Control, *offset, &record.encode())
    }

    /// The offset on the disk of a range in a partition; an error if the range is not inside it.
    fn place(&self, role: Role, offset: u64, length: usize) -> Result<u64> {
        let extent = self.extent(role)?;
        let end = offset + u64::try_from(length)?;
        ensure!(end <= extent.length, "bytes {offset}..{end} are not in {role}, which has {}", extent.length);
        Ok(extent.start + offset)
    }
}
