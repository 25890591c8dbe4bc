//! The ESP as it is read: a FAT32 whose parts that exist twice are equal (FAT32, sections 3 and 4).
//!
//! FAT has no checksums. Its boot sector and its table lie there twice, and where the two differ, what is found behind them
//! may be anything: then it is called damaged, and not searched.

use super::esp::SELECTOR;
use super::reader::{ImageReader, ReadError};
use super::window::Window;
use crate::site::Bytes;
use fatfs::{FileSystem, FsOptions};
use handoff::partition::{Role, SECTOR};
use std::io;
use thiserror::Error;

/// An ESP that is open for reading.
pub type Volume<'i> = FileSystem<Window<'i>>;

/// Where the copy of the boot sector lies (`BPB_BkBootSec`, which has no other value).
const COPY: u64 = 6;
/// The bits of an entry that say where its chain goes on.
const CLUSTER_BITS: u32 = 0x0fff_ffff;

/// Why an ESP cannot be read.
#[derive(Debug, Error)]
pub enum EspError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ReadError),
    /// The boot sector.
    #[error("its boot sector and the copy of it in sector {COPY} differ")]
    BootSector,
    /// The boot sector makes no sense.
    #[error("its boot sector is that of no FAT32")]
    NoFat32,
    /// The tables.
    #[error("its two file allocation tables differ, first at byte {0}")]
    Tables(usize),
    /// The file system.
    #[error("{0}")]
    FileSystem(#[from] io::Error),
    /// Firmware would find nothing to start.
    #[error("there is no {SELECTOR} on it ({0}): firmware finds nothing to start")]
    NoSelector(io::Error),
}

/// Opens the file system after its copies were compared.
pub fn open(image: &ImageReader) -> Result<Volume<'_>, EspError> {
    let boot = image.read(Role::Esp, Bytes(0), 512)?;
    if boot != image.read(Role::Esp, Bytes(COPY * SECTOR), 512)? {
        return Err(EspError::BootSector);
    }
    let layout = Layout::read(&boot).ok_or(EspError::NoFat32)?;
    let length = usize::try_from(layout.table).map_err(|_| EspError::NoFat32)?;
    let table = |number: u64| {
        let offset = layout.tables_at.saturating_add(layout.table.saturating_mul(number));
        image.read(Role::Esp, Bytes(offset), length)
    };
    let (first, second) = (table(0)?, table(1)?);
    if let Some(at) = first.iter().zip(&second).position(|(one, other)| one != other) {
        return Err(EspError::Tables(at));
    }
    Ok(FileSystem::new(image.window(Role::Esp)?, FsOptions::new())?)
}

/// Whether firmware would find the selector.
pub fn check(image: &ImageReader) -> Result<(), EspError> {
    let volume = open(image)?;
    let opened = volume.root_dir().open_file(SELECTOR).map(drop);
    opened.map_err(EspError::NoSelector)
}

/// All bytes in front of the clusters, and of the clusters that the first table does not call free. (The count that the
/// file system keeps is a hint only, and not written by everybody.)
#[must_use]
pub fn used(image: &ImageReader) -> Option<u64> {
    let layout = Layout::read(&image.read(Role::Esp, Bytes(0), 512).ok()?)?;
    let length = usize::try_from(layout.clusters.checked_add(2)?.checked_mul(4)?).ok()?;
    let entries = image.read(Role::Esp, Bytes(layout.tables_at), length).ok()?;
    let (entries, _) = entries.as_chunks::<4>();
    let taken = |entry: &&[u8; 4]| u32::from_le_bytes(**entry) & CLUSTER_BITS != 0;
    // The first two entries belong to no cluster.
    let taken = u64::try_from(entries.iter().skip(2).filter(taken).count()).ok()?;
    layout.clusters_at.checked_add(taken.checked_mul(layout.cluster)?)
}

/// Where things lie, in bytes.
struct Layout {
    tables_at: u64,
    table: u64,
    clusters_at: u64,
    cluster: u64,
    clusters: u64,
}

impl Layout {
    fn read(boot: &[u8]) -> Option<Self> {
        let word = |at| boot.get(at..)?.first_chunk().copied().map(u16::from_le_bytes).map(u64::from);
        let long = |at| boot.get(at..)?.first_chunk().copied().map(u32::from_le_bytes).map(u64::from);
        let byte = |at| boot.get(at).copied().map(u64::from);
        let sector = word(11)?;
        let cluster = byte(13)?.checked_mul(sector).filter(|bytes| *bytes > 0)?;
        let tables_at = word(14)?.checked_mul(sector)?;
        let table = long(36)?.checked_mul(sector)?;
        let clusters_at = byte(16)?.checked_mul(table)?.checked_add(tables_at)?;
        let clusters = long(32)?.checked_mul(sector)?.checked_sub(clusters_at)? / cluster;
        Some(Self { tables_at, table, clusters_at, cluster, clusters })
    }
}
