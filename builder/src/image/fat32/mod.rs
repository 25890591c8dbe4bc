//! Reading a FAT32 volume (Microsoft FAT specification of 2005, sections 3 to 6): the boot sector, both tables, and
//! every folder are read before any file.
//!
//! FAT has no checksums, so every reference may have any value. Each chain of clusters is followed once; a chain that
//! leaves the volume, returns to itself or enters another chain is an error that names the cluster. Long names are
//! skipped. Nothing is written.

mod layout;

use crate::image::zeros::is_zero;
use crate::input::ReadAt;
use crate::limits::{self, OverLimit};
use crate::width::{to_u64, to_usize};
use handoff::partition::SECTOR;
use layout::Layout;
use std::collections::BTreeMap;
use std::io;
use thiserror::Error;

/// The only valid value of `BPB_BkBootSec`, the sector of the copy of the boot sector.
pub const COPY: u64 = 6;
/// The bits of a table entry with the next cluster of its chain.
const CLUSTER_BITS: u32 = 0x0fff_ffff;
/// An entry from this value on ends its chain.
const END: u32 = 0x0fff_fff8;
/// The value of `FSI_LeadSig` (section 5).
const LEAD_SIGNATURE: u32 = 0x4161_5252;
/// The bytes of an entry of a folder, and offsets and values in it (section 6).
const ENTRY: usize = 32;
const ATTRIBUTES: usize = 11;
const VOLUME_LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const REMOVED: u8 = 0xe5;
/// How many bytes are compared at once.
const PIECE: u64 = 1 << 20;

/// Why a volume could not be read.
#[derive(Debug, Error)]
pub enum FatError {
    /// The boot sector and its copy differ.
    #[error("its boot sector and the copy of it in sector {COPY} differ")]
    BootSector,
    /// A field of the boot sector is not valid.
    #[error("its boot sector is not that of a FAT32 volume: {field} is {found}, expected is {expected}")]
    Field {
        /// The field's name in the specification.
        field: &'static str,
        /// The value of the field.
        found: u64,
        /// The expected value or values.
        expected: String,
    },
    /// The `FSInfo` sector, with the count of free clusters, is not valid.
    #[error("its FSInfo sector does not begin with FSI_LeadSig")]
    Info,
    /// The two tables differ: the offset of the first difference in bytes.
    #[error("its two file allocation tables differ, first at byte {0}")]
    Tables(u64),
    /// A chain enters one that was followed before, or itself.
    #[error(
        "its file allocation table is damaged: cluster {cluster} is used by {path} and by another file, or twice by it"
    )]
    CrossLinked {
        /// The number of the cluster.
        cluster: u32,
        /// The file or folder whose chain it is.
        path: String,
    },
    /// A chain leaves the volume.
    #[error(
        "its file allocation table is damaged: the chain of {path} leads to cluster {cluster}, which does not exist"
    )]
    Outside {
        /// The number of the cluster.
        cluster: u32,
        /// The file or folder whose chain it is.
        path: String,
    },
    /// The chain of a file does not have the length of the file.
    #[error("its file allocation table is damaged: {path} has {size} bytes and {clusters} clusters")]
    Length {
        /// The path of the file.
        path: String,
        /// The size of the file in bytes.
        size: u64,
        /// The number of clusters in its chain.
        clusters: usize,
    },
    /// The volume is larger than an ESP of this system can be.
    #[error(transparent)]
    Limit(#[from] OverLimit),
    /// The bytes could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file or folder on the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whether it is a folder.
    pub is_folder: bool,
    /// The size of a file in bytes; 0 for a folder.
    pub size: u64,
    clusters: Vec<u32>,
}

impl Found {
    /// The first cluster of its chain; `None` for an empty file.
    #[must_use]
    pub fn first_cluster(&self) -> Option<u32> {
        self.clusters.first().copied()
    }
}

/// A volume of which all chains were followed.
#[derive(Debug)]
pub struct Volume<S> {
    source: S,
    layout: Layout,
    entries: BTreeMap<String, Found>,
    /// The bytes of the first table.
    table: Vec<u8>,
}

/// Compares the two copies of the boot sector and of the table.
pub fn compare_copies(source: &dyn ReadAt, size: u64) -> Result<(), FatError> {
    limits::ESP.check(size)?;
    let (mut boot, mut copy) = ([0; 512], [0; 512]);
    source.fill_at(&mut boot, 0)?;
    source.fill_at(&mut copy, COPY * SECTOR)?;
    if boot != copy {
        return Err(FatError::BootSector);
    }
    let layout = Layout::read(&boot, size)?;
    let (mut first, mut second, mut at) = (Vec::new(), Vec::new(), 0);
    while at < layout.table {
        let length = to_usize(PIECE.min(layout.table - at));
        first.resize(length, 0);
        second.resize(length, 0);
        source.fill_at(&mut first, layout.tables_at + at)?;
        source.fill_at(&mut second, layout.tables_at + layout.table + at)?;
        if first != second {
            let place = (at..).zip(first.iter().zip(&second)).find(|(_, (one, other))| one != other);
            return Err(FatError::Tables(place.map_or(at, |(place, _)| place)));
        }
        at += PIECE;
    }
    Ok(())
}

impl<S: ReadAt> Volume<S> {
    /// Reads all folders of a volume of `size` bytes, and follows the chains of everything in them.
    pub fn read(source: S, size: u64) -> Result<Self, FatError> {
        limits::ESP.check(size)?;
        let mut boot = [0; 512];
        source.fill_at(&mut boot, 0)?;
        let layout = Layout::read(&boot, size)?;
        let mut signature = [0; 4];
        source.fill_at(&mut signature, SECTOR)?;
        if u32::from_le_bytes(signature) != LEAD_SIGNATURE {
            return Err(FatError::Info);
        }
        let table = read_table(&source, &layout)?;
        let seen = vec![false; table.len() / 4];
        let mut walk = Walk { source: &source, layout, seen, table, entries: BTreeMap::new() };
        walk.all()?;
        let (entries, table) = (walk.entries, walk.table);
        Ok(Self { source, layout, entries, table })
    }

    /// All files and folders by path, in upper case, without the root folder.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<String, Found> {
        &self.entries
    }

    /// The file or folder at a path, in upper or lower case.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Found> {
        self.entries.get(&path.to_ascii_uppercase())
    }

    /// The content of a file.
    pub fn content(&self, file: &Found) -> io::Result<Vec<u8>> {
        let size = usize::try_from(file.size).map_err(io::Error::other)?;
        let mut content = Vec::with_capacity(size);
        let mut buffer = vec![0; usize::try_from(self.layout.cluster).map_err(io::Error::other)?];
        for cluster in &file.clusters {
            self.source.fill_at(&mut buffer, self.layout.at(*cluster))?;
            content.extend_from_slice(&buffer);
        }
        content.truncate(size);
        Ok(content)
    }

    /// The bytes before the clusters, and those of all clusters that the first table does not mark as free. (The count
    /// that the volume stores is only a hint.)
    #[must_use]
    pub fn used(&self) -> u64 {
        let taken = |entry: &&[u8; 4]| u32::from_le_bytes(**entry) & CLUSTER_BITS != 0;
        // The first two entries are not those of clusters. Most of the table is zero.
        let (_, table) = self.table.split_at_checked(8).unwrap_or_default();
        let parts = table.chunks(4096).filter(|part| !is_zero(part));
        let taken: usize = parts.map(|part| part.as_chunks::<4>().0.iter().filter(taken).count()).sum();
        self.layout.clusters_at + to_u64(taken) * self.layout.cluster
    }
}

/// Reads the table entries of the existing clusters.
fn read_table(source: &dyn ReadAt, layout: &Layout) -> Result<Vec<u8>, FatError> {
    let mut bytes = vec![0; to_usize((layout.clusters + 2) * 4)];
    source.fill_at(&mut bytes, layout.tables_at)?;
    Ok(bytes)
}

struct Walk<'s> {
    source: &'s dyn ReadAt,
    layout: Layout,
    table: Vec<u8>,
    /// Which clusters belong to a chain that was followed.
    seen: Vec<bool>,
    entries: BTreeMap<String, Found>,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), FatError> {
        let root = self.chain("its top folder", self.layout.root)?;
        let mut folders = vec![(String::new(), root)];
        let mut count = 0;
        while let Some((parent, clusters)) = folders.pop() {
            let bytes = self.folder(&clusters)?;
            let (slots, _) = bytes.as_chunks::<ENTRY>();
            for slot in slots.iter().take_while(|slot| slot.first() != Some(&0)) {
                let Some((name, first, size, is_folder)) = entry(slot) else { continue };
                count += 1;
                limits::ESP_FILES.check(count)?;
                let path = format!("{parent}{name}");
                let clusters = if first == 0 { Vec::new() } else { self.chain(&path, first)? };
                let wanted = size.div_ceil(self.layout.cluster);
                if !is_folder && to_u64(clusters.len()) != wanted {
                    return Err(FatError::Length { path, size, clusters: clusters.len() });
                }
                if is_folder {
                    folders.push((format!("{path}/"), clusters.clone()));
                }
                let size = if is_folder { 0 } else { size };
                self.entries.insert(path, Found { is_folder, size, clusters });
            }
        }
        Ok(())
    }

    /// The clusters of a chain. Each cluster is in one chain, so all chains together end.
    fn chain(&mut self, path: &str, first: u32) -> Result<Vec<u32>, FatError> {
        let (mut clusters, mut cluster) = (Vec::new(), first);
        while cluster < END {
            let outside = || FatError::Outside { cluster, path: path.to_owned() };
            let index = usize::try_from(cluster).map_err(|_| outside())?;
            if !self.layout.has(cluster) {
                return Err(outside());
            }
            let (entries, _) = self.table.as_chunks::<4>();
            let (Some(seen), Some(next)) = (self.seen.get_mut(index), entries.get(index)) else {
                return Err(outside());
            };
            if std::mem::replace(seen, true) {
                return Err(FatError::CrossLinked { cluster, path: path.to_owned() });
            }
            clusters.push(cluster);
            cluster = u32::from_le_bytes(*next) & CLUSTER_BITS;
        }
        Ok(clusters)
    }

    fn folder(&self, clusters: &[u32]) -> Result<Vec<u8>, FatError> {
        let count = to_u64(clusters.len());
        let length = limits::ESP_FOLDER.check(count.saturating_mul(self.layout.cluster))?;
        let mut bytes = vec![0; to_usize(length)];
        let size = to_usize(self.layout.cluster).max(1);
        for (cluster, part) in clusters.iter().zip(bytes.chunks_mut(size)) {
            self.source.fill_at(part, self.layout.at(*cluster))?;
        }
        Ok(bytes)
    }
}

/// Name, first cluster, size and kind; `None` for an entry that is not a file or folder.
fn entry(slot: &[u8; ENTRY]) -> Option<(String, u32, u64, bool)> {
    let [.., low0, low1, s0, s1, s2, s3] = *slot;
    let (high0, high1, attributes) = (*slot.get(20)?, *slot.get(21)?, *slot.get(ATTRIBUTES)?);
    // Long names have this bit, too.
    if attributes & VOLUME_LABEL != 0 || slot.first() == Some(&REMOVED) {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(' ').to_ascii_uppercase();
    let (base, extension) = (text(slot.get(..8)?), text(slot.get(8..ATTRIBUTES)?));
    let name = if extension.is_empty() { base } else { format!("{base}.{extension}") };
    let cluster = u32::from_le_bytes([low0, low1, high0, high1]) & CLUSTER_BITS;
    let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
    (!matches!(name.as_str(), "." | "..")).then_some((name, cluster, size, attributes & FOLDER != 0))
}

#[cfg(test)]
mod tests;
