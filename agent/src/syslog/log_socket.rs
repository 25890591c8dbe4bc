//! The log socket's name, `/dev/log`: who has it, and who had it before.
//!
//! Names change places by `rename(2)` with `RENAME_EXCHANGE` and by hard links, so at no instant is there no socket
//! behind the name because of us. Three names beside it are ours: `.ours` (our socket, so that it can be linked in
//! again), `.daemon` (what the daemon put there, to be given back) and `.new` (for an instant).

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

/// What all senders may do with a log socket.
const OPEN_TO_ALL: u32 = 0o666;

/// A socket that refuses this often, this far apart, has no listener. Once is not enough: `bind(2)` makes the name before
/// the socket can be found by it.
const DEAD_AFTER: u32 = 5;
const DEAD_WAIT: Duration = Duration::from_millis(4);

/// Who has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Our socket.
    Us,
    /// Another process's.
    Another,
    /// The name was removed.
    None,
}

/// The name, taken.
#[derive(Debug)]
pub(super) struct LogSocket {
    device: PathBuf,
    ours: PathBuf,
    daemon: PathBuf,
    new: PathBuf,
    id: FileId,
}

impl LogSocket {
    /// Binds `socket` and puts it in the daemon's place. What a process that died has left is taken over; `socket` may be
    /// the one that it had, bound already.
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
            failing("open up", &new, fs::set_permissions(&new, Permissions::from_mode(OPEN_TO_ALL)))?;
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

    /// Who has the name now.
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

    /// Puts our socket behind the name. What was there is kept, if a process listens to it. `true` where a daemon's
    /// socket was there.
    pub(super) fn take_over(&self) -> Result<bool, FileError> {
        self.replace(None)
    }

    /// As [`Self::take_over`], but a socket that is `former`, that of a process of ours that died, is not a daemon's.
    fn replace(&self, former: Option<FileId>) -> Result<bool, FileError> {
        remove(&self.new)?;
        failing("link", &self.new, fs::hard_link(&self.ours, &self.new))?;
        if let Err(error) = renameat_with(CWD, &self.new, CWD, &self.device, RenameFlags::EXCHANGE) {
            if error == Errno::NOENT {
                failing("take the place of", &self.device, fs::rename(&self.new, &self.device))?;
                return Ok(false);
            }
            failing("take the place of", &self.device, Err(error))?;
        }
        let found = FileId::of_link(&self.new);
        if self.is_ours(found) || found == former || is_dead(&self.new) {
            remove(&self.new)?;
            return Ok(false);
        }
        failing("keep", &self.new, fs::rename(&self.new, &self.daemon))?;
        Ok(true)
    }

    /// Puts our socket behind the name where there is none, unless a daemon is faster.
    pub(super) fn fill(&self) {
        let _ = fs::hard_link(&self.ours, &self.device);
    }

    /// A connection to the daemon, if one listens.
    pub(super) fn connect(&self, offset: LocalOffset) -> Option<Daemon> {
        Daemon::connect(&self.daemon, offset)
    }

    /// The file of the daemon's socket.
    pub(super) fn daemon_id(&self) -> Option<FileId> {
        FileId::of_target(&self.daemon)
    }

    /// The last parts of the paths that the daemon can have given to `bind(2)`.
    pub(super) fn daemon_names(&self) -> Vec<OsString> {
        let target = self.link_target();
        let paths = [Some(self.device.as_path()), target.as_deref()];
        paths.into_iter().flatten().filter_map(Path::file_name).map(OsString::from).collect()
    }

    /// Where the daemon's socket is, if the name it had is a link.
    pub(super) fn link_target(&self) -> Option<PathBuf> {
        let target = fs::read_link(&self.daemon).ok()?;
        Some(self.daemon.with_file_name(target))
    }

    /// Forgets the daemon whose socket was kept: it is dead. A link stays: what it leads to can come back.
    pub(super) fn forget_daemon(&self) -> Result<(), FileError> {
        if is_socket(&self.daemon) { remove(&self.daemon) } else { Ok(()) }
    }

    /// Gives the name back to the daemon. `false` where another one took it at this very moment: then nothing has
    /// changed, and it has to be taken over again.
    pub(super) fn give_back(&self) -> Result<bool, FileError> {
        if is_socket(&self.daemon) {
            // A daemon opens its socket up by name after binding it, and may have met ours there.
            let opened = fs::set_permissions(&self.daemon, Permissions::from_mode(OPEN_TO_ALL));
            failing("open up", &self.daemon, opened)?;
        }
        match renameat_with(CWD, &self.daemon, CWD, &self.device, RenameFlags::EXCHANGE) {
            Ok(()) if self.is_ours(FileId::of_link(&self.daemon)) => {}
            Ok(()) => {
                let back = renameat_with(CWD, &self.daemon, CWD, &self.device, RenameFlags::EXCHANGE);
                failing("give way at", &self.device, back)?;
                return Ok(false);
            }
            Err(Errno::NOENT) if self.holder() == Holder::None => {
                failing("give back", &self.device, fs::rename(&self.daemon, &self.device))?;
            }
            Err(error) => failing("give back", &self.device, Err(error))?,
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

/// A socket without a listener. A link is not dead where it leads nowhere yet: what it leads to can come up.
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
