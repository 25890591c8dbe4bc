//! What this process would leave behind if it ended now: temporary files with a name, and folders for work.
//!
//! Each of them is registered here before it exists, and removed from the register after it is gone. A signal removes
//! everything that is registered ([`freeze`]). What a SIGKILL leaves behind is not locked any more, so the next run
//! recognises it.

use rustix::fs::{AtFlags, unlinkat};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that must be removed when this process ends.
#[derive(Debug)]
pub(crate) enum Leftover {
    /// A temporary file.
    File {
        /// The open folder that it is in.
        folder: Arc<OwnedFd>,
        /// The name in the folder.
        name: OsString,
    },
    /// A folder with everything in it.
    Folder(PathBuf),
}

impl Leftover {
    fn remove(&self) {
        // What cannot be removed is found by the next run.
        match self {
            Self::File { folder, name } => drop(unlinkat(folder, name, AtFlags::empty())),
            Self::Folder(path) => remove_folder(path),
        }
    }
}

/// Removes a folder in which other threads of this process may still be making files: such a file can appear between
/// emptying the folder and removing it.
fn remove_folder(path: &Path) {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => return,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Register {
    next: u64,
    entered: BTreeMap<u64, Leftover>,
}

static REGISTER: Mutex<Register> = Mutex::new(Register { next: 0, entered: BTreeMap::new() });

fn register() -> MutexGuard<'static, Register> {
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry of the register, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Entered(u64);

impl Drop for Entered {
    fn drop(&mut self) {
        register().entered.remove(&self.0);
    }
}

/// Makes something that must be removed when this process ends. A signal is not handled between making and registering
/// it.
pub(crate) fn create<T>(make: impl FnOnce() -> io::Result<(T, Leftover)>) -> io::Result<(T, Entered)> {
    let mut register = register();
    let (thing, leftover) = make()?;
    let number = register.next;
    register.next = number.wrapping_add(1);
    register.entered.insert(number, leftover);
    Ok((thing, Entered(number)))
}

/// The register, when the process is about to end.
#[derive(Debug)]
pub(crate) struct Frozen(MutexGuard<'static, Register>);

/// Locks the register: other threads that want to change it wait from now on.
pub(crate) fn freeze() -> Frozen {
    Frozen(register())
}

impl Frozen {
    /// Removes everything that is registered.
    pub(crate) fn remove(&self) {
        for leftover in self.0.entered.values() {
            leftover.remove();
        }
    }
}
