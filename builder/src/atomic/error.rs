//! Why an output could not be written, and what the user can do.

use super::folder::folder_of;
use crate::beneath::PathProblem;
use crate::error::{Class, Classified};
use std::io;
use std::path::PathBuf;

/// Why an output could not be written.
#[derive(Debug, thiserror::Error, classified::Cause)]
pub enum AtomicError {
    /// The path exists and is not a plain file, and a rename would destroy it.
    #[error("{path} exists and is not a plain file: choose another output")]
    NotAPlainFile {
        /// The path of the output.
        path: PathBuf,
    },
    /// The path goes through another user's link.
    #[error("the path {path} goes through a symbolic link of another user: {problem}")]
    ForeignLink {
        /// The path of the output.
        path: PathBuf,
        /// The path of the link, and its owner.
        problem: PathProblem,
    },
    /// The path is a file of another user in a folder where every user may write.
    #[error("{path} is a file of user {owner} in a folder where every user may write")]
    ForeignFile {
        /// The path of the output.
        path: PathBuf,
        /// The id of the file's owner.
        owner: u32,
    },
    /// The temporary file could not be created.
    #[error("cannot create {path}: {source}")]
    Create {
        /// The path of the output.
        path: PathBuf,
        /// The error from creating it.
        r#source: io::Error,
    },
    /// Writing the file failed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The path of the output.
        path: PathBuf,
        /// The error from writing it.
        r#source: io::Error,
    },
    /// The file was written, but could not be given its name.
    #[error("cannot move the finished file to {path}: {source}")]
    Finish {
        /// The path of the output.
        path: PathBuf,
        /// The error from the sync or the rename.
        r#source: io::Error,
    },
}

impl AtomicError {
    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::NotAPlainFile { .. } | Self::ForeignLink { .. } | Self::ForeignFile { .. } => None,
            Self::Create { source, .. } | Self::Write { source, .. } | Self::Finish { source, .. } => {
                Some(source)
            }
        }
    }
}

impl From<AtomicError> for io::Error {
    fn from(error: AtomicError) -> Self {
        match error {
            AtomicError::NotAPlainFile { .. } => io::ErrorKind::AlreadyExists.into(),
            AtomicError::ForeignLink { problem, .. } => problem.into(),
            AtomicError::ForeignFile { .. } => io::ErrorKind::PermissionDenied.into(),
            AtomicError::Create { source, .. }
            | AtomicError::Write { source, .. }
            | AtomicError::Finish { source, .. } => source,
        }
    }
}

impl Classified for AtomicError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::ForeignLink { .. } | Self::ForeignFile { .. } => Class::Refused,
            _ => self.io().map_or(Class::CannotCreate, Class::of_writing),
        })
    }

    fn own_advice(&self) -> Option<String> {
        if matches!(self, Self::ForeignLink { .. } | Self::ForeignFile { .. }) {
            return Some("write to a folder of yours".into());
        }
        let (Self::NotAPlainFile { path }
        | Self::ForeignLink { path, .. }
        | Self::ForeignFile { path, .. }
        | Self::Create { path, .. }
        | Self::Write { path, .. }
        | Self::Finish { path, .. }) = self;
        let folder = folder_of(path);
        match self.io()?.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                "no space left in {}: free some, or write to another folder; the unfinished file was removed",
                folder.display()
            )),
            io::ErrorKind::NotFound => Some(format!("create the folder {} first", folder.display())),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(format!("write to a folder of yours instead of {}", folder.display()))
            }
            _ => None,
        }
    }
}
