//! Writing an image: sparse, under a temporary name until it is complete, with the partition table last.

use super::ids::ImageIds;
use super::plan::Plan;
use super::storage::LayerWriter;
use super::table_reader::Table;
use super::zeros::is_zero;
use crate::atomic::{AtomicError, AtomicFile};
use crate::error::{Class, Classified};
use crate::site::Bytes;
use crate::width::{to_u64, to_usize};
use handoff::partition::Role;
use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A stretch of this many zero bytes becomes a hole.
const HOLE: usize = 4096;
const CHUNK: usize = 1 << 20;

/// The source of bytes.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// All of a file.
    File(&'a Path),
}

/// Bytes to write to a partition.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The role of the partition.
    pub role: Role,
    /// The offset in the partition.
    pub offset: Bytes,
    /// The source of the bytes.
    pub source: Source<'a>,
}

/// Why an image could not be written.
#[derive(Debug, Error, classified::Cause)]
pub enum WriteError {
    /// The output file could not be written.
    #[error(transparent)]
    Output(#[from] AtomicError),
    /// A file that goes into the image could not be read.
    #[error("cannot read {path} for the partition {role}: {source}; build it again")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The partition that it goes into.
        role: Role,
        /// The error from reading it.
        r#source: io::Error,
    },
    /// A file is larger than when the plan was made.
    #[error(
        "the partition {role} of {size} has no room for {end} bytes: a file grew while the image was made; build again"
    )]
    Outgrown {
        /// The role of the partition.
        role: Role,
        /// The offset in the partition at which the piece ends, in bytes.
        end: u64,
        /// The planned size of the partition.
        size: Bytes,
    },
}

impl Classified for WriteError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Outgrown { .. } => Class::BadContent,
            Self::Output(_) => return None,
        })
    }
}

/// Writes the image. It has the node's key, so only its owner may read the file.
pub fn write(plan: &Plan, ids: &ImageIds<'_>, pieces: &[Piece<'_>], output: &Path) -> Result<(), WriteError> {
    let mut image = AtomicFile::create_private(output)?;
    image.set_len(plan.disk_size.0)?;
    write_pieces(plan, pieces, |_| true, Sink::File(&image))?;
    // With the table last, an interrupted copy of this file to a stick is not a disk, rather than half of one.
    let ends = image.check(ends(plan, ids))?;
    for (offset, bytes) in ends {
        image.write_at(offset, &bytes)?;
    }
    image.commit()?;
    Ok(())
}

/// Whether this partition of a new image is the same for all nodes with one system.
#[must_use]
pub fn is_shared(role: Role) -> bool {
    matches!(role, Role::Control | Role::Boot(_) | Role::Root(_) | Role::Verity(_))
}

/// Writes the partitions that the images of all nodes with one system share, at their places. Without a partition table
/// the file is not a disk, and it has no secrets.
pub fn write_shared(plan: &Plan, pieces: &[Piece<'_>], output: &Path) -> Result<(), WriteError> {
    let mut image = AtomicFile::create(output)?;
    image.set_len(plan.disk_size.0)?;
    write_pieces(plan, pieces, is_shared, Sink::File(&image))?;
    image.commit()?;
    Ok(())
}

/// Writes a node's own partitions as a QEMU disk over the file `shared` in the same folder.
pub fn write_layer(
    plan: &Plan,
    ids: &ImageIds<'_>,
    pieces: &[Piece<'_>],
    shared: &str,
    output: &Path,
) -> Result<(), WriteError> {
    let image = AtomicFile::create_private(output)?;
    let layer = image.check(LayerWriter::create(image.file(), plan.disk_size.0, shared))?;
    write_pieces(plan, pieces, |role| !is_shared(role), Sink::Layer(&image, &layer))?;
    for (offset, bytes) in image.check(ends(plan, ids))? {
        image.check(layer.write_at(offset, &bytes))?;
    }
    image.check(layer.finish())?;
    image.commit()?;
    Ok(())
}

fn ends(plan: &Plan, ids: &ImageIds<'_>) -> io::Result<[(u64, Vec<u8>); 2]> {
    Table::planned(plan, ids)?.ends(plan.disk_size)
}

fn write_pieces(
    plan: &Plan,
    pieces: &[Piece<'_>],
    wanted: impl Fn(Role) -> bool,
    image: Sink<'_>,
) -> Result<(), WriteError> {
    for piece in pieces.iter().filter(|piece| wanted(piece.role)) {
        let partition = plan.partition(piece.role);
        let (start, size) = partition.map_or((Bytes(0), Bytes(0)), |found| (found.offset, found.size));
        let mut target = Target { image, role: piece.role, start, size, position: piece.offset.0 };
        match piece.source {
            Source::Bytes(bytes) => target.put(bytes)?,
            Source::File(path) => target.copy(path)?,
        }
    }
    Ok(())
}

/// Where the bytes are written.
#[derive(Clone, Copy)]
enum Sink<'a> {
    /// The image file itself.
    File(&'a AtomicFile),
    /// A QEMU disk in that file.
    Layer(&'a AtomicFile, &'a LayerWriter),
}

impl Sink<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), AtomicError> {
        match self {
            Self::File(image) => image.write_at(offset, bytes),
            Self::Layer(image, layer) => image.check(layer.write_at(offset, bytes)),
        }
    }
}

struct Target<'a> {
    image: Sink<'a>,
    role: Role,
    start: Bytes,
    size: Bytes,
    position: u64,
}

impl Target<'_> {
    /// Copies a file's data and skips its holes. The kernel copies if it can, and shares the blocks if the file system
    /// can.
    fn copy(&mut self, path: &Path) -> Result<(), WriteError> {
        let role = self.role;
        let unreadable = |source| WriteError::Read { path: path.to_owned(), role, source };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        self.fits(length)?;
        let begin = self.position;
        let mut at = 0;
        while at < length {
            let Some(data) = data_from(&file, at, length).map_err(unreadable)? else { break };
            self.position = begin + data.start;
            at = data.end;
            self.copy_data(&file, data, &unreadable)?;
        }
        self.position = begin + length;
        Ok(())
    }

    fn copy_data(
        &mut self,
        file: &File,
        mut data: Range<u64>,
        unreadable: &dyn Fn(io::Error) -> WriteError,
    ) -> Result<(), WriteError> {
        while !data.is_empty() {
            let copied = self.copy_in_the_kernel(file, &data);
            if copied == 0 {
                break;
            }
            data.start += copied;
            self.position += copied;
        }
        let mut buffer = Vec::new();
        while !data.is_empty() {
            let wanted = to_usize(data.end - data.start).min(CHUNK);
            buffer.resize(wanted, 0);
            file.read_exact_at(&mut buffer, data.start).map_err(unreadable)?;
            self.put(&buffer)?;
            data.start += to_u64(wanted);
        }
        Ok(())
    }

    /// Returns how many bytes the kernel copied: none if it cannot, for example from another file system. If there is
    /// an error, it appears again when the bytes are read and written.
    fn copy_in_the_kernel(&self, file: &File, data: &Range<u64>) -> u64 {
        let (Sink::File(image), Ok(mut from), Ok(mut to)) =
            (self.image, i64::try_from(data.start), i64::try_from(self.start.0 + self.position))
        else {
            return 0;
        };
        let length = to_usize(data.end - data.start);
        let copied = copy_file_range(file, Some(&mut from), image.file(), Some(&mut to), length);
        copied.ok().and_then(|copied| u64::try_from(copied).ok()).unwrap_or(0)
    }

    /// Writes bytes in as few pieces as their holes allow.
    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let end = self.fits(to_u64(bytes.len()))?;
        let first = self.start.0 + self.position;
        let mut offset = first;
        let blocks: Vec<&[u8]> = bytes.chunks(HOLE).collect();
        for run in blocks.chunk_by(|one, next| is_zero(one) == is_zero(next)) {
            let length: usize = run.iter().map(|block| block.len()).sum();
            let begin = to_usize(offset - first);
            let piece = bytes.get(begin..begin.saturating_add(length)).unwrap_or_default();
            if !is_zero(piece) {
                self.image.write_at(offset, piece)?;
            }
            offset += to_u64(length);
        }
        self.position = end;
        Ok(())
    }

    /// The end in the partition of `length` more bytes, if they fit.
    fn fits(&self, length: u64) -> Result<u64, WriteError> {
        let end = self.position.saturating_add(length);
        if end > self.size.0 {
            return Err(WriteError::Outgrown { role: self.role, end, size: self.size });
        }
        Ok(end)
    }
}

/// The next range of data in a file (lseek(2), `SEEK_DATA`); `None` if only a hole is left.
fn data_from(file: &File, at: u64, length: u64) -> io::Result<Option<Range<u64>>> {
    let seek = |at: u64, whence| -> nix::Result<u64> {
        let at = i64::try_from(at).map_err(|_| Errno::EOVERFLOW)?;
        u64::try_from(lseek(file, at, whence)?).map_err(|_| Errno::EOVERFLOW)
    };
    match seek(at, Whence::SeekData) {
        Ok(start) => Ok(Some(start..seek(start, Whence::SeekHole)?.min(length))),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    /// Writes to a partition at 1 MiB of a file, from 4 KiB on.
    fn written(write: impl FnOnce(&mut Target<'_>)) -> (Vec<u8>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let mut image = AtomicFile::create_private(&path).unwrap();
        image.set_len(8 << 20).unwrap();
        let (start, size, position) = (Bytes::mib(1), Bytes::mib(4), 4096);
        write(&mut Target { image: Sink::File(&image), role: Role::Secret, start, size, position });
        image.commit().unwrap();
        (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().blocks() * 512)
    }

    /// Data, a hole, data, and a hole at the end.
    fn content() -> Vec<u8> {
        let mut bytes = vec![0; 3 << 20];
        bytes[..5000].fill(1);
        bytes[(1 << 20) + 8192..(1 << 20) + 12_000].fill(2);
        bytes
    }

    fn is_as_it_should_be((image, used): (Vec<u8>, u64)) {
        let begin = (1 << 20) + 4096;
        let content = content();
        assert!(image[begin..begin + content.len()] == content);
        assert!(image[..begin].iter().chain(&image[begin + content.len()..]).all(|&byte| byte == 0));
        assert!(used < 64 << 10, "{used} bytes are used");
    }

    #[test]
    fn holes_stay_holes_from_memory_and_from_a_file() {
        is_as_it_should_be(written(|target| target.put(&content()).unwrap()));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(3 << 20).unwrap();
        file.write_all(&[1; 5000]).unwrap();
        file.seek(SeekFrom::Start((1 << 20) + 8192)).unwrap();
        file.write_all(&[2; 12_000 - 8192]).unwrap();
        is_as_it_should_be(written(|target| target.copy(file.path()).unwrap()));
    }

    #[test]
    fn a_file_of_another_file_system_is_copied_too() {
        // The kernel has a file system in memory of its own, whatever is mounted.
        let memory = File::from(memfd_create("content", MemfdFlags::CLOEXEC).unwrap());
        let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
        std::fs::write(&path, content()).unwrap();
        is_as_it_should_be(written(|target| {
            assert_eq!(target.copy_in_the_kernel(&memory, &(0..5000)), 0, "this needs another way");
            target.copy(&path).unwrap();
        }));
    }

    #[test]
    fn content_that_does_not_fit_is_refused_before_a_byte_is_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 20).unwrap();
        let (image, _) = written(|target| {
            let error = target.copy(file.path()).unwrap_err();
            assert!(matches!(error, WriteError::Outgrown { end, .. } if end == (4 << 20) + 4096), "{error}");
        });
        assert!(image.iter().all(|&byte| byte == 0));
    }
}
