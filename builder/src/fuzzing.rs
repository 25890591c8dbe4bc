//! The parsers of the builder as functions of bytes, for the fuzz targets in `fuzz/`: the same code that the commands
//! run.
//!
//! Each function also checks properties that every result must have, so that more than a crash is found.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a fuzz target says that something is wrong")]

use crate::boot::initramfs_reader::{self, Wanted};
use crate::boot::uki::{self, Section, Uki};
use crate::flash::receipt::Receipt;
use crate::image::ext4;
use crate::image::fat32::{self, Volume};
use crate::image::storage::Storage;
use crate::input::ReadAt;
use crate::limits;
use crate::root::superblock;
use crate::tree::LayeredTree;
use crate::width::{to_u64, to_usize};
use crate::{base, browse, diff, report_file};
use charts::boot_chart;
use charts::timeline::Timeline;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// A disk whose bytes are zero except for some pieces, so that an input of a few kilobytes is a disk of many megabytes.
#[derive(Debug, Clone)]
struct Sparse {
    pieces: Vec<(u64, Vec<u8>)>,
    size: u64,
}

impl ReadAt for Sparse {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let end = u64::try_from(into.len()).ok().and_then(|length| offset.checked_add(length));
        let Some(end) = end.filter(|end| *end <= self.size) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        into.fill(0);
        for (start, bytes) in &self.pieces {
            let (from, to) = (offset.max(*start), end.min(start.saturating_add(to_u64(bytes.len()))));
            if from < to {
                let index = |place: u64, base: u64| to_usize(place - base);
                into[index(from, offset)..index(to, offset)]
                    .copy_from_slice(&bytes[index(from, *start)..index(to, *start)]);
            }
        }
        Ok(())
    }
}

/// The size of the volume for [`esp`] in bytes.
pub const ESP_SIZE: u64 = 33 << 20;

/// A volume made of its boot sector, the next sector, 2 KiB of both tables, and the first clusters.
pub fn esp(bytes: &[u8]) {
    let (Some(boot), Some(info), Some(table)) =
        (bytes.get(..512), bytes.get(512..1024), bytes.get(1024..3072))
    else {
        return;
    };
    let long = |at: usize| u64::from(u32::from_le_bytes(boot[at..at + 4].try_into().unwrap_or_default()));
    let reserved = (long(14) & 0xffff) * 512;
    let length = long(36) * 512;
    let pieces = [
        (0, boot),
        (512, info),
        (fat32::COPY * 512, boot),
        (reserved, table),
        (reserved.saturating_add(length), table),
        (reserved.saturating_add(length.saturating_mul(2)), bytes.get(3072..).unwrap_or_default()),
    ];
    let pieces = pieces.map(|(at, bytes)| (at, bytes.to_vec())).into();
    let disk = Sparse { pieces, size: ESP_SIZE };
    let _ = fat32::compare_copies(&disk, ESP_SIZE);
    if let Ok(volume) = Volume::read(&disk, ESP_SIZE) {
        assert!(volume.used() <= ESP_SIZE, "no more is used than there is");
        for found in volume.entries().values() {
            if let Ok(content) = volume.content(found) {
                assert_eq!(u64::try_from(content.len()).ok(), Some(found.size), "as long as its entry says");
            }
        }
    }
}

/// The size of the file system for [`ext4()`] in bytes.
pub const EXT4_SIZE: u64 = 256 << 10;

/// A file system made of blocks of 1 KiB, each after its number.
pub fn ext4(bytes: &[u8]) {
    let pieces = bytes.chunks(1025).filter_map(|piece| {
        let (number, block) = piece.split_first()?;
        Some((u64::from(*number) * 1024, block.to_vec()))
    });
    let disk = Sparse { pieces: pieces.collect(), size: EXT4_SIZE };
    if let Ok(volume) = ext4::open_at(disk, EXT4_SIZE) {
        browse::fuzz_ext4(&volume);
    }
}

/// Reads the bytes as a packed initramfs, and as the archive in a frame.
pub fn initramfs(bytes: &[u8]) {
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    // No size, a window of 1 MiB, and one uncompressed block, which is the last.
    frame.extend_from_slice(&[0, 0x50]);
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    frame.extend_from_slice(&(1 | length << 3).to_le_bytes()[..3]);
    frame.extend_from_slice(bytes);
    for packed in [bytes, frame.as_slice()] {
        if let Ok(files) = initramfs_reader::files(packed, |_| Wanted::Content(&limits::SHOWN_FILE)) {
            for file in files {
                assert_eq!(
                    u64::try_from(file.content.len()).ok(),
                    Some(file.size),
                    "as long as its header says"
                );
            }
        }
    }
}

/// Reads the bytes as one of our tars, and as one from elsewhere.
pub fn layer(bytes: &[u8]) {
    let file = || -> io::Result<File> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        io::Seek::rewind(&mut file)?;
        Ok(file)
    };
    let name = Path::new("layer");
    let (Ok(own), Ok(other)) = (file(), file()) else { return };
    let _ = LayeredTree::new().add_tar_file(own, name, &|_| true);
    let _ = LayeredTree::new().add_image_layer(other, name, &|_| true);
}

/// Reads the bytes as the superblock of a squashfs, and as the output of `unsquashfs`.
pub fn squashfs(bytes: &[u8]) {
    if let Some(start) = bytes.first_chunk()
        && superblock::check(start, 1 << 20).is_ok()
    {
        assert_eq!(start.first_chunk(), Some(b"hsqs"), "a squashfs begins so");
    }
    diff::fuzz_root(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        text.lines().for_each(browse::fuzz_squashfs_line);
    }
}

/// Reads the bytes as a UKI, and as a stub.
pub fn uki(bytes: &[u8]) {
    let all = [Section::OsRelease, Section::CommandLine, Section::Uname, Section::Initrd, Section::Linux];
    if let Ok(uki) = Uki::parse(bytes) {
        for section in all {
            if let Ok(content) = uki.section(section) {
                assert!(content.len() <= bytes.len(), "a section is a part of the file");
            }
            let _ = uki.text(section);
        }
    }
    let parts = uki::Parts {
        stub: bytes,
        os_release: "ID=x\n",
        command_line: "quiet",
        uname: "6",
        initrd: b"initrd",
        linux: b"linux",
    };
    if let Ok(built) = uki::build(&parts) {
        assert!(built.len() > bytes.len(), "something was added");
    }
}

/// Reads the bytes as a QEMU disk without a backing file.
pub fn qcow2(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    if let Ok(storage) = Storage::open(file.path())
        && let Ok(size) = storage.size()
    {
        assert!(size <= limits::QCOW2_SIZE.most || storage_is_raw(bytes), "{size} is over the limit");
        let mut piece = vec![0; 4096];
        for at in [0, size / 2, size.saturating_sub(4096)] {
            let _ = storage.read_at(&mut piece, at);
            let _ = storage.is_all_shared(&(at..size));
        }
    }
}

fn storage_is_raw(bytes: &[u8]) -> bool {
    !bytes.starts_with(b"QFI\xfb")
}

/// Reads the bytes as the manifest, index or configuration of an image.
pub fn manifest(bytes: &[u8]) {
    base::fuzz_manifest(bytes);
}

/// Reads the text as a lock file, apt's output, a receipt, a list of packages, and an index of kernel modules.
pub fn text(bytes: &[u8]) {
    if let Ok(receipt) = serde_json::from_slice::<Receipt>(bytes) {
        let _ = receipt.changed(&crate::image::digests::Digests::default());
    }
    diff::fuzz_packages(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        base::fuzz_text(text);
    }
}

/// Reads the bytes as a boot log, and draws the chart of its report.
pub fn report(bytes: &[u8]) {
    if let Ok(report) = report_file::find(&crate::run::text::plain(bytes), Path::new("log")) {
        let picture = boot_chart::draw(&Timeline::of(&report));
        assert!(picture.ends_with("</svg>\n"), "a whole picture");
    }
}
