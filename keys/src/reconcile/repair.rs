//! Writing files that differ, so that a power cut at any step leaves the old state or the new one, never a part.
//!
//! The order: temporary file in the same folder, owner and mode, content, fsync, rename, fsync of the folder, read back
//! and compare. Without the fsync of the folder, an old file was seen to come back after a reset. Each step calls a
//! gate first, by which the tests simulate the power cut.

use super::access::{Demand, unlock};
use super::compare::{self, Comparison, examine};
use super::difference::{Difference, FileType, Subject, What};
use super::folder;
use crate::seal::OpenedSeal;
use crate::seal::payload::TEMPORARY;
use handoff::manifest::{Entry, RelativePath, Store};
use handoff::paths::AGE_KEY;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, unlinkat, write};
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How deep a tree may be that is removed: a deeper one was made on purpose.
const DEEPEST: usize = 32;
/// The most bytes written at once.
const CHUNK: usize = 64 * 1024;

/// A step of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening a folder.
    Open,
    /// Setting mode, owner and attributes of a file or folder that stays.
    Restrict,
    /// Removing a file that is in the way, left over or unknown.
    Remove,
    /// Making a folder.
    MakeFolder,
    /// Creating the temporary file.
    Create,
    /// Setting the owner of the temporary file.
    Owner,
    /// Setting the mode of the temporary file.
    Mode,
    /// Writing the content of the temporary file.
    Write,
    /// Flushing the temporary file to the medium.
    SyncFile,
    /// Renaming the temporary file to its final name.
    Rename,
    /// Flushing the folder to the medium.
    SyncFolder,
    /// Reading the file back.
    ReadBack,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening its folder",
            Self::Restrict => "setting its mode, owner and attributes",
            Self::Remove => "removing what is there",
            Self::MakeFolder => "making its folder",
            Self::Create => "creating a temporary file",
            Self::Owner => "setting its owner",
            Self::Mode => "setting its mode",
            Self::Write => "writing its content",
            Self::SyncFile => "flushing it",
            Self::Rename => "renaming it into place",
            Self::SyncFolder => "flushing its folder",
            Self::ReadBack => "reading it back",
        })
    }
}

/// What a repair did with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The file was written again.
    Rewritten,
    /// Mode, owner and attributes of the key or a folder were set, and further names of the key removed.
    Restricted,
    /// A half-written file of an interrupted repair was removed.
    LeftoverRemoved,
    /// A file that is not in the seal was removed.
    UnknownRemoved,
}

/// A file or folder that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The path, relative to the store.
    pub path: PathBuf,
    /// What the repair did with it.
    pub action: Action,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The kernel returned this error.
    Errno(Errno),
    /// The file that was read back is not the one that was written.
    Differs(Vec<What>),
    /// The node's key is not a file whose access could be corrected.
    NoKey(What),
    /// The seal does not have this entry: seal and comparison do not belong together.
    NotInSeal,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => f.write_str(errno.desc()),
            Self::Differs(_) => f.write_str("reading it back returned something else than was written"),
            Self::NoKey(what) => write!(f, "it is the node's key, which a node never writes: {what}"),
            Self::NotInSeal => f.write_str("it is not in the seal"),
        }
    }
}

/// A file or folder that could not be repaired.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {step}: {problem}", path.display())]
pub struct Failure {
    /// The path, relative to the store.
    pub path: PathBuf,
    /// The step that failed.
    pub step: Step,
    /// The reason for the failure.
    pub problem: Problem,
}

/// Some files could not be repaired; the others were.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} files on the secret partition could not be repaired; the first: {}", failures.len(),
    failures.first().map(ToString::to_string).unwrap_or_default())]
pub struct RepairError {
    /// What was repaired.
    pub repaired: Vec<Repaired>,
    /// What could not be repaired, and why.
    pub failures: Vec<Failure>,
}

/// Repairs in the store in the folder `path` what `comparison` found, with the contents of `seal`.
///
/// Unknown files are removed only if the seal says so. The store must be mounted writable.
pub fn repair(path: &Path, seal: &OpenedSeal, comparison: &Comparison) -> Result<Vec<Repaired>, RepairError> {
    repair_through(path, seal, comparison, &mut |_| Ok(()))
}

/// Called before each step; an error means that the step failed.
pub(super) type Gate<'g> = &'g mut dyn FnMut(Step) -> Result<(), Errno>;
/// A step that failed, and why.
type Failed = (Step, Problem);

pub(super) fn repair_through(
    path: &Path,
    seal: &OpenedSeal,
    comparison: &Comparison,
    gate: Gate<'_>,
) -> Result<Vec<Repaired>, RepairError> {
    let mut outcome = RepairError { repaired: Vec::new(), failures: Vec::new() };
    let store = match folder::store(path) {
        Ok(store) => store,
        Err(errno) => {
            let failed = (Step::Open, Problem::Errno(errno));
            outcome.note(path, Action::Rewritten, Err(failed));
            return Err(outcome);
        }
    };
    let mut tools = Tools { store, gate };
    // Folders go first: in an immutable one, nothing else can be done.
    for difference in &comparison.differing {
        if let Subject::Folder(folder) = &difference.subject {
            let done = tools.restrict_folder(folder);
            outcome.note(difference.subject.path(), Action::Restricted, done);
        }
    }
    // Then leftovers: they may take the space that the repairs need.
    for leftover in &comparison.leftovers {
        outcome.note(leftover, Action::LeftoverRemoved, tools.remove(leftover));
    }
    for file in comparison.differing.iter().filter_map(|difference| difference.subject.file()) {
        outcome.note(Path::new(file.as_str()), Action::Rewritten, tools.rewrite(seal, file));
    }
    // After the files: one of them may have been a further name of the key.
    if comparison.differing.iter().any(|difference| difference.subject == Subject::Key) {
        outcome.note(Subject::Key.path(), Action::Restricted, tools.restrict_key());
    }
    if seal.manifest().remove_unknown {
        for unknown in &comparison.unknown {
            outcome.note(unknown, Action::UnknownRemoved, tools.remove(unknown));
        }
        // Files of the seal go first, but if the medium was full, unknown files may have taken their space.
        for path in outcome.take_without_room(&comparison.differing) {
            let done = tools.rewrite(seal, path);
            outcome.note(Path::new(path.as_str()), Action::Rewritten, done);
        }
    }
    if outcome.failures.is_empty() { Ok(outcome.repaired) } else { Err(outcome) }
}

impl RepairError {
    /// The part of `differing` that failed because the medium was full; those failures are removed from the list.
    fn take_without_room<'d>(&mut self, differing: &'d [Difference]) -> Vec<&'d RelativePath> {
        let full = |failure: &Failure| failure.problem == Problem::Errno(Errno::ENOSPC);
        let of = |path: &RelativePath, failure: &Failure| failure.path == Path::new(path.as_str());
        let paths = differing.iter().filter_map(|difference| difference.subject.file());
        let taken: Vec<_> = paths
            .filter(|path| self.failures.iter().any(|failure| full(failure) && of(path, failure)))
            .collect();
        self.failures.retain(|failure| !taken.iter().any(|path| of(path, failure)));
        taken
    }

    fn note(&mut self, path: &Path, action: Action, done: Result<(), Failed>) {
        let path = path.to_owned();
        match done {
            Ok(()) => self.repaired.push(Repaired { path, action }),
            Err((step, problem)) => self.failures.push(Failure { path, step, problem }),
        }
    }
}

/// The store under repair.
struct Tools<'g> {
    store: OwnedFd,
    gate: Gate<'g>,
}

impl Tools<'_> {
    /// Runs one step, if the gate allows it.
    fn step<T>(&mut self, step: Step, act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Failed> {
        (self.gate)(step).and_then(|()| act()).map_err(|errno| (step, Problem::Errno(errno)))
    }

    /// Sets access and attributes of a folder in its place.
    fn restrict_folder(&mut self, path: &Path) -> Result<(), Failed> {
        let opened = self.existing_folder(path)?;
        self.impose(&Demand::of_folder(), &opened)
    }

    /// Sets access and attributes of the node's key in its place, and removes its other names. Its content stays.
    fn restrict_key(&mut self) -> Result<(), Failed> {
        let failed = |what| (Step::Open, Problem::NoKey(what));
        let (key, status) = compare::key(&self.store).map_err(failed)?;
        unlock(&key).map_err(|errno| (Step::Restrict, Problem::Errno(errno)))?;
        if status.st_nlink > 1 {
            let store = self.existing_folder(Path::new(""))?;
            self.remove_names(&store, (status.st_dev, status.st_ino), 0)?;
        }
        self.impose(&Demand::of_key(), &key)
    }

    fn impose(&mut self, demand: &Demand, opened: &impl AsFd) -> Result<(), Failed> {
        self.step(Step::Restrict, || demand.impose(opened))?;
        self.step(Step::SyncFile, || fsync(opened))?;
        let what = self.step(Step::ReadBack, || Ok(demand.differences(opened, &fstat(opened)?)))?;
        if what.is_empty() { Ok(()) } else { Err((Step::ReadBack, Problem::Differs(what))) }
    }

    /// Removes every name of an inode but the key's own.
    fn remove_names(&mut self, folder: &OwnedFd, inode: (u64, u64), depth: usize) -> Result<(), Failed> {
        let failed = |errno| (Step::Remove, Problem::Errno(errno));
        for name in folder::names(folder).map_err(failed)? {
            let status = folder::status(folder, &name).map_err(failed)?;
            let is_own = depth == 0 && name == AGE_KEY;
            if FileType::of(status.st_mode) == FileType::Folder {
                if depth < DEEPEST {
                    let child = folder::child(folder, &name).map_err(failed)?;
                    self.remove_names(&child, inode, depth.saturating_add(1))?;
                }
            } else if (status.st_dev, status.st_ino) == inode && !is_own {
                self.step(Step::Remove, || unlinkat(folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir))?;
                self.step(Step::SyncFolder, || fsync(folder))?;
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, seal: &OpenedSeal, path: &RelativePath) -> Result<(), Failed> {
        let unknown = (Step::Open, Problem::NotInSeal);
        let entry = seal.manifest().stored_in(Store::Disk).find(|entry| entry.path == *path);
        let (Some(entry), Some(content)) = (entry, seal.content(path)) else {
            return Err(unknown);
        };
        let path = Path::new(path.as_str());
        let name = path.file_name().ok_or(unknown)?;
        let parent = self.folder(path.parent().unwrap_or(Path::new("")))?;
        let temporary = OsStr::new(TEMPORARY);
        self.clear(&parent, temporary)?;
        let written = self.write_temporary(&parent, entry, content).and_then(|()| {
            if folder::status(&parent, name).is_ok_and(|s| FileType::of(s.st_mode) == FileType::Folder) {
                self.remove_tree(&parent, name, 0)?;
            }
            unlock_name(&parent, name);
            self.step(Step::Rename, || renameat(&parent, temporary, &parent, name))
        });
        if let Err(failed) = written {
            // No half-written file stays behind; if even removing it fails, the first failure is the one to report.
            let _ = self.clear(&parent, temporary);
            return Err(failed);
        }
        self.step(Step::SyncFolder, || fsync(&parent))?;
        let what = self.step(Step::ReadBack, || Ok(examine(&parent, name, entry)))?;
        if what.is_empty() { Ok(()) } else { Err((Step::ReadBack, Problem::Differs(what))) }
    }

    fn write_temporary(&mut self, parent: &OwnedFd, entry: &Entry, content: &[u8]) -> Result<(), Failed> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = self.step(Step::Create, || openat(parent, TEMPORARY, flags, private))?;
        let (uid, gid) = (Uid::from_raw(entry.attributes.uid), Gid::from_raw(entry.attributes.gid));
        self.step(Step::Owner, || fchown(&file, Some(uid), Some(gid)))?;
        let mode = Mode::from_bits_truncate(entry.attributes.mode);
        for chunk in content.chunks(CHUNK) {
            self.step(Step::Write, || write_all(&file, chunk))?;
        }
        // Writing clears the set-user-id bit, so the mode is set after the content.
        self.step(Step::Mode, || fchmod(&file, mode))?;
        self.step(Step::SyncFile, || fsync(&file))
    }

    /// Opens a folder of the store and makes missing folders on the way; anything else in its place is removed.
    fn folder(&mut self, path: &Path) -> Result<OwnedFd, Failed> {
        let mut folder = self.store.try_clone().map_err(|_| (Step::Open, Problem::Errno(Errno::last())))?;
        for part in path {
            folder = match folder::child(&folder, part) {
                Ok(child) => child,
                Err(errno) => self.make_folder(&folder, part, errno)?,
            };
        }
        Ok(folder)
    }

    fn make_folder(&mut self, parent: &OwnedFd, name: &OsStr, errno: Errno) -> Result<OwnedFd, Failed> {
        match folder::status(parent, name).map(|status| FileType::of(status.st_mode)) {
            Err(Errno::ENOENT) => {}
            Ok(FileType::Folder) | Err(_) => return Err((Step::Open, Problem::Errno(errno))),
            Ok(_) => {
                self.step(Step::Remove, || unlinkat(parent, name, UnlinkatFlags::NoRemoveDir))?;
            }
        }
        self.step(Step::MakeFolder, || mkdirat(parent, name, Mode::S_IRWXU))?;
        self.step(Step::SyncFolder, || fsync(parent))?;
        self.step(Step::Open, || folder::child(parent, name))
    }

    /// Removes a path of the store, with all that is in it.
    fn remove(&mut self, path: &Path) -> Result<(), Failed> {
        let name = path.file_name().ok_or((Step::Remove, Problem::Errno(Errno::EINVAL)))?;
        let parent = self.existing_folder(path.parent().unwrap_or(Path::new("")))?;
        self.clear(&parent, name)?;
        self.step(Step::SyncFolder, || fsync(&parent))
    }

    fn existing_folder(&mut self, path: &Path) -> Result<OwnedFd, Failed> {
        let open_failed = |errno| (Step::Open, Problem::Errno(errno));
        let mut folder = self.store.try_clone().map_err(|_| open_failed(Errno::last()))?;
        for part in path {
            folder = folder::child(&folder, part).map_err(open_failed)?;
        }
        Ok(folder)
    }

    /// Removes `name` from `parent` if it is there.
    fn clear(&mut self, parent: &OwnedFd, name: &OsStr) -> Result<(), Failed> {
        match folder::status(parent, name) {
            Err(Errno::ENOENT) => Ok(()),
            _ => self.remove_tree(parent, name, 0),
        }
    }

    fn remove_tree(&mut self, parent: &OwnedFd, name: &OsStr, depth: usize) -> Result<(), Failed> {
        let failed = |errno| (Step::Remove, Problem::Errno(errno));
        let status = folder::status(parent, name).map_err(failed)?;
        unlock_name(parent, name);
        if FileType::of(status.st_mode) != FileType::Folder {
            return self.step(Step::Remove, || unlinkat(parent, name, UnlinkatFlags::NoRemoveDir));
        }
        if depth >= DEEPEST {
            return Err(failed(Errno::ELOOP));
        }
        let tree = folder::child(parent, name).map_err(failed)?;
        for child in folder::names(&tree).map_err(failed)? {
            self.remove_tree(&tree, &child, depth.saturating_add(1))?;
        }
        drop(tree);
        self.step(Step::Remove, || unlinkat(parent, name, UnlinkatFlags::RemoveDir))
    }
}

/// Clears the inode flags that stop a file or folder from being replaced or removed. If that fails, the next step fails
/// too, and reports the reason.
fn unlock_name(parent: &OwnedFd, name: &OsStr) {
    let kind = folder::status(parent, name).map(|status| FileType::of(status.st_mode));
    if !matches!(kind, Ok(FileType::File | FileType::Folder)) {
        return; // Opening a device or a pipe can have effects, and a link has no flags.
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    if let Ok(opened) = openat(parent, name, flags, Mode::empty()) {
        let _ = unlock(&opened);
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(0) => return Err(Errno::ENOSPC),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
