//! Where on a volume its file system can be recognised: the places that libblkid reads (util-linux 2.38 to 2.41,
//! `libblkid/src/superblocks`).
//!
//! If a place is missing here, a file system is not recognised, but a disk never counts as blank.

use std::ops::Range;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Superblocks are in the first 256 KiB (UFS); anchors of UDF with blocks of 4 KiB at 1 MiB.
const HEAD: u64 = MIB + 64 * KIB;
/// VMFS and UDF are at 2 MiB; copies of a LUKS header up to 4 MiB.
const MARKS: [u64; 2] = [2 * MIB, 4 * MIB];
/// RAID controllers write theirs up to 3087 sectors before the end, ZFS two labels in the last 512 KiB.
const TAIL: u64 = 2 * MIB;
/// The size of a table or a folder that a boot sector points to.
const POINTED: u64 = 64 * KIB;
/// How many bytes at the beginning tell where else to look.
pub(super) const BOOT_SECTOR: usize = 512;

/// The ranges of a volume of that size that are read; they may overlap.
pub(super) fn pieces(boot_sector: &[u8], size: u64) -> Vec<Range<u64>> {
    let mut pieces = vec![0..HEAD, size.saturating_sub(TAIL)..size];
    let pointed = [ntfs(boot_sector), exfat(boot_sector), fat(boot_sector)];
    let starts = MARKS.into_iter().chain(pointed.into_iter().flatten());
    pieces.extend(starts.map(|start| start..start.saturating_add(POINTED)));
    let clipped = pieces.into_iter().map(|piece| piece.start.min(size)..piece.end.min(size));
    clipped.filter(|piece| !piece.is_empty()).collect()
}

/// The offset of the master file table, whose fourth entry has the label.
fn ntfs(sector: &[u8]) -> Option<u64> {
    (sector.get(3..11)? == b"NTFS    ").then_some(())?;
    let sectors = u64::from(*sector.get(13)?);
    // Values from 0x80 on are a power of two, counted down from 256.
    let sectors =
        if sectors < 0x80 { sectors } else { 1u64.checked_shl(u32::try_from(256 - sectors).ok()?)? };
    number(sector, 48, 8)?.checked_mul(sectors)?.checked_mul(number(sector, 11, 2)?)
}

/// The offset of the root folder, which has the label.
fn exfat(sector: &[u8]) -> Option<u64> {
    (sector.get(3..11)? == b"EXFAT   ").then_some(())?;
    let (of_sector, of_cluster) = (number(sector, 108, 1)?, number(sector, 109, 1)?);
    (of_sector <= 12 && of_cluster <= 25).then_some(())?;
    let sectors =
        (number(sector, 96, 4)?.checked_sub(2)? << of_cluster).checked_add(number(sector, 88, 4)?)?;
    sectors.checked_mul(1 << of_sector)
}

/// The offset of the root folder, after the tables or in a cluster.
fn fat(sector: &[u8]) -> Option<u64> {
    (sector.get(510..512)? == [0x55, 0xaa]).then_some(())?;
    let (reserved, tables) = (number(sector, 14, 2)?, number(sector, 16, 1)?);
    let (short, long) = (number(sector, 22, 2)?, number(sector, 36, 4)?);
    let data = tables.checked_mul(if short == 0 { long } else { short })?.checked_add(reserved)?;
    let clusters = if short == 0 { number(sector, 44, 4)?.checked_sub(2)? } else { 0 };
    data.checked_add(clusters.checked_mul(number(sector, 13, 1)?)?)?.checked_mul(number(sector, 11, 2)?)
}

/// A little-endian number of that many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pieces_are_inside_the_volume() {
        for size in [0, 1, 512, HEAD, 2 * MIB + 1, 1 << 40] {
            for boot_sector in [vec![], vec![0; 512], vec![0xff; 512]] {
                let pieces = pieces(&boot_sector, size);
                assert!(pieces.iter().all(|piece| piece.end <= size), "{size}: {pieces:?}");
                assert_eq!(pieces.iter().any(|piece| piece.end == size), size > 0, "{size}: {pieces:?}");
            }
        }
    }

    #[test]
    fn damaged_boot_sectors_give_no_pieces() {
        let mut sector = vec![0xff; 512];
        for magic in [b"NTFS    ", b"EXFAT   ", b"MSDOS5.0"] {
            sector[3..11].copy_from_slice(magic);
            assert_eq!((ntfs(&sector), exfat(&sector)), (None, None), "{magic:?}");
            for length in 0..512 {
                pieces(&sector[..length], 1 << 30);
            }
        }
    }
}
