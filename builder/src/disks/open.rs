//! Opens a disk for writing: exclusively, and only if it is still the disk that was checked.

use super::Disk;
use super::exclusive::{number_of, open_exclusive};
use super::presence::{GONE, says_gone};
use super::privileged::{self, SudoError};
use super::refusal::Refusal;
use crate::error::{Class, Classified};
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::PathBuf;
use thiserror::Error;

/// Why a disk cannot be opened. Nothing was written to it.
#[derive(Debug, Error, classified::Cause)]
pub enum OpenError {
    /// The disk is refused, or another process uses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The user may not open it, and sudo is not installed.
    #[error("no permission to write to {path}")]
    NotAllowed {
        /// The path of the disk.
        path: PathBuf,
    },
    /// The helper that runs with sudo did not open it.
    #[error("cannot open {path} with sudo: {source}")]
    Sudo {
        /// The path of the disk.
        path: PathBuf,
        /// The error from sudo or the helper.
        r#source: SudoError,
    },
    /// The kernel did not open it.
    #[error("cannot open {path} for writing: {source}")]
    Open {
        /// The path of the disk.
        path: PathBuf,
        /// The error from opening it.
        r#source: io::Error,
    },
    /// Another disk has its device number now, or its size changed.
    #[error("{path} is no longer the disk that was checked: {difference}")]
    Changed {
        /// The path of the disk.
        path: PathBuf,
        /// What differs from the disk that was checked.
        difference: &'static str,
    },
}

impl Classified for OpenError {
    fn own_class(&self) -> Option<Class> {
        Some(match self {
            Self::NotAllowed { .. } | Self::Sudo { .. } => Class::CannotCreate,
            Self::Open { source, .. } => Class::of_writing(source),
            Self::Changed { .. } => Class::Io,
            Self::Refused(_) => return None,
        })
    }

    fn own_exit_code(&self) -> Option<u8> {
        match self {
            Self::Changed { .. } => Some(GONE),
            Self::Open { source, .. } if says_gone(source) => Some(GONE),
            _ => None,
        }
    }

    fn own_advice(&self) -> Option<String> {
        match self {
            Self::NotAllowed { .. } => {
                Some("run this as root, or install sudo, which is used only to open the disk".to_owned())
            }
            Self::Sudo { .. } => Some("read the message of sudo above, or run this as root".to_owned()),
            Self::Changed { .. } => Some("check with psyops disks, and leave it plugged in".to_owned()),
            _ => None,
        }
    }
}

/// Opens the disk that was checked for reading and writing, exclusively, and for direct I/O if `direct`. If the user
/// may not, a helper that runs with sudo opens it and passes the descriptor back.
pub fn open(disk: &Disk, direct: bool) -> Result<File, OpenError> {
    let path = || disk.path.clone();
    let file = match open_exclusive(&disk.path, disk.number, direct) {
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied && !nix::unistd::geteuid().is_root() =>
        {
            ask_sudo(disk, direct)?
        }
        other => other.map_err(|source| refused(path(), source))?,
    };
    let failed = |source| OpenError::Open { path: path(), source };
    match difference(disk, &file).map_err(failed)? {
        Some(difference) => Err(OpenError::Changed { path: path(), difference }),
        None => Ok(file),
    }
}

fn ask_sudo(disk: &Disk, direct: bool) -> Result<File, OpenError> {
    let path = || disk.path.clone();
    match privileged::request(disk, direct) {
        Ok(file) => Ok(file),
        Err(SudoError::Missing) => Err(OpenError::NotAllowed { path: path() }),
        Err(SudoError::Open(source)) => Err(refused(path(), source)),
        Err(source) => Err(OpenError::Sudo { path: path(), source }),
    }
}

fn refused(path: PathBuf, source: io::Error) -> OpenError {
    if source.raw_os_error() == Some(Errno::EBUSY as i32) {
        return Refusal::Busy { path }.into();
    }
    OpenError::Open { path, source }
}

/// How the open file differs from the disk that was checked.
fn difference(disk: &Disk, mut file: &File) -> io::Result<Option<&'static str>> {
    if number_of(file)? != Some(disk.number) {
        return Ok(Some("its device number changed"));
    }
    if file.seek(SeekFrom::End(0))? != disk.size {
        return Ok(Some("its size changed"));
    }
    file.seek(SeekFrom::Start(0))?;
    // Device numbers are reused. The file is open, so this number cannot get another disk after the check.
    let sequence = disk.sequence_now();
    Ok((sequence.ok() != Some(disk.sequence)).then_some("it was unplugged or exchanged"))
}
