//! Partition tables as they are read: each of the two copies by itself, so that the one cannot cover up for the other.

use crate::site::Bytes;
use gpt::GptConfig;
use handoff::partition::{Role, SECTOR};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use uuid::Uuid;

/// Sectors of a header and its 128 entries (UEFI 2.10, section 5.3).
const COPY: u64 = 33;

/// A partition as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// Its number in the table.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its role, where name and type are those of a psyopsOS partition.
    pub role: Option<Role>,
    /// Its own GUID.
    pub guid: Uuid,
    /// The GUID of its type.
    pub type_guid: Uuid,
    /// Where it begins.
    pub offset: Bytes,
    /// How long it is.
    pub size: Bytes,
}

/// What a copy of the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) disk_guid: Uuid,
    pub(super) partitions: Vec<FoundPartition>,
}

/// Reads the primary copy and the backup of a disk of this size.
pub(super) fn copies(file: &File, size: Bytes) -> [Result<Table, String>; 2] {
    let backup = size.0.saturating_sub(COPY * SECTOR);
    let primary = SECTOR..SECTOR * (1 + COPY);
    [backup..size.0, primary].map(|hidden| read(Half { file, position: 0, size: size.0, hidden }))
}

fn read(half: Half<'_>) -> Result<Table, String> {
    let opened = GptConfig::new().writable(false).open_from_device(half);
    let disk = opened.map_err(|error| error.to_string())?;
    let partitions = disk.partitions().iter().map(|(number, found)| partition(*number, found)).collect();
    Ok(Table { disk_guid: *disk.guid(), partitions })
}

fn partition(number: u32, found: &gpt::partition::Partition) -> FoundPartition {
    let type_guid = found.part_type_guid.guid;
    let role = Role::from_name(&found.name).filter(|role| role.type_guid() == type_guid.to_string());
    let sectors = (found.last_lba + 1).saturating_sub(found.first_lba);
    FoundPartition {
        number,
        name: found.name.clone(),
        role,
        guid: found.part_guid,
        type_guid,
        offset: Bytes(found.first_lba.saturating_mul(SECTOR)),
        size: Bytes(sectors.saturating_mul(SECTOR)),
    }
}

/// A disk on which a stretch reads as zeros.
#[derive(Debug)]
struct Half<'a> {
    file: &'a File,
    position: u64,
    size: u64,
    hidden: Range<u64>,
}

impl Read for Half<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(into, self.position)?;
        for (at, byte) in (self.position..).zip(into.iter_mut().take(length)) {
            if self.hidden.contains(&at) {
                *byte = 0;
            }
        }
        self.position = self.position.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }
}

impl Seek for Half<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Write for Half<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
