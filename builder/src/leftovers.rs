//! What this process would leave behind where it ended at once: temporary files that have a name, and folders for work.
//!
//! Everything of that kind is entered here before it exists and taken out after it is gone. A signal removes what is
//! entered ([`freeze`]). What even a SIGKILL leaves behind is not locked any more, so that the next run knows it.

use rustix::fs::{AtFlags, unlinkat};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Something that has to go where this process ends.
#[derive(Debug)]
pub(crate) enum Leftover {
    /// A file.
    File {
        /// The folder that it is in.
        folder: Arc<OwnedFd>,
        /// Its name.
        name: OsString,
    },
    /// A folder with all that is in it.
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

/// Removes a folder in which other threads of this process may still be making files: each of them can come between
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

/// An entry, which is taken out with this value.
#[derive(Debug)]
pub(crate) struct Entered(u64);

impl Drop for Entered {
    fn drop(&mut self) {
        register().entered.remove(&self.0);
    }
}

/// Makes something that has to go where this process ends. No signal comes between making and entering it.
pub(crate) fn create<T>(make: impl FnOnce() -> io::Result<(T, Leftover)>) -> io::Result<(T, Entered)> {
    let mut register = register();
    let (thing, leftover) = make()?;
    let number = register.next;
    register.next = number.wrapping_add(1);
    register.entered.insert(number, leftover);
    Ok((thing, Entered(number)))
}

/// Everything that is entered, when the process is about to end.
#[derive(Debug)]
pub(crate) struct Frozen(MutexGuard<'static, Register>);

/// Stops all entering and taking out: other threads that try it wait from now on.
pub(crate) fn freeze() -> Frozen {
    Frozen(register())
}

impl Frozen {
    /// Removes what is entered.
    pub(crate) fn remove(&self) {
        for leftover in self.0.entered.values() {
            leftover.remove();
        }
    }
}
