//! Where an output goes: its folder, which may be written to, and its name there.

use super::error::AtomicError;
use crate::beneath::{self, PathProblem};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The folder and name of an output, which is a plain file of this user or does not exist yet.
pub(super) fn place_of(path: &Path, me: u32) -> Result<(OwnedFd, OsString), AtomicError> {
    let create = |source| AtomicError::Create { path: path.to_owned(), source };
    let (folder, name) = beneath::parent(path, me).map_err(|source| {
        match source.get_ref().and_then(|inner| inner.downcast_ref::<PathProblem>()) {
            Some(problem @ PathProblem::ForeignLink { .. }) => {
                AtomicError::ForeignLink { path: path.to_owned(), problem: problem.clone() }
            }
            _ => create(source),
        }
    })?;
    match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(error) => return Err(create(error.into())),
        Ok(facts) if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile => {
            return Err(AtomicError::NotAPlainFile { path: path.to_owned() });
        }
        Ok(facts) => {
            let folder = rustix::fs::fstat(&folder).map_err(|error| create(error.into()))?;
            if !may_replace(&folder, &facts, me) {
                return Err(AtomicError::ForeignFile { path: path.to_owned(), owner: facts.st_uid });
            }
        }
    }
    Ok((folder, name))
}

/// The kernel's rule `protected_regular` (`proc_sys_fs(5)`), applied to replacing as well.
fn may_replace(folder: &Stat, file: &Stat, me: u32) -> bool {
    !beneath::is_shared(folder) || file.st_uid == me || file.st_uid == folder.st_uid
}
