//! The log socket's name, `/dev/log`: which socket has it, and which one had it before.
//!
//! Sockets change places by `rename(2)` with `RENAME_EXCHANGE` and by hard links, so at no instant is the name without
//! a socket because of the proxy. Three names beside it are the proxy's: `.ours` (its socket, so that it can be linked
//! again), `.daemon` (the daemon's socket, to be given back) and `.new` (for an instant).

use super::bound_file::FileId;
use super::daemon::Daemon;
use super::text::LocalOffset;
use crate::file::{FileError, failing};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The mode of a log socket: all users may write to it.
const OPEN_TO_ALL: u32 = 0o666;

/// A socket that refuses this often, this far apart, has no listener. Once is not enough: `bind(2)` makes the name
/// before the socket can be found by it.
const DEAD_AFTER: u32 = 5;
const DEAD_WAIT: Duration = Duration::from_millis(4);

/// Which socket has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The proxy's socket.
    Us,
    /// Another process's socket.
    Another,
    /// None: the name was removed.
    None,
}

/// The name while the proxy has it.
#[derive(Debug)]
pub(super) struct LogSocket {
    device: PathBuf,
    ours: PathBuf,
    daemon: PathBuf,
    new: PathBuf,
    id: FileId,
}

impl LogSocket {
    /// Binds `socket` and puts it in the daemon's place. Files of a proxy that died are reused; `socket` may be the one
    /// that it had, already bound.
    pub(super) fn take(device: &Path, socket: &UnixDatagram) -> Result<Self, FileError> {
        let beside = |suffix: &str| {
            let mut name = OsString::from(".");
            name.push(device.file_name().unwrap_or_default());
            name.push(suffix);
            device.with_file_name(name)
        };
        let (ours, daemon, new) = (beside(".ours"), beside(".daemon"), beside(".new"));
        let former = FileId::of_link(&ours);
        let known = |id: Option<FileId>| id.is_some() && id == former;
        // A process that died between two renames has left the daemon's socket here.
        if FileId::of_link(&new).is_some() && !known(FileId::of_link(&new)) && !is_dead(&new) {
            failing("keep", &new, fs::rename(&new, &daemon))?;
        }
        if !known(FileId::bound_to(socket)) {
            remove(&new)?;
            let address = failing("bind", &new, SocketAddrUnix::new(&new))?;
            failing("bind", &new, rustix::net::bind(socket, &address))?;
            failing("set the mode of", &new, fs::set_permissions(&new, Permissions::from_mode(OPEN_TO_ALL)))?;
            failing("keep", &new, fs::rename(&new, &ours))?;
        }
        let id = FileId::of_link(&ours).ok_or_else(|| FileError {
            action: "find",
            path: ours.clone(),
            source: ErrorKind::NotFound.into(),
        })?;
        let taken = Self { device: device.to_owned(), ours, daemon, new, id };
        taken.replace(former)?;
        Ok(taken)
    }

    /// Which socket has the name now.
    pub(super) fn holder(&self) -> Holder {
        match FileId::of_link(&self.device) {
            None => Holder::None,
            id if self.is_ours(id) => Holder::Us,
            Some(_) => Holder::Another,
        }
    }

    fn is_ours(&self, id: Option<FileId>) -> bool {
        id == Some(self.id)
    }

    /// Gives the name to the proxy's socket. The socket that had it is kept, if a process listens to it. `true` if it
    /// was a daemon's.
    pub(super) fn take_over(&self) -> Result<bool, FileError> {
        self.replace(None)
    }

    /// As [`Self::take_over`], but a socket that is `former`, of a proxy that died, is not a daemon's.
    fn replace(&self, former: Option<FileId>) -> Result<bool, FileError> {
        remove(&self.new)?;
        failing("link", &self.new, fs::hard_link(&self.ours, &self.new))?;
        if let Err(error) = renameat_with(CWD, &self.new, CWD, &self.device, RenameFlags::EXCHANGE) {
            if error == Errno::NOENT {
                failing("replace", &self.device, fs::rename(&self.new, &self.device))?;
                return Ok(false);
            }
            failing("replace", &self.device, Err(error))?;
        }
        let found = FileId::of_link(&self.new);
        if self.is_ours(found) || found == former || is_dead(&self.new) {
            remove(&self.new)?;
            return Ok(false);
        }
        failing("keep", &self.new, fs::rename(&self.new, &self.daemon))?;
        Ok(true)
    }

    /// Gives the name to the proxy's socket if no socket has it, unless a daemon is faster.
    pub(super) fn fill(&self) {
        let _ = fs::hard_link(&self.ours, &self.device);
    }

    /// Connects to the daemon, if one listens.
    pub(super) fn connect(&self, offset: LocalOffset) -> Option<Daemon> {
        Daemon::connect(&self.daemon, offset)
    }

    /// The file of the daemon's socket.
    pub(super) fn daemon_id(&self) -> Option<FileId> {
        FileId::of_target(&self.daemon)
    }

    /// The last parts of the paths that the daemon may have passed to `bind(2)`.
    pub(super) fn daemon_names(&self) -> Vec<OsString> {
        let target = self.link_target();
        let paths = [Some(self.device.as_path()), target.as_deref()];
        paths.into_iter().flatten().filter_map(Path::file_name).map(OsString::from).collect()
    }

    /// The path of the daemon's socket, if the name it had is a link.
    pub(super) fn link_target(&self) -> Option<PathBuf> {
        let target = fs::read_link(&self.daemon).ok()?;
        Some(self.daemon.with_file_name(target))
    }

    /// Removes the daemon's socket that was kept: it is dead. A link stays: its target can come back.
    pub(super) fn forget_daemon(&self) -> Result<(), FileError> {
        if is_socket(&self.daemon) { remove(&self.daemon) } else { Ok(()) }
    }

    /// Gives the name back to the daemon. `false` if another one took it at this very moment: then nothing has changed,
    /// and it has to be taken over again.
    pub(super) fn give_back(&self) -> Result<bool, FileError> {
        if is_socket(&self.daemon) {
            // A daemon sets the mode of its socket by name after binding it, and may have found the proxy's socket
            // there.
            let opened = fs::set_permissions(&self.daemon, Permissions::from_mode(OPEN_TO_ALL));
            failing("set the mode of", &self.daemon, opened)?;
        }
        match renameat_with(CWD, &self.daemon, CWD, &self.device, RenameFlags::EXCHANGE) {
            Ok(()) if self.is_ours(FileId::of_link(&self.daemon)) => {}
            Ok(()) => {
                let back = renameat_with(CWD, &self.daemon, CWD, &self.device, RenameFlags::EXCHANGE);
                failing("put the new daemon's socket back at", &self.device, back)?;
                return Ok(false);
            }
            Err(Errno::NOENT) if self.holder() == Holder::None => {
                failing(
                    "put the daemon's socket back at",
                    &self.device,
                    fs::rename(&self.daemon, &self.device),
                )?;
            }
            Err(error) => failing("put the daemon's socket back at", &self.device, Err(error))?,
        }
        self.clear()?;
        Ok(true)
    }

    /// Leaves the name without a socket, or with the link that was there.
    pub(super) fn release(&self) -> Result<(), FileError> {
        if self.link_target().is_some() && self.give_back()? {
            return Ok(());
        }
        if self.holder() == Holder::Us {
            remove(&self.device)?;
        }
        self.clear()
    }

    fn clear(&self) -> Result<(), FileError> {
        if self.is_ours(FileId::of_link(&self.daemon)) {
            remove(&self.daemon)?;
        }
        remove(&self.ours)
    }
}

/// Whether a socket has no listener. A link whose target does not exist yet is not dead: the target can appear.
fn is_dead(path: &Path) -> bool {
    let refuses = || {
        UnixDatagram::unbound()
            .and_then(|socket| socket.connect(path))
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    is_socket(path)
        && (0..DEAD_AFTER).all(|attempt| {
            if attempt > 0 {
                std::thread::sleep(DEAD_WAIT);
            }
            refuses()
        })
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket())
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => failing("remove", path, other),
    }
}

#[cfg(test)]
#[path = "log_socket_tests.rs"]
mod tests;
