//! The log-writes format: every write and flush of a disk in its order, as QEMU's filter `blklogwrites` records it.
//!
//! It is the format of the kernel's device mapper target (Documentation/admin-guide/device-mapper/log-writes.rst,
//! drivers/md/dm-log-writes.c): a superblock in the first sector, then entries of one sector, each followed by its
//! data.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FORCED: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
/// The metadata flag only says who wrote.
const KNOWN: u64 = FLUSH | FORCED | DISCARD | MARK | 1 << 4;

/// A request to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A write. It may be lost until the next flush, unless it was forced (FUA).
    Write {
        /// Offset on the disk, in bytes.
        offset: u64,
        /// The bytes that are written.
        data: Vec<u8>,
        /// Whether it is on the medium when the disk answers.
        forced: bool,
    },
    /// A flush of all earlier writes to the medium.
    Flush,
}

/// All recorded requests to a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteLog {
    /// The requests in their order.
    pub events: Vec<Event>,
}

/// Why a file is not a valid log.
#[derive(Debug, Error)]
pub enum BadWriteLog {
    /// The file cannot be read.
    #[error("cannot read the write log {path}: {source}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// It does not begin with the magic; holds the number in its place.
    #[error("not a write log: it begins with {0:#x}, not with {MAGIC:#x}; was anything written to the disk?")]
    NoMagic(u64),
    /// Another version of the format.
    #[error("a write log of version {0}, this program reads version {VERSION}")]
    Version(u64),
    /// A sector size that is not valid.
    #[error("a write log with sectors of {0} bytes")]
    SectorSize(u32),
    /// It ends within the entry with this number.
    #[error("the write log ends in its entry {0}: was the machine still running?")]
    Cut(u64),
    /// A flag that this program does not know.
    #[error("entry {entry} of the write log has unknown flags {flags:#x}")]
    Flags {
        /// The number of the entry.
        entry: u64,
        /// All flags of the entry.
        flags: u64,
    },
}

impl WriteLog {
    /// Reads a log file.
    pub fn load(path: &Path) -> Result<Self, BadWriteLog> {
        let bytes = fs::read(path).map_err(|source| BadWriteLog::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes)
    }

    /// Reads a log from its bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadWriteLog> {
        let magic = u64_at(bytes, 0).unwrap_or_default();
        if magic != MAGIC {
            return Err(BadWriteLog::NoMagic(magic));
        }
        let version = u64_at(bytes, 8).unwrap_or_default();
        if version != VERSION {
            return Err(BadWriteLog::Version(version));
        }
        let entries = u64_at(bytes, 16).unwrap_or_default();
        let sector = bytes.get(24..28).and_then(|field| field.try_into().ok()).map_or(0, u32::from_le_bytes);
        let size = usize::try_from(sector).unwrap_or_default();
        if !size.is_power_of_two() || !(512..=65536).contains(&size) {
            return Err(BadWriteLog::SectorSize(sector));
        }
        let mut rest = bytes.get(size..).unwrap_or_default();
        let mut log = Self::default();
        for entry in 0..entries {
            rest = log.take_entry(rest, size, entry)?;
        }
        Ok(log)
    }

    fn take_entry<'b>(
        &mut self,
        bytes: &'b [u8],
        sector: usize,
        entry: u64,
    ) -> Result<&'b [u8], BadWriteLog> {
        let cut = || BadWriteLog::Cut(entry);
        let (head, rest) = bytes.split_at_checked(sector).ok_or_else(cut)?;
        let field = |index: usize| u64_at(head, index * 8).ok_or_else(cut);
        let (start, sectors, flags) = (field(0)?, field(1)?, field(2)?);
        if flags & !KNOWN != 0 {
            return Err(BadWriteLog::Flags { entry, flags });
        }
        if flags & FLUSH != 0 {
            self.events.push(Event::Flush);
        }
        let length =
            usize::try_from(sectors).ok().and_then(|count| count.checked_mul(sector)).ok_or_else(cut)?;
        let offset = start * u64::try_from(sector).unwrap_or_default();
        if flags & DISCARD != 0 {
            // Raw images read zeros from discarded sectors.
            self.events.push(Event::Write { offset, data: vec![0; length], forced: false });
            return Ok(rest);
        }
        if flags & MARK != 0 {
            // The length of a mark's text is in bytes, and the text takes one sector.
            return rest.get(if field(3)? > 0 { sector } else { 0 }..).ok_or_else(cut);
        }
        let (data, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        if !data.is_empty() {
            self.events.push(Event::Write { offset, data: data.to_vec(), forced: flags & FORCED != 0 });
        }
        Ok(rest)
    }
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..offset + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = 512;

    fn superblock(entries: u64) -> Vec<u8> {
        let mut bytes = [MAGIC, VERSION, entries].map(u64::to_le_bytes).concat();
        bytes.extend_from_slice(&512_u32.to_le_bytes());
        bytes.resize(SECTOR, 0);
        bytes
    }

    fn entry(start: u64, sectors: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = [start, sectors, flags, 0].map(u64::to_le_bytes).concat();
        bytes.resize(SECTOR, 0);
        bytes.extend_from_slice(data);
        bytes
    }

    fn write(offset: u64, data: &[u8], forced: bool) -> Event {
        Event::Write { offset, data: data.to_vec(), forced }
    }

    #[test]
    fn writes_and_flushes_come_in_their_order() {
        let (one, two) = ([1; SECTOR], [2; 2 * SECTOR]);
        let mut bytes = superblock(5);
        bytes.extend(entry(8, 1, 0, &one));
        bytes.extend(entry(0, 0, FLUSH, &[]));
        bytes.extend(entry(9, 2, FORCED, &two));
        bytes.extend(entry(4, 2, DISCARD, &[]));
        bytes.extend(entry(3, 1, FLUSH, &one));
        bytes.extend(entry(3, 1, 0, b"not counted yet"));
        let events = WriteLog::parse(&bytes).unwrap().events;
        let expected = [
            write(4096, &one, false),
            Event::Flush,
            write(9 * 512, &two, true),
            write(2048, &[0; 1024], false),
            Event::Flush,
            write(1536, &one, false),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn each_invalid_log_has_its_error() {
        assert!(matches!(WriteLog::parse(&[]), Err(BadWriteLog::NoMagic(0))));
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = superblock(1);
            bytes.extend(entry(0, 1, 0, &[7; SECTOR]));
            change(&mut bytes);
            WriteLog::parse(&bytes)
        };
        assert!(matches!(with(&|b| b[0] = 0), Err(BadWriteLog::NoMagic(_))));
        assert!(matches!(with(&|b| b[8] = 2), Err(BadWriteLog::Version(2))));
        assert!(matches!(with(&|b| b[25] = 3), Err(BadWriteLog::SectorSize(768))));
        assert!(matches!(with(&|b| b.truncate(1100)), Err(BadWriteLog::Cut(0))));
        assert!(matches!(
            with(&|b| b[SECTOR + 16] = 0x80),
            Err(BadWriteLog::Flags { entry: 0, flags: 0x80 })
        ));
        assert!(with(&|_| ()).is_ok());
    }
}
