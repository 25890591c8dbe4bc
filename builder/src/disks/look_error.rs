//! Why the content of a disk is not known. Nothing was written to it.

use super::presence::GONE;
use crate::error::{Class, Classified};
use crate::image::reader::ReadError;
use crate::staging::StagingError;
use crate::tools::ToolError;
use nix::errno::Errno;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// The exit code for a medium that cannot be read.
pub const BAD_STICK: u8 = 92;

/// Why the content of a disk could not be read.
#[derive(Debug, Error, classified::Cause)]
pub enum LookError {
    /// The disk was pulled out, or failed.
    #[error("{path} is gone: it was unplugged, or it or its port failed")]
    Gone {
        /// The path of the disk.
        path: PathBuf,
    },
    /// A read from the disk failed.
    #[error("cannot read the content of {path} at byte {offset}: {source}")]
    Read {
        /// The path of the disk.
        path: PathBuf,
        /// The offset of the read in bytes.
        offset: u64,
        /// The error from the read.
        r#source: io::Error,
    },
    /// A partition that tells whose stick it is could not be read.
    #[error("cannot read the content of {path}: {source}")]
    Partition {
        /// The path of the disk.
        path: PathBuf,
        /// The error, with the name of the partition.
        r#source: ReadError,
    },
    /// The file for blkid could not be made.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// blkid is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl LookError {
    /// The I/O error of the disk, if there was one.
    pub(super) fn of_disk(&self) -> Option<&io::Error> {
        match self {
            Self::Read { source, .. }
            | Self::Partition { source: ReadError::Partition { source, .. }, .. } => Some(source),
            _ => None,
        }
    }

    fn is_of_a_bad_stick(&self) -> bool {
        self.of_disk().is_some_and(|source| source.raw_os_error() == Some(Errno::EIO as i32))
    }
}

impl Classified for LookError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::Gone { .. } => Class::Io,
            Self::Read { source, .. } => Class::of_reading(source),
            Self::Partition { .. } | Self::Staging(_) | Self::Tool(_) => return None,
        })
    }

    fn own_exit_code(&self) -> Option<u8> {
        match self {
            Self::Gone { .. } => Some(GONE),
            error => error.is_of_a_bad_stick().then_some(BAD_STICK),
        }
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::Gone { .. } => Some("plug it in again and repeat the command".to_owned()),
            error => error.is_of_a_bad_stick().then(|| "the stick is bad: use another one".to_owned()),
        }
    }
}
