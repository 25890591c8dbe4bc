//! Which blocks of a disk are read for its table, and which of the two copies is used.

use super::header::PRIMARY;
use super::{Copy, CopyFault, Geometry, GptHeader, Lba, NoTable, Problem, Table};
use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::fmt;

/// The bytes of the protective MBR with the number of sectors after it (UEFI 2.10, table 5.4).
const MBR_SIZE_IN_LBA: core::ops::Range<usize> = 446 + 12..446 + 16;

/// The table of a disk whose backup is read only if the primary copy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstCopy {
    /// The table that is used: the primary copy or the backup.
    pub table: Table,
    /// What is wrong with the primary copy, if the backup is used.
    pub fault: Option<CopyFault>,
}

/// Both copies of a disk's table, read independently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BothCopies {
    /// The copy in block 1.
    pub primary: Result<Table, Problem>,
    /// The copy at the end.
    pub backup: Result<Table, Problem>,
    /// The last block of the disk that the table is made for; the medium may be larger or cut.
    pub last: Lba,
}

impl BothCopies {
    /// The copy that is used, and what is wrong with the other.
    pub fn used(self) -> Result<(Table, Option<CopyFault>), NoTable> {
        let damaged = |copy, problem| Some(CopyFault::Damaged { copy, problem });
        match (self.primary, self.backup) {
            (Ok(primary), Ok(backup)) if primary.says_the_same_as(&backup) => Ok((primary, None)),
            (Ok(primary), Ok(_)) => Ok((primary, Some(CopyFault::Different))),
            (Ok(table), Err(problem)) => Ok((table, damaged(Copy::Backup, problem))),
            (Err(problem), Ok(table)) => Ok((table, damaged(Copy::Primary, problem))),
            (Err(primary), Err(backup)) => Err(NoTable::new(primary, backup)),
        }
    }
}

/// Reads the primary copy, or the backup if that fails. `bytes` reads that many bytes from an offset; both are
/// multiples of the block size.
pub fn first<E: fmt::Display>(
    disk: Geometry,
    mut bytes: impl FnMut(u64, usize) -> Result<Vec<u8>, E>,
) -> Result<FirstCopy, NoTable> {
    let mut disk = Disk { geometry: disk, bytes: &mut bytes };
    let primary = match disk.copy(Copy::Primary, PRIMARY) {
        Ok(table) => return Ok(FirstCopy { table, fault: None }),
        Err(problem) => problem,
    };
    match disk.backup_without_primary() {
        (_, Ok(table)) => {
            let fault = Some(CopyFault::Damaged { copy: Copy::Primary, problem: primary });
            Ok(FirstCopy { table, fault })
        }
        (_, Err(backup)) => Err(NoTable::new(primary, backup)),
    }
}

/// Reads both copies. `bytes` is as for [`first`].
pub fn both<E: fmt::Display>(
    disk: Geometry,
    mut bytes: impl FnMut(u64, usize) -> Result<Vec<u8>, E>,
) -> BothCopies {
    let mut disk = Disk { geometry: disk, bytes: &mut bytes };
    let primary = disk.copy(Copy::Primary, PRIMARY);
    let (last, backup) = match &primary {
        Ok(table) => {
            let last = table.header().alternate_lba;
            (last, disk.copy(Copy::Backup, last))
        }
        Err(_) => disk.backup_without_primary(),
    };
    BothCopies { primary, backup, last }
}

struct Disk<'r, R> {
    geometry: Geometry,
    bytes: &'r mut R,
}

impl<E: fmt::Display, R: FnMut(u64, usize) -> Result<Vec<u8>, E>> Disk<'_, R> {
    fn copy(&mut self, copy: Copy, at: Lba) -> Result<Table, Problem> {
        if at.0 >= self.geometry.blocks() {
            return Err(self.geometry.cut_before(at));
        }
        let block = self.blocks(at, 1)?;
        let header = GptHeader::read(&block, copy, at, self.geometry)?;
        let array =
            self.blocks(header.partition_entry_lba, self.geometry.blocks_of(header.array_length()))?;
        Table::read(header, &array)
    }

    /// Reads the backup in the last block of the disk, or at the disk's end according to the protective MBR: an image
    /// may have been written to a larger medium.
    fn backup_without_primary(&mut self) -> (Lba, Result<Table, Problem>) {
        let last = self.geometry.last();
        let problem = match self.copy(Copy::Backup, last) {
            Ok(table) => return (last, Ok(table)),
            Err(problem) => problem,
        };
        let of_mbr = self.blocks(Lba(0), 1).ok().and_then(|mbr| {
            let covered: [u8; 4] = mbr.get(MBR_SIZE_IN_LBA)?.try_into().ok()?;
            Some(Lba(u64::from(u32::from_le_bytes(covered)))).filter(|&other| other > PRIMARY && other < last)
        });
        let of_mbr = of_mbr.and_then(|other| Some((other, self.copy(Copy::Backup, other).ok()?)));
        match of_mbr {
            Some((other, table)) => (other, Ok(table)),
            None => (last, Err(problem)),
        }
    }

    fn blocks(&mut self, at: Lba, count: u64) -> Result<Vec<u8>, Problem> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let length = count.saturating_mul(self.geometry.block_size());
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        (self.bytes)(self.geometry.offset(at), length)
            .map_err(|error| Problem::Unreadable { lba: at, reason: error.to_string() })
    }
}
