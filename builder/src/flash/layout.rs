//! The content of a stick of a given size: the image's bytes in pieces, and the partition table at the stick's own
//! ends.
//!
//! Pure except for the tables, which the `gpt` crate writes to a file. If the last partition is `data`, it grows to the
//! stick's end.

use crate::export::block_map;
use crate::image::reader::ImageReader;
use crate::site::Bytes;
use crate::width::to_u64;
use handoff::partition::{Role, SECTOR};
use std::io;
use std::ops::Range;

/// The bytes that are written, read and compared at once; no piece crosses a multiple of it.
pub const PIECE: u64 = 1 << 20;
/// The bytes of the sectors of the backup table at the end (UEFI 2.10, section 5.3).
const BACKUP: u64 = 33 * SECTOR;
/// The bytes at the end by which a disk is recognised, for example as a part of a RAID.
const TAIL: u64 = 1 << 20;

/// What is written where on a stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The size of the stick in bytes.
    pub size: u64,
    /// The ranges of the image that are written, in the order of the stick.
    pub pieces: Vec<Range<u64>>,
    /// The ranges that stay empty until all else is written and read back: before the first partition, and the end.
    pub edges: [Range<u64>; 2],
    /// The bytes that make the stick a disk, in the order of writing, each with its offset: the backup table, then the
    /// primary with the protective MBR.
    pub tables: Vec<(u64, Vec<u8>)>,
}

impl Layout {
    /// The layout of `image` on a stick of `size` bytes, which is as long as the image or longer.
    pub fn new(image: &ImageReader, size: u64) -> io::Result<Self> {
        let mut table = image.table().clone();
        let first = table.partitions.iter().map(|found| found.offset.0).min();
        let last = table.partitions.iter_mut().max_by_key(|found| found.offset);
        let (Some(first), Some(last)) = (first, last) else {
            let image = image.path().display();
            let problem = format!("the partition table of {image} is empty: build the image again");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        let body_end = last.offset.0 + last.size.0;
        let mut end = body_end;
        if last.role == Some(Role::Data) {
            end = end.max(size.saturating_sub(BACKUP) / PIECE * PIECE);
            last.size = Bytes(end - last.offset.0);
        }
        let [primary, backup] = table.ends(Bytes(size))?;
        let tail = end.max(size.saturating_sub(TAIL).next_multiple_of(SECTOR));
        Ok(Self {
            size,
            pieces: pieces(block_map::mapped(image), &(first..body_end)),
            edges: [0..first, tail..size],
            tables: vec![backup, primary],
        })
    }

    /// The layout of a file system of `size` bytes; it is recognised by `head`, which is written last.
    #[must_use]
    pub fn of_file_system(size: u64, head: Vec<u8>) -> Self {
        let start = to_u64(head.len());
        Self {
            size,
            pieces: pieces(std::iter::once(start..size), &(start..size)),
            edges: [0..start, size..size],
            tables: vec![(0, head)],
        }
    }

    /// All tables in the order of the disk, as [`ImageReader::table_bytes`] would read them.
    #[must_use]
    pub fn table_bytes(&self) -> Vec<u8> {
        self.tables.iter().rev().flat_map(|(_, bytes)| bytes).copied().collect()
    }

    /// The bytes of all pieces together.
    #[must_use]
    pub fn length(&self) -> u64 {
        length(&self.pieces)
    }

    /// Whether neither the image nor a table uses this range.
    #[must_use]
    pub fn is_free(&self, place: &Range<u64>) -> bool {
        let apart = |other: &Range<u64>| place.end <= other.start || other.end <= place.start;
        let [head, tail] = &self.edges;
        let behind = self.pieces.partition_point(|piece| piece.end <= place.start);
        self.pieces.get(behind).is_none_or(apart) && apart(head) && apart(tail)
    }
}

/// The bytes of these pieces together.
#[must_use]
pub fn length(pieces: &[Range<u64>]) -> u64 {
    pieces.iter().map(|piece| piece.end - piece.start).sum()
}

/// The ranges within `bounds`, cut at each multiple of [`PIECE`].
fn pieces(ranges: impl IntoIterator<Item = Range<u64>>, bounds: &Range<u64>) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    for range in ranges {
        let (mut start, end) = (range.start.max(bounds.start), range.end.min(bounds.end));
        while start < end {
            let cut = ((start / PIECE + 1) * PIECE).min(end);
            pieces.push(start..cut);
            start = cut;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture;
    use crate::image::table_fixture::Tables;
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;

    const MIB: u64 = 1 << 20;

    #[test]
    fn pieces_are_cut_at_their_bounds() {
        let cut = pieces(vec![0..10, 100..MIB + 5, 5 * MIB..6 * MIB], &(50..5 * MIB + 7));
        assert_eq!(cut, [100..MIB, MIB..MIB + 5, 5 * MIB..5 * MIB + 7]);
    }

    #[test]
    fn the_table_is_at_both_ends_of_the_stick() {
        let fixture = fixture::image();
        let image = ImageReader::open(&fixture.image.path).unwrap();
        // Sticks do not have a whole number of MiB.
        let size = image.size().0 + 3 * MIB + 512 * 5;
        let layout = Layout::new(&image, size).unwrap();
        let stick = tempfile::NamedTempFile::new().unwrap();
        let file = File::options().write(true).open(stick.path()).unwrap();
        file.set_len(size).unwrap();
        for (place, bytes) in &layout.tables {
            file.write_all_at(bytes, *place).unwrap();
        }
        let written = ImageReader::open(stick.path()).unwrap();
        assert!(written.table_faults().is_empty(), "{:?}", written.table_faults());
        assert_eq!(written.table(), image.table());
        let [(backup, bytes), (0, _)] = layout.tables.as_slice() else { panic!("{:?}", layout.edges) };
        assert_eq!(backup + bytes.len() as u64, size);
        assert_eq!(layout.edges, [0..MIB, size - MIB..size]);
    }

    #[test]
    fn a_table_without_partitions_has_no_layout() {
        let fixture = fixture::image();
        let path = fixture.image.path.as_path();
        let partitions = ImageReader::open(path).unwrap().partitions().len();
        let empty =
            (1..=partitions).fold(Tables::of(path), |tables, number| tables.with(number, 0, &[0; 128]));
        empty.write(path);
        let image = ImageReader::open(path).unwrap();
        let error = Layout::new(&image, image.size().0).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }

    #[test]
    fn free_ranges_do_not_overlap_written_ones() {
        let fixture = fixture::image();
        let image = ImageReader::open(&fixture.image.path).unwrap();
        let layout = Layout::new(&image, image.size().0 + 8 * MIB).unwrap();
        let first = layout.pieces.first().unwrap().clone();
        assert!(!layout.is_free(&(0..4096)) && !layout.is_free(&(first.start..first.start + 1)));
        assert!(!layout.is_free(&(layout.size - 4096..layout.size)));
        assert!(layout.is_free(&(image.size().0..image.size().0 + 4096)));
        let bytes: u64 = layout.pieces.iter().map(|piece| piece.end - piece.start).sum();
        assert_eq!(bytes, layout.length());
        assert!(layout.pieces.iter().all(|piece| !layout.is_free(piece)));
    }
}
