//! What is on an open disk or file. The bytes are read only through the descriptor, which may have been opened by a
//! process with more rights.

use super::blkid::{self, Found, Volume};
use super::look_error::LookError;
use super::pieces::{BOOT_SECTOR, pieces};
use super::presence::Presence;
use crate::image::reader::{ImageReader, ReadError};
use crate::image::zeros::is_zero;
use crate::image::{seals, slot};
use crate::limits;
use crate::staging::{Staging, StagingError};
use crate::width::{to_u64, to_usize};
use handoff::partition::Role;
use handoff::paths::SECRET_LABEL;
use handoff::slot::Slot;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::cmp::Reverse;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The first bytes of a disk or file system, which are all zero if nothing was written to it.
const BEGINNING: usize = 1 << 20;
/// How long to wait after an error: by then, a disk that was pulled out is known to be gone.
const SETTLING: Duration = Duration::from_millis(400);

/// What is on a disk, and what that means for this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The kind of partition table, in blkid's words.
    pub table: Option<String>,
    /// What blkid recognised on the whole disk and on each partition.
    pub found: Vec<Found>,
    /// Whether it is blank, a stick, old secrets or something else.
    pub kind: ContentKind,
    /// What is in the data partition of a stick, under the name that the user must repeat with `--overwrite`.
    pub data: Option<String>,
    /// What is wrong with the partition table, in the words that all commands use.
    pub table_faults: Vec<String>,
}

/// What a disk is for this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentKind {
    /// The beginning and the end are zero, and blkid recognises nothing.
    Blank,
    /// The stick of a node, according to its seal, which is not verified.
    Stick {
        /// The name of the site.
        site: String,
        /// The name of the node.
        node: String,
    },
    /// A secret partition of this system.
    OldSecrets,
    /// Other content, under the name that the user must repeat with `--overwrite`.
    Other(String),
}

impl ContentKind {
    /// The name that the user must repeat with `--overwrite`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Blank => "nothing".to_owned(),
            Self::Stick { site, node } => format!("{site}/{node}"),
            Self::OldSecrets => SECRET_LABEL.to_owned(),
            Self::Other(name) => name.clone(),
        }
    }
}

impl fmt::Display for ContentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::Stick { site, node } => write!(f, "node {node} of site {site}"),
            Self::OldSecrets => f.write_str("an old secret partition"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl Found {
    /// The label, or else the kind of file system.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.label.as_deref().or(self.kind.as_deref())
    }
}

impl Content {
    /// Looks at an open disk or file of `size` bytes; `path` is its name in messages. A file that was opened for direct
    /// I/O is read through the cache meanwhile.
    pub fn of(path: &Path, file: &File, size: u64) -> Result<Self, LookError> {
        let failed = |source| LookError::Read { path: path.to_owned(), offset: 0, source };
        let presence = Presence::of(file).map_err(failed)?;
        let found = Cached::new(file).map_err(failed).and_then(|_cached| Self::look(path, file, size));
        if found.is_err() {
            thread::sleep(SETTLING);
        }
        // A disk that disappeared meanwhile seems to be blank, or to have other content.
        let says_so = found.as_ref().err().and_then(LookError::of_disk);
        if presence.is_going(file, size) || says_so.is_some_and(|error| presence.is_gone_by(error)) {
            return Err(LookError::Gone { path: path.to_owned() });
        }
        found
    }

    fn look(path: &Path, file: &File, size: u64) -> Result<Self, LookError> {
        let disk = OpenDisk { path, file };
        let (reader, table_faults) = disk.reader()?;
        if let Some(content) = reader.as_ref().map_or(Ok(None), |reader| stick(disk, reader, size))? {
            return Ok(Self { table_faults, ..content });
        }
        let mut volumes = partitions(disk, reader.as_ref())?;
        // A volume that ends after the end of the disk cannot be read.
        volumes.retain(|volume| volume.offset.checked_add(volume.size).is_some_and(|end| end <= size));
        largest(&mut volumes);
        volumes.insert(0, Volume { partition: None, offset: 0, size });
        let found = probe(disk, size, &volumes)?;
        let kind = match foreign(&found) {
            Some(kind) => kind,
            None if is_blank(disk, size)? => ContentKind::Blank,
            None => ContentKind::Other("data".to_owned()),
        };
        let table = found.first().and_then(|whole| whole.table.clone());
        let found = found.into_iter().filter(|found| found.name().is_some()).collect();
        Ok(Self { table, found, kind, data: None, table_faults })
    }

    /// A description of everything on the disk, for people.
    #[must_use]
    pub fn description(&self) -> String {
        let names = self.names();
        let what = match &self.kind {
            ContentKind::Other(_) if !names.is_empty() => names.join(", "),
            kind => kind.to_string(),
        };
        let data = self.data.iter().map(|data| format!(", with {data} on its data partition"));
        let what: String = std::iter::once(what).chain(data).collect();
        match &self.table {
            Some(table) if *table != what => format!("{what} ({table})"),
            _ => what,
        }
    }

    /// The names of everything that blkid recognised, each once.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.found.iter().filter_map(Found::name) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// The open disk or file.
#[derive(Debug, Clone, Copy)]
struct OpenDisk<'d> {
    path: &'d Path,
    file: &'d File,
}

impl OpenDisk<'_> {
    fn fails(self, offset: u64) -> impl FnOnce(io::Error) -> LookError {
        move |source| LookError::Read { path: self.path.to_owned(), offset, source }
    }

    /// Reads the partition table if there is one, and what is wrong with it. Most other disks have none, which is not a
    /// fault.
    fn reader(self) -> Result<(Option<ImageReader>, Vec<String>), LookError> {
        let file = self.file.try_clone().map_err(self.fails(0))?;
        match ImageReader::of_file(self.path, file) {
            Ok(reader) => {
                let faults = reader.table_faults().to_vec();
                Ok((Some(reader), faults))
            }
            Err(ReadError::Open { source, .. }) => Err(self.fails(0)(source)),
            Err(ReadError::NoTable { reason, .. }) if reason.is_of_a_gpt() => {
                Ok((None, vec![reason.to_string()]))
            }
            Err(_) => Ok((None, Vec::new())),
        }
    }

    /// Fills `into` as far as there are bytes.
    fn read_up_to(self, into: &mut [u8], offset: u64) -> Result<usize, LookError> {
        let mut done = 0;
        loop {
            let rest = into.get_mut(done..).unwrap_or_default();
            let at = offset.saturating_add(to_u64(done));
            match self.file.read_at(rest, at) {
                Ok(0) => return Ok(done),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fails(at)(error)),
            }
        }
    }
}

/// A stick of this system; its site and node if a seal has them.
fn stick(disk: OpenDisk<'_>, reader: &ImageReader, size: u64) -> Result<Option<Content>, LookError> {
    /// A partition table from elsewhere may give any partition the type of a seal.
    const LARGEST_SEAL: u64 = 64 << 20;
    let roles: Vec<Role> = reader.partitions().iter().filter_map(|partition| partition.role).collect();
    // Many systems use types like that of the ESP.
    if !roles.contains(&Role::Control) {
        return Ok(None);
    }
    let seals = Slot::BOTH.into_iter().filter(|slot| {
        reader.partition(Role::Seal(*slot)).is_ok_and(|partition| partition.size.0 <= LARGEST_SEAL)
    });
    let mut found = Vec::new();
    for slot in seals {
        match slot::seal(reader, slot) {
            Ok(seal) => found.extend(seal.ok()),
            // There is no seal after the end of the disk. A seal that cannot be read does not tell whose stick it is.
            Err(ReadError::Partition { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(source @ ReadError::Partition { .. }) => {
                return Err(LookError::Partition { path: reader.path().to_owned(), source });
            }
            Err(_) => {}
        }
    }
    let newest = seals::highest(found, |seal| seal.unproven_header().generation);
    let kind = newest.map_or(ContentKind::Other("psyopsOS".to_owned()), |seal| {
        let header = seal.unproven_header();
        ContentKind::Stick { site: header.site.to_string(), node: header.node.to_string() }
    });
    let found = reader.partitions().iter().map(|partition| Found {
        partition: Some(partition.number),
        size: partition.size.0,
        label: Some(partition.name.clone()),
        kind: None,
        table: None,
    });
    let data = data(disk, reader, size)?;
    let table_faults = Vec::new();
    Ok(Some(Content { table: Some("gpt".to_owned()), found: found.collect(), kind, data, table_faults }))
}

/// What is in the data partition; `None` if its beginning is as it was flashed.
fn data(disk: OpenDisk<'_>, reader: &ImageReader, size: u64) -> Result<Option<String>, LookError> {
    let Ok(partition) = reader.partition(Role::Data) else { return Ok(None) };
    let mut head = vec![0; BEGINNING];
    let length = disk.read_up_to(&mut head, partition.offset.0)?;
    if is_zero(head.get(..length).unwrap_or_default()) {
        return Ok(None);
    }
    let volume = Volume {
        partition: Some(partition.number),
        offset: partition.offset.0,
        size: partition.size.0.min(size.saturating_sub(partition.offset.0)),
    };
    let found = probe(disk, size, &[volume])?;
    Ok(Some(found.first().and_then(Found::name).unwrap_or("data").to_owned()))
}

/// The partitions: from the table that was read, or else from the four entries of a master boot record.
fn partitions(disk: OpenDisk<'_>, reader: Option<&ImageReader>) -> Result<Vec<Volume>, LookError> {
    const SECTOR: u64 = 512;
    const ENTRIES: usize = 446;
    if let Some(reader) = reader {
        let volume = |partition: &crate::image::reader::FoundPartition| Volume {
            partition: Some(partition.number),
            offset: partition.offset.0,
            size: partition.size.0,
        };
        return Ok(reader.partitions().iter().map(volume).collect());
    }
    let mut sector = [0; BOOT_SECTOR];
    if disk.read_up_to(&mut sector, 0)? < sector.len() || sector.get(510..) != Some(&[0x55, 0xaa]) {
        return Ok(Vec::new());
    }
    let entries = sector.get(ENTRIES..510).unwrap_or_default().chunks_exact(16).zip(1..);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)));
    let volume = |(entry, partition): (&[u8], u32)| {
        let (start, sectors) = (number(entry.get(8..12)?), number(entry.get(12..16)?));
        let used = entry.get(4) != Some(&0) && sectors > 0;
        used.then_some(Volume { partition: Some(partition), offset: start * SECTOR, size: sectors * SECTOR })
    };
    Ok(entries.filter_map(volume).collect())
}

/// Keeps as many partitions as are probed, in their order: the largest ones, because the largest one names the disk.
fn largest(volumes: &mut Vec<Volume>) {
    volumes.sort_by_key(|volume| Reverse(volume.size));
    volumes.truncate(limits::VOLUMES.in_memory());
    volumes.sort_by_key(|volume| volume.partition);
}

/// Runs blkid on the volumes, with a private copy of the bytes that it reads.
fn probe(disk: OpenDisk<'_>, size: u64, volumes: &[Volume]) -> Result<Vec<Found>, LookError> {
    let staging = Staging::for_public_data()?;
    let path = staging.path().join("disk");
    let full = |source| StagingError::Write { path: path.clone(), source };
    let copy = File::create(&path).map_err(full)?;
    copy.set_len(size).map_err(full)?;
    for volume in volumes {
        let mut boot_sector = [0; BOOT_SECTOR];
        disk.read_up_to(&mut boot_sector, volume.offset)?;
        for piece in pieces(&boot_sector, volume.size) {
            let (offset, length) = (volume.offset + piece.start, piece.end - piece.start);
            let mut bytes = zeroize::Zeroizing::new(vec![0; to_usize(length)]);
            let length = disk.read_up_to(&mut bytes, offset)?;
            let bytes = bytes.get(..length).unwrap_or_default();
            if !is_zero(bytes) {
                copy.write_all_at(bytes, offset).map_err(full)?;
            }
        }
    }
    volumes.iter().map(|volume| Ok(blkid::probe(&path, *volume)?)).collect()
}

/// The kind of a disk on which blkid recognised something: named after the content of the whole disk, or else of its
/// largest partition.
fn foreign(found: &[Found]) -> Option<ContentKind> {
    let whole = found.iter().find(|found| found.partition.is_none());
    if whole.is_some_and(|found| {
        found.kind.as_deref() == Some("ext4") && found.label.as_deref() == Some(SECRET_LABEL)
    }) {
        return Some(ContentKind::OldSecrets);
    }
    let parts = found.iter().filter(|found| found.partition.is_some() && found.name().is_some());
    let largest = parts.max_by_key(|found| found.size).and_then(Found::name);
    let name = whole.and_then(Found::name).or(largest).or(whole.and_then(|whole| whole.table.as_deref()));
    name.map(|name| ContentKind::Other(name.to_owned()))
}

/// Whether the first MiB and the place of the backup partition table are zero.
fn is_blank(disk: OpenDisk<'_>, size: u64) -> Result<bool, LookError> {
    const END: u16 = 33 * 512;
    let mut start = vec![0; BEGINNING];
    let mut end = vec![0; usize::from(END)];
    let counts =
        [disk.read_up_to(&mut start, 0)?, disk.read_up_to(&mut end, size.saturating_sub(END.into()))?];
    start.truncate(counts[0]);
    end.truncate(counts[1]);
    Ok(is_zero(&start) && is_zero(&end))
}

/// While this exists, a file that was opened for direct I/O is read through the cache, in pieces of any size.
struct Cached<'f> {
    file: &'f File,
    flags: OFlags,
}

impl<'f> Cached<'f> {
    fn new(file: &'f File) -> io::Result<Self> {
        let flags = fcntl_getfl(file)?;
        if flags.contains(OFlags::DIRECT) {
            fcntl_setfl(file, flags - OFlags::DIRECT)?;
        }
        Ok(Self { file, flags })
    }
}

impl Drop for Cached<'_> {
    fn drop(&mut self) {
        if self.flags.contains(OFlags::DIRECT) {
            // The same flags were set before, so the kernel does not refuse them.
            let _ = fcntl_setfl(self.file, self.flags);
        }
    }
}
