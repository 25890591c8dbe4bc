//! Why the notes about a site's nodes could not be read or written.

use crate::atomic::AtomicError;
use crate::error::{Class, Classified};
use crate::secrets::private_file::PrivateFileError;
use std::io;
use std::path::PathBuf;

/// Why the notes could not be read or written.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum NotesError {
    /// The file could not be read, or other users can read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The file is not valid.
    #[error("{path}: {problem}")]
    BadFile {
        /// The path of the file.
        path: PathBuf,
        /// What is not valid in it.
        problem: String,
    },
    /// The folder could not be locked.
    #[error("cannot lock the folder {path}: {source}")]
    Lock {
        /// The path of the folder.
        path: PathBuf,
        /// The error from locking it.
        r#source: io::Error,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] AtomicError),
}

impl Classified for NotesError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::BadFile { .. } => Class::BadContent,
            Self::Lock { source, .. } => Class::of_writing(source),
            Self::File(_) | Self::Write(_) => return None,
        })
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::BadFile { path, .. } => Some(format!(
                "restore it from a backup, or move {} away; the generations are then taken from the seals in the site",
                path.display()
            )),
            _ => None,
        }
    }
}
