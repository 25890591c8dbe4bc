//! Temporary names of outputs: a file that a tool writes, or that replaces an older one, has such a name for a while.
//!
//! It is locked as long as its writer lives. So the next run for the same output can remove what a SIGKILL left behind.

use super::folder::{folder_flags, folder_of};
use crate::leftovers::{self, Entered, Leftover};
use nix::unistd::geteuid;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The part of a temporary file's name between the name of the output and random letters.
const MARK: &str = ".psyops-";
/// How many random names are tried.
const TRIES: u32 = 100;

/// The temporary name of a file, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    folder: Arc<OwnedFd>,
    pub(super) name: OsString,
    /// The path of the temporary file, for tools.
    pub(super) path: PathBuf,
    _entered: Entered,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The file may have its final name by now.
        let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
}

/// Creates a file with a temporary name.
pub(super) fn named(
    folder: &Arc<OwnedFd>,
    name: &OsStr,
    path: &Path,
    mode: u32,
) -> io::Result<(File, Temporary)> {
    sweep(folder, name);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    temporary(folder, name, folder_of(path), |name| {
        let file = File::from(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(mode))?);
        lock(&file)?;
        Ok(file)
    })
}

/// Creates something under a temporary name.
pub(super) fn temporary<T>(
    folder: &Arc<OwnedFd>,
    name: &OsStr,
    path: &Path,
    make: impl Fn(&OsStr) -> io::Result<T>,
) -> io::Result<(T, Temporary)> {
    let mut tries = 0;
    loop {
        let temporary = temporary_name(name)?;
        let result = leftovers::create(|| {
            let thing = make(&temporary)?;
            Ok((thing, Leftover::File { folder: Arc::clone(folder), name: temporary.clone() }))
        });
        tries += 1;
        match result {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {}
            Err(error) => return Err(error),
            Ok((thing, entered)) => {
                let path = path.join(&temporary);
                let folder = Arc::clone(folder);
                return Ok((thing, Temporary { folder, name: temporary, path, _entered: entered }));
            }
        }
    }
}

/// `.NAME.psyops-XXXXXXXX`
fn temporary_name(name: &OsStr) -> io::Result<OsString> {
    let mut random = [0_u8; 4];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut temporary = prefix_of(name);
    temporary.push(format!("{:08x}", u32::from_ne_bytes(random)));
    Ok(temporary)
}

fn prefix_of(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(MARK);
    prefix
}

/// Shows other runs that the file's writer is alive. On file systems without locks, no file is removed.
pub(super) fn lock(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes temporary files of this output whose writers ended without removing them. Files that cannot be removed stay.
pub(super) fn sweep(folder: &OwnedFd, name: &OsStr) {
    let Ok(open) = rustix::fs::openat(folder, ".", folder_flags(), Mode::empty()) else { return };
    let Ok(entries) = rustix::fs::Dir::new(open) else { return };
    let prefix = prefix_of(name);
    for entry in entries.filter_map(Result::ok) {
        let found = entry.file_name();
        let Some(rest) = found.to_bytes().strip_prefix(prefix.as_encoded_bytes()) else { continue };
        if rest.len() != 8 || !rest.iter().all(u8::is_ascii_hexdigit) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(folder, found, flags, Mode::empty()) else { continue };
        let ours = rustix::fs::fstat(&file).is_ok_and(|facts| facts.st_uid == geteuid().as_raw());
        if ours && rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = rustix::fs::unlinkat(folder, found, AtFlags::empty());
        }
    }
}
