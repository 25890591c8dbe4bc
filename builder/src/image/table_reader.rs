//! Partition tables as they are read: each of the two copies by itself, so that the one cannot cover up for the other.

use super::storage::Storage;
use super::window::Window;
use crate::input::ReadAt as _;
use crate::site::Bytes;
use gpt::GptConfig;
use gpt::mbr::ProtectiveMBR;
use handoff::partition::{Role, SECTOR};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use uuid::Uuid;

/// Sectors of a header and its 128 entries (UEFI 2.10, section 5.3).
const COPY: u64 = 33;
/// Where a header says in which sector the other copy of it is.
const BACKUP_LBA: u64 = 32;
/// Where the protective MBR says how many sectors follow it.
const MBR_SECTORS: u64 = 446 + 12;

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
    /// Its attributes (UEFI 2.10, table 5.8).
    pub attributes: u64,
    /// Where it begins.
    pub offset: Bytes,
    /// How long it is.
    pub size: Bytes,
}

/// A partition table, without the place of its copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The disk's GUID.
    pub disk_guid: Uuid,
    /// The partitions by number.
    pub partitions: Vec<FoundPartition>,
}

/// What was read of a disk's tables.
pub(super) struct Found {
    /// The primary copy and the backup.
    pub(super) copies: [Result<Table, String>; 2],
    /// Where the disk ends that they are made for; the medium may be larger.
    pub(super) end: Bytes,
    /// What is wrong with the protective MBR in front of them.
    pub(super) mbr: Option<String>,
}

/// Reads both copies of the table of a disk or image of this size. The disk may be larger than the image that was written
/// to it: then the backup lies where the primary copy says, or else the protective MBR, and not at the end.
pub(super) fn read(file: &Storage, size: Bytes) -> Found {
    if size.0 == 0 {
        let copies = ["it is empty", "it is empty"].map(|reason| Err(reason.into()));
        return Found { copies, end: size, mbr: None };
    }
    let end = size.0;
    let backup_hidden = end.saturating_sub(COPY * SECTOR)..end;
    let least = SECTOR * (1 + COPY);
    let primary = match read_copy(Half::new(file, end, backup_hidden)) {
        Err(_) if end < least => {
            Err(format!("it ends at byte {end}, before the primary partition table does"))
        }
        other => other,
    };
    let covered = number::<4>(file, MBR_SECTORS).map(|bytes| u64::from(u32::from_le_bytes(bytes)));
    let of_mbr = covered.and_then(disk_end);
    let own_end = match &primary {
        Ok(_) => number::<8>(file, SECTOR + BACKUP_LBA).map(u64::from_le_bytes).and_then(disk_end),
        Err(_) => None,
    };
    let backup = |place: u64| {
        if place > end {
            return Err(format!("it would end at byte {place}, and there are only {end}: the image was cut"));
        }
        read_copy(Half::new(file, place, SECTOR..least))
    };
    let (disk, backup) = match (own_end, of_mbr.filter(|other| *other < end)) {
        (Some(own), _) => (own, backup(own)),
        (None, other) => match (backup(end), other.map(|other| (other, backup(other)))) {
            (Err(_), Some((other, Ok(table)))) => (other, Ok(table)),
            (found, _) => (end, found),
        },
    };
    let mbr = if primary.is_ok() || backup.is_ok() { mbr_fault(file, disk) } else { None };
    Found { copies: [primary, backup], end: Bytes(disk), mbr }
}

/// Where a disk ends whose last sector has this number.
fn disk_end(last: u64) -> Option<u64> {
    last.checked_add(1)?.checked_mul(SECTOR)
}

fn number<const N: usize>(file: &Storage, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.fill_at(&mut bytes, at).ok()?;
    Some(bytes)
}

/// Firmware takes a disk for one with a GUID partition table only where the protective MBR says so.
fn mbr_fault(file: &Storage, disk: u64) -> Option<String> {
    let found: [u8; 512] = number(file, 0)?;
    let covered = u32::try_from((disk / SECTOR).saturating_sub(1)).unwrap_or(u32::MAX);
    let made = ProtectiveMBR::with_lb_size(covered).to_bytes();
    let at = made.iter().zip(&found).position(|(made, found)| made != found)?;
    Some(format!("the protective MBR is damaged: its byte {at} is not as it was made"))
}

fn read_copy(half: Half<'_>) -> Result<Table, String> {
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
        attributes: found.flags,
        offset: Bytes(found.first_lba.saturating_mul(SECTOR)),
        size: Bytes(sectors.saturating_mul(SECTOR)),
    }
}

/// A disk on which a stretch reads as zeros.
#[derive(Debug)]
struct Half<'a> {
    disk: Window<'a>,
    hidden: Range<u64>,
}

impl<'a> Half<'a> {
    fn new(file: &'a Storage, size: u64, hidden: Range<u64>) -> Self {
        Self { disk: Window::new(file, 0, size), hidden }
    }
}

impl Read for Half<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let position = self.disk.stream_position()?;
        let length = self.disk.read(into)?;
        for (at, byte) in (position..).zip(into.iter_mut().take(length)) {
            if self.hidden.contains(&at) {
                *byte = 0;
            }
        }
        Ok(length)
    }
}

impl Seek for Half<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.disk.seek(to)
    }
}

impl Write for Half<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}
