//! Writing an image: sparse, under a temporary name until it is whole, the partition table last.

use super::ids::ImageIds;
use super::plan::Plan;
use super::table;
use crate::atomic::{AtomicError, AtomicFile};
use crate::error::{Class, Classified};
use crate::site::Bytes;
use handoff::partition::Role;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is all zero in a stretch of this length becomes a hole.
const HOLE: usize = 4096;
const CHUNK: usize = 1 << 20;

/// Where bytes come from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Memory.
    Bytes(&'a [u8]),
    /// A file, whole.
    File(&'a Path),
}

/// Bytes for a partition.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Which one.
    pub role: Role,
    /// Where in it.
    pub offset: Bytes,
    /// What.
    pub source: Source<'a>,
}

/// Why an image could not be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The output.
    #[error(transparent)]
    Output(#[from] AtomicError),
    /// A file that goes into the image.
    #[error("cannot read {path} for the partition {role}: {source}; build it again")]
    Read {
        /// The file.
        path: PathBuf,
        /// Where it should go.
        role: Role,
        /// Why.
        source: io::Error,
    },
    /// The plan was made for smaller contents.
    #[error("{role}: {end} bytes do not fit into {size}; a file grew while the image was made: build again")]
    Outgrown {
        /// The partition.
        role: Role,
        /// Where the piece ends in it.
        end: u64,
        /// What the plan has for it.
        size: Bytes,
    },
}

impl Classified for WriteError {
    fn class(&self) -> Class {
        match self {
            Self::Output(error) => error.class(),
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Outgrown { .. } => Class::BadContent,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Output(error) => error.advice(),
            _ => None,
        }
    }
}

/// Writes the image. It holds the node's key, so only its owner may read it.
pub fn write(plan: &Plan, ids: &ImageIds<'_>, pieces: &[Piece<'_>], output: &Path) -> Result<(), WriteError> {
    let mut image = AtomicFile::create_private(output)?;
    image.set_len(plan.disk_size.0)?;
    for piece in pieces {
        let partition = plan.partition(piece.role);
        let (start, size) = partition.map_or((Bytes(0), Bytes(0)), |found| (found.offset, found.size));
        let mut target =
            Target { image: &mut image, role: piece.role, start, size, position: piece.offset.0 };
        match piece.source {
            Source::Bytes(bytes) => target.put(bytes)?,
            Source::File(path) => target.copy(path)?,
        }
    }
    // With the table last, an interrupted copy of this file to a stick is no disk at all rather than half a one.
    let result = table::write(&mut image, plan, ids);
    image.check(result)?;
    image.commit()?;
    Ok(())
}

struct Target<'a> {
    image: &'a mut AtomicFile,
    role: Role,
    start: Bytes,
    size: Bytes,
    position: u64,
}

impl Target<'_> {
    fn copy(&mut self, path: &Path) -> Result<(), WriteError> {
        let role = self.role;
        let unreadable = |source| WriteError::Read { path: path.to_owned(), role, source };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let filled = fill(&mut file, &mut buffer).map_err(unreadable)?;
            if filled == 0 {
                return Ok(());
            }
            self.put(buffer.get(..filled).unwrap_or_default())?;
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let end = self.position.saturating_add(length);
        if end > self.size.0 {
            return Err(WriteError::Outgrown { role: self.role, end, size: self.size });
        }
        let mut offset = self.start.0 + self.position;
        for block in bytes.chunks(HOLE) {
            if block.iter().any(|&byte| byte != 0) {
                self.image.write_at(offset, block)?;
            }
            offset += u64::try_from(block.len()).unwrap_or(0);
        }
        self.position = end;
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
