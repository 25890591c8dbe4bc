//! Reading an image or stick: its table (the backup where the primary is torn) and the bytes of its partitions.
//!
//! Only reads, and needs no root rights for a file. `inspect` and `run` interpret the bytes.

use super::storage::Storage;
use super::table_reader;
pub use super::table_reader::{FoundPartition, Table};
use super::window::Window;
use super::zeros::{is_zero, without_zeros_behind};
use crate::error::{Class, Classified};
use crate::input::ReadAt as _;
use crate::limits::{Limit, OverLimit};
use crate::site::Bytes;
use crate::staging::{Staging, StagingError};
use crate::width::{to_u64, to_usize};
use handoff::gpt::{DuplicateRole, NoTable};
use handoff::partition::Role;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;

const COPIED_AT_ONCE: u64 = 1 << 20;

/// An image or stick that is open for reading.
#[derive(Debug)]
pub struct ImageReader {
    path: PathBuf,
    storage: Storage,
    size: Bytes,
    table_places: [Range<u64>; 2],
    table: Table,
    duplicates: Vec<DuplicateRole>,
    table_faults: Vec<String>,
}

/// A partition as a file that a program of the host can read.
#[derive(Debug)]
pub struct ProgramInput {
    /// The path of the file.
    pub path: PathBuf,
    /// The offset in the file at which the partition begins, in bytes.
    pub offset: u64,
    /// Keeps the copy as long as it is needed. It may have the content of a secret partition.
    _copy: Option<Staging>,
}

/// Why an image could not be read.
#[derive(Debug, Error, classified::Cause)]
pub enum ReadError {
    /// The file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The path of the image.
        path: PathBuf,
        /// The error from opening or reading it.
        r#source: io::Error,
    },
    /// Neither copy of the partition table is valid.
    #[error(
        "{path} has no valid partition table: {reason}; it is not a psyopsOS image or is cut off: build it again"
    )]
    NoTable {
        /// The path of the image.
        path: PathBuf,
        /// What is wrong with each copy.
        reason: NoTable,
    },
    /// The image was exported in the compressed form.
    #[error("{path} is compressed: unpack it with zstd -d first")]
    Packed {
        /// The path of the image.
        path: PathBuf,
    },
    /// The table does not list the partition.
    #[error(
        "{path} has no partition {role}: it is not a psyopsOS image; name an image that build-image made"
    )]
    NoPartition {
        /// The path of the image.
        path: PathBuf,
        /// The role of the partition.
        role: Role,
    },
    /// Two partitions have the name and type of the same role.
    #[error("{path} has {duplicate}: it cannot tell which one counts; build the image again")]
    TwoPartitions {
        /// The path of the image.
        path: PathBuf,
        /// The role, and the numbers of the partitions.
        duplicate: DuplicateRole,
    },
    /// The bytes of a partition could not be read.
    #[error("cannot read partition {role} of {path}: {source}; the image is cut off or the disk is damaged")]
    Partition {
        /// The path of the image.
        path: PathBuf,
        /// The role of the partition.
        role: Role,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// A part of the image is larger than an image of this system can have.
    #[error("cannot read partition {role} of {path}: {over}")]
    Limit {
        /// The path of the image.
        path: PathBuf,
        /// The role of the partition.
        role: Role,
        /// The limit, and the size that was found.
        over: OverLimit,
    },
    /// The copy of a partition for a program could not be made.
    #[error(transparent)]
    Staging(#[from] StagingError),
}

impl Classified for ReadError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Open { source, .. } => Class::of_reading(source),
            Self::NoTable { .. }
            | Self::Packed { .. }
            | Self::NoPartition { .. }
            | Self::TwoPartitions { .. }
            | Self::Limit { .. } => Class::BadContent,
            Self::Partition { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                Class::BadContent
            }
            Self::Partition { .. } => Class::Io,
            Self::Staging(_) => return None,
        })
    }
}

impl ImageReader {
    /// Opens an image and reads its table.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let storage =
            Storage::open(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        Self::of(path, storage)
    }

    /// Reads the table of an image or stick that is open already; `path` is its name in messages.
    pub fn of_file(path: &Path, file: File) -> Result<Self, ReadError> {
        Self::of(path, Storage::Whole(file.into()))
    }

    fn of(path: &Path, storage: Storage) -> Result<Self, ReadError> {
        let unreadable = |source| ReadError::Open { path: path.to_owned(), source };
        let size = Bytes(storage.size().map_err(unreadable)?);
        let none = |reason| {
            if is_packed(&storage) {
                return ReadError::Packed { path: path.to_owned() };
            }
            ReadError::NoTable { path: path.to_owned(), reason }
        };
        let found = table_reader::read(&storage, size)
            .map_err(|problem| none(NoTable::new(problem.clone(), problem)))?;
        let last = found.last.0;
        let (table, fault) = found.used().map_err(none)?;
        let duplicates = table.duplicate_roles();
        let table_faults = fault
            .iter()
            .map(ToString::to_string)
            .chain(table_reader::mbr_fault(&storage, last))
            .chain(duplicates.iter().map(ToString::to_string))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            size,
            table_places: table_reader::places(table.header()),
            table: Table::read(&table),
            duplicates,
            table_faults,
            storage,
        })
    }

    /// The path of the image.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the image in bytes.
    #[must_use]
    pub fn size(&self) -> Bytes {
        self.size
    }

    /// The GUID of the disk.
    #[must_use]
    pub fn disk_guid(&self) -> Uuid {
        self.table.disk_guid
    }

    /// The partitions by their number in the table.
    #[must_use]
    pub fn partitions(&self) -> &[FoundPartition] {
        &self.table.partitions
    }

    /// The partition table that is valid: the primary, or else the backup.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What is wrong with the two copies of the table, or with the protective MBR.
    #[must_use]
    pub fn table_faults(&self) -> &[String] {
        &self.table_faults
    }

    /// The partition with this role; an error if there is none or more than one.
    pub fn partition(&self, role: Role) -> Result<&FoundPartition, ReadError> {
        if let Some(duplicate) = self.duplicates.iter().find(|duplicate| duplicate.role == role) {
            return Err(ReadError::TwoPartitions { path: self.path.clone(), duplicate: duplicate.clone() });
        }
        let found = self.table.partitions.iter().find(|partition| partition.role == Some(role));
        found.ok_or_else(|| ReadError::NoPartition { path: self.path.clone(), role })
    }

    /// Whether the image contains the whole partition: one that was cut ends before.
    pub fn is_there(&self, role: Role) -> Result<(), ReadError> {
        let partition = self.partition(role)?;
        if partition.offset.0.saturating_add(partition.size.0) <= self.size.0 {
            return Ok(());
        }
        let source = io::ErrorKind::UnexpectedEof.into();
        Err(ReadError::Partition { path: self.path.clone(), role, source })
    }

    /// `length` bytes of a partition from `offset` in it. Reading past the partition's end is the same error as past
    /// the file's.
    pub fn read(&self, role: Role, offset: Bytes, length: usize) -> Result<Vec<u8>, ReadError> {
        let partition = self.partition(role)?;
        let failed = |source| ReadError::Partition { path: self.path.clone(), role, source };
        let end = u64::try_from(length).ok().and_then(|length| offset.0.checked_add(length));
        if end.is_none_or(|end| end > partition.size.0) {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let start = partition.offset.0.saturating_add(offset.0);
        // Checked before allocating: for a cut image or a damaged table there may be too little memory.
        if u64::try_from(length).is_ok_and(|length| start.saturating_add(length) > self.size.0) {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut bytes = vec![0; length];
        self.storage.fill_at(&mut bytes, start).map_err(failed)?;
        Ok(bytes)
    }

    /// Both copies of the partition table as stored: the first sectors, which begin with the protective MBR, and the
    /// last sectors of the disk that the table was made for (UEFI 2.10, section 5.3.2).
    pub fn table_bytes(&self) -> Result<Vec<u8>, ReadError> {
        let unreadable = |source| ReadError::Open { path: self.path.clone(), source };
        let mut bytes = Vec::new();
        for place in &self.table_places {
            let length = to_usize(place.end - place.start);
            let mut copy = vec![0; length];
            self.storage.fill_at(&mut copy, place.start).map_err(unreadable)?;
            bytes.append(&mut copy);
        }
        Ok(bytes)
    }

    /// A partition as a stream, if the image contains all of it.
    pub fn window(&self, role: Role) -> Result<Window<'_>, ReadError> {
        self.is_there(role)?;
        let partition = self.partition(role)?;
        Ok(Window::new(&self.storage, partition.offset.0, partition.size.0))
    }

    /// The storage with the image's bytes, for code that reads them in its own way.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// A partition for a program of the host, which needs a file: the image itself if it is one file, or else a copy of
    /// the first `most` bytes.
    pub fn for_program(&self, role: Role, most: u64) -> Result<ProgramInput, ReadError> {
        self.is_there(role)?;
        let partition = self.partition(role)?;
        if let Storage::Whole(_) = self.storage {
            return Ok(ProgramInput { path: self.path.clone(), offset: partition.offset.0, _copy: None });
        }
        let failed = |source| ReadError::Partition { path: self.path.clone(), role, source };
        let size = partition.size.0.min(most);
        let copy = Staging::new()?;
        let path = copy.path().join(role.name());
        let file = File::create(&path).map_err(failed)?;
        file.set_len(size).map_err(failed)?;
        let mut at = 0;
        while at < size {
            let length = COPIED_AT_ONCE.min(size - at);
            let bytes = self.read(role, Bytes(at), to_usize(length))?;
            if !is_zero(&bytes) {
                file.write_all_at(&bytes, at).map_err(failed)?;
            }
            at += length;
        }
        Ok(ProgramInput { path, offset: 0, _copy: Some(copy) })
    }

    /// The size of a partition in bytes, after comparing it with a limit.
    pub fn check_size(&self, role: Role, limit: &'static Limit) -> Result<u64, ReadError> {
        self.over(role, limit.check(self.partition(role)?.size.0))
    }

    /// Adds the partition to the error of a size that was compared with a limit.
    pub fn over<T>(&self, role: Role, compared: Result<T, OverLimit>) -> Result<T, ReadError> {
        compared.map_err(|over| ReadError::Limit { path: self.path.clone(), role, over })
    }

    /// The bytes of a whole partition, if they are within a limit.
    pub fn read_all(&self, role: Role, limit: &'static Limit) -> Result<Vec<u8>, ReadError> {
        let size = self.check_size(role, limit)?;
        self.read(role, Bytes(0), to_usize(size))
    }

    /// The number of bytes of a partition up to its last one that is not zero, if the partition is within a limit.
    pub fn content_length(&self, role: Role, limit: &'static Limit) -> Result<u64, ReadError> {
        let mut end = self.check_size(role, limit)?;
        while end > 0 {
            let start = (end - 1) / COPIED_AT_ONCE * COPIED_AT_ONCE;
            let bytes = self.read(role, Bytes(start), to_usize(end - start))?;
            if !is_zero(&bytes) {
                let length = without_zeros_behind(&bytes).len();
                return Ok(start + to_u64(length));
            }
            end = start;
        }
        Ok(0)
    }
}

/// Whether it begins like a file that zstd has packed (RFC 8878, section 3.1.1).
fn is_packed(storage: &Storage) -> bool {
    let mut magic = [0; 4];
    storage.fill_at(&mut magic, 0).is_ok() && u32::from_le_bytes(magic) == 0xFD2F_B528
}
