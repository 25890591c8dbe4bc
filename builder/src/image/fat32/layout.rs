//! The boot sector of a FAT32 volume (section 3), and the places that follow from it.

use super::{COPY, FatError};
use handoff::partition::SECTOR;

/// A volume with fewer clusters is FAT16 (section 3.5).
const FEWEST_CLUSTERS: u64 = 65_525;

/// The places of the parts of a volume, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// The offset of the first table.
    pub(super) tables_at: u64,
    /// The bytes of each of the two tables.
    pub(super) table: u64,
    pub(super) clusters_at: u64,
    /// The bytes of a cluster.
    pub(super) cluster: u64,
    /// The number of clusters.
    pub(super) clusters: u64,
    pub(super) root: u32,
}

impl Layout {
    /// Parses a boot sector; `size` is that of the partition in bytes.
    pub(super) fn read(boot: &[u8], size: u64) -> Result<Self, FatError> {
        let byte = |at: usize| boot.get(at).copied().map_or(0, u64::from);
        let word = |at: usize| byte(at) | byte(at.saturating_add(1)) << 8;
        let long = |at: usize| word(at) | word(at.saturating_add(2)) << 16;
        let is = |field, found: u64, expected: u64| {
            let error = || FatError::Field { field, found, expected: expected.to_string() };
            if found == expected { Ok(()) } else { Err(error()) }
        };
        let within = |field, found: u64, least: u64, most: u64| {
            let error = || FatError::Field { field, found, expected: format!("{least} to {most}") };
            if (least..=most).contains(&found) { Ok(found) } else { Err(error()) }
        };
        is("Signature_word", word(510), 0xaa55)?;
        is("BPB_BytsPerSec", word(11), SECTOR)?;
        let per_cluster = within("BPB_SecPerClus", byte(13), 1, 128)?;
        if !per_cluster.is_power_of_two() {
            let expected = "a power of two".to_owned();
            return Err(FatError::Field { field: "BPB_SecPerClus", found: per_cluster, expected });
        }
        let reserved = within("BPB_RsvdSecCnt", word(14), COPY.saturating_add(1), u64::from(u16::MAX))?;
        is("BPB_NumFATs", byte(16), 2)?;
        is("BPB_RootEntCnt", word(17), 0)?;
        is("BPB_TotSec16", word(19), 0)?;
        is("BPB_FATSz16", word(22), 0)?;
        is("BPB_FSInfo", word(48), 1)?;
        is("BPB_BkBootSec", word(50), COPY)?;
        let sectors = within("BPB_TotSec32", long(32), FEWEST_CLUSTERS, size / SECTOR)?;
        // Neither of these can overflow: each factor has at most 32 bits.
        let per_table = within("BPB_FATSz32", long(36), 1, sectors / 2)?;
        let data_at = reserved + 2 * per_table;
        let clusters = sectors.saturating_sub(data_at) / per_cluster;
        within("the number of clusters", clusters, FEWEST_CLUSTERS, per_table * SECTOR / 4 - 2)?;
        let root = within("BPB_RootClus", long(44), 2, clusters + 1)?;
        Ok(Self {
            tables_at: reserved * SECTOR,
            table: per_table * SECTOR,
            clusters_at: data_at * SECTOR,
            cluster: per_cluster * SECTOR,
            clusters,
            root: u32::try_from(root).unwrap_or(u32::MAX),
        })
    }

    /// The offset of a cluster, whose number must be valid.
    pub(super) fn at(&self, cluster: u32) -> u64 {
        self.clusters_at + (u64::from(cluster) - 2) * self.cluster
    }

    pub(super) fn has(&self, cluster: u32) -> bool {
        (2..self.clusters + 2).contains(&u64::from(cluster))
    }
}
