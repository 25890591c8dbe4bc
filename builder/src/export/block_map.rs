//! The block map of an image, in the format of bmaptool (version 2.0): which blocks matter, and the digest of each
//! range.
//!
//! What is in the map must be written even if it is zero: a stick keeps its old content, and an old boot record or seal
//! must not survive. What is not in the map may have any content: the space after a UKI and a root, and the other slot
//! except for the blocks that make it look like a system.

use crate::image::reader::{FoundPartition, ImageReader, ReadError};
use crate::image::slot;
use crate::input::ReadAt as _;
use crate::width::to_usize;
use handoff::boot_record;
use handoff::hash::Sha256Digest;
use handoff::partition::Role;
use handoff::verity::BLOCK;
use sha2::{Digest as _, Sha256};
use std::io;
use std::ops::Range;

/// The bytes of a block of the map.
pub const BLOCK_SIZE: u64 = 4096;
/// How many bytes are read at once.
const CHUNK: u64 = 1 << 20;
/// The bytes at the beginning by which a file system is recognised.
const HEAD: u64 = 1 << 20;

/// A block map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMap {
    /// The size of the image in bytes.
    pub image_size: u64,
    /// The first and the last block of each range, and the digest of its content.
    pub ranges: Vec<(u64, u64, Sha256Digest)>,
}

impl BlockMap {
    /// Makes the map of an image.
    pub fn of(image: &ImageReader) -> Result<Self, ReadError> {
        let image_size = image.size().0;
        let failed = |source| ReadError::Open { path: image.path().to_owned(), source };
        let mut ranges = Vec::new();
        for range in mapped(image) {
            let digest = digest(image, &range).map_err(failed)?;
            ranges.push((range.start / BLOCK_SIZE, range.end.div_ceil(BLOCK_SIZE) - 1, digest));
        }
        Ok(Self { image_size, ranges })
    }

    /// The number of blocks in the map.
    #[must_use]
    pub fn mapped_blocks(&self) -> u64 {
        self.ranges.iter().map(|(first, last, _)| last - first + 1).sum()
    }

    /// The file in the format of bmaptool. Its own digest is computed with zeros in place of the digest.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let zeros = "0".repeat(64);
        let text = self.with_checksum(&zeros);
        let digest = Sha256Digest::of(text.as_bytes()).to_string();
        text.replacen(&zeros, &digest, 1)
    }

    fn with_checksum(&self, checksum: &str) -> String {
        let ranges: String = self
            .ranges
            .iter()
            .map(|(first, last, digest)| {
                format!("        <Range chksum=\"{digest}\"> {first}-{last} </Range>\n")
            })
            .collect();
        format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {} </ImageSize>\n    \
             <BlockSize> {BLOCK_SIZE} </BlockSize>\n    <BlocksCount> {} </BlocksCount>\n    \
             <MappedBlocksCount> {} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
             <BmapFileChecksum> {checksum} </BmapFileChecksum>\n    <BlockMap>\n{ranges}    </BlockMap>\n</bmap>\n",
            self.image_size,
            self.image_size.div_ceil(BLOCK_SIZE),
            self.mapped_blocks(),
        )
    }
}

/// The bytes that are in the map: whole blocks, sorted, with a gap between any two.
#[must_use]
pub fn mapped(image: &ImageReader) -> Vec<Range<u64>> {
    merged(matters(image), image.size().0)
}

/// The bytes that must be written, in no order.
fn matters(image: &ImageReader) -> Vec<Range<u64>> {
    let partitions = image.partitions();
    let first = partitions.iter().map(|partition| partition.offset.0).min().unwrap_or(0);
    let end = partitions
        .iter()
        .map(|partition| partition.offset.0.saturating_add(partition.size.0))
        .max()
        .unwrap_or(0);
    // Both copies of the table are outside the partitions.
    let mut ranges = vec![0..first, end..image.size().0];
    for partition in partitions {
        let (start, size) = (partition.offset.0, partition.size.0);
        for part in of_partition(image, partition) {
            let at = |place: u64| start.saturating_add(place.min(size));
            ranges.push(at(part.start)..at(part.end));
        }
    }
    ranges
}

/// The bytes of a partition that must be written, relative to its beginning: its head, and the record of a boot
/// partition. If the content cannot be read, all of it.
fn of_partition(image: &ImageReader, partition: &FoundPartition) -> [Range<u64>; 2] {
    let size = partition.size.0;
    let head = match partition.role {
        Some(Role::Boot(slot)) => slot::record(image, slot).map_or(0, |record| record.length),
        Some(Role::Root(slot)) => slot::superblock(image, slot)
            .map_or(HEAD, |superblock| superblock.data_blocks.saturating_mul(BLOCK)),
        Some(Role::Verity(slot)) => {
            slot::superblock(image, slot).map_or(HEAD, |superblock| superblock.hash_device_size())
        }
        Some(Role::Data) => HEAD,
        _ => size,
    };
    let tail = match partition.role {
        Some(Role::Boot(_)) => boot_record::SIZE_U64,
        _ => 0,
    };
    [0..head, size.saturating_sub(tail)..size]
}

/// Whole blocks, sorted; ranges that touch are joined.
fn merged(mut ranges: Vec<Range<u64>>, image_size: u64) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let start = range.start / BLOCK_SIZE * BLOCK_SIZE;
        let end = range.end.next_multiple_of(BLOCK_SIZE).min(image_size);
        match merged.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => merged.push(start..end),
        }
    }
    merged
}

fn digest(image: &ImageReader, range: &Range<u64>) -> io::Result<Sha256Digest> {
    let mut hasher = Sha256::new();
    let mut at = range.start;
    while at < range.end {
        let length = CHUNK.min(range.end - at);
        let mut buffer = vec![0; to_usize(length)];
        image.storage().fill_at(&mut buffer, at)?;
        hasher.update(&buffer);
        at += length;
    }
    Ok(Sha256Digest::from_bytes(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use handoff::slot::Slot;

    #[test]
    fn ranges_are_whole_blocks_and_do_not_touch() {
        let ranges = vec![5000..6000, 0..10, 8192..8193, 20_000..20_000, 16_384..17_000];
        assert_eq!(merged(ranges, 16_900), [0..12_288, 16_384..16_900]);
    }

    #[test]
    fn an_old_system_is_erased_and_empty_space_is_not_written() {
        let fixture = fixture::image();
        let image = ImageReader::open(&fixture.image.path).unwrap();
        let map = BlockMap::of(&image).unwrap();
        let is_mapped = |role, within: u64| {
            let block = (image.partition(role).unwrap().offset.0 + within) / BLOCK_SIZE;
            map.ranges.iter().any(|(first, last, _)| (*first..=*last).contains(&block))
        };
        let size = |role| image.partition(role).unwrap().size.0;
        let boot = Role::Boot(Slot::B);
        assert!(is_mapped(boot, size(boot) - 1) && !is_mapped(boot, size(boot) - 8192));
        assert!(is_mapped(Role::Seal(Slot::B), 0) && is_mapped(Role::Secret, size(Role::Secret) - 1));
        assert!(is_mapped(Role::Root(Slot::A), 0) && is_mapped(Role::Root(Slot::B), 0));
        assert!(is_mapped(Role::Control, size(Role::Control) - 1));
        assert!(map.ranges.iter().any(|(first, ..)| *first == 0));
        let last = map.ranges.last().unwrap().1;
        assert_eq!(last + 1, map.image_size / BLOCK_SIZE);
        assert!(map.mapped_blocks() < map.image_size / BLOCK_SIZE);
    }
}
