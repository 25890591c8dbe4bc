//! The seat: the name `/dev/log`, who has it, and who had it before.
//!
//! Names change places by `rename(2)` with `RENAME_EXCHANGE` and by hard links, so at no instant is there no socket
//! behind the name because of us. Three names beside it are ours: `.ours` (our socket, so that it can be linked in
//! again), `.daemon` (what the daemon put there, to be given back) and `.new` (for an instant).

use crate::file::{FileError, failing};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// What all senders may do with a log socket.
const OPEN_TO_ALL: u32 = 0o666;

/// Who has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Our socket.
    Us,
    /// Somebody else's.
    Another,
    /// Nobody: it was removed.
    Nobody,
}

/// The name, taken.
#[derive(Debug)]
pub(super) struct Seat {
    device: PathBuf,
    ours: PathBuf,
    daemon: PathBuf,
    new: PathBuf,
    inode: (u64, u64),
}

impl Seat {
    /// Binds our socket and puts it in the daemon's place. What a keeper that died has left is taken over.
    pub(super) fn take(device: &Path) -> Result<(Self, UnixDatagram), FileError> {
        let beside = |suffix: &str| {
            let mut name = OsString::from(".");
            name.push(device.file_name().unwrap_or_default());
            name.push(suffix);
            device.with_file_name(name)
        };
        let ours = beside(".ours");
        remove(&ours)?;
        let socket = failing("bind", &ours, UnixDatagram::bind(&ours))?;
        failing("open up", &ours, fs::set_permissions(&ours, Permissions::from_mode(OPEN_TO_ALL)))?;
        failing("prepare", &ours, socket.set_nonblocking(true))?;
        let inode = inode(&ours).ok_or_else(|| FileError {
            action: "find",
            path: ours.clone(),
            source: ErrorKind::NotFound.into(),
        })?;
        let seat =
            Self { device: device.to_owned(), ours, daemon: beside(".daemon"), new: beside(".new"), inode };
        seat.take_over()?;
        Ok((seat, socket))
    }

    /// Who has the name now.
    pub(super) fn holder(&self) -> Holder {
        match inode(&self.device) {
            None => Holder::Nobody,
            Some(inode) if inode == self.inode => Holder::Us,
            Some(_) => Holder::Another,
        }
    }

    /// Puts our socket behind the name. What was there is kept, if anybody listens to it. `true` where a daemon's
    /// socket was there.
    pub(super) fn take_over(&self) -> Result<bool, FileError> {
        remove(&self.new)?;
        failing("link", &self.new, fs::hard_link(&self.ours, &self.new))?;
        if let Err(error) = renameat_with(CWD, &self.new, CWD, &self.device, RenameFlags::EXCHANGE) {
            if error == Errno::NOENT {
                failing("take the place of", &self.device, fs::rename(&self.new, &self.device))?;
                return Ok(false);
            }
            failing("take the place of", &self.device, Err(error))?;
        }
        if inode(&self.new) == Some(self.inode) || is_dead(&self.new) {
            remove(&self.new)?;
            return Ok(false);
        }
        failing("keep", &self.new, fs::rename(&self.new, &self.daemon))?;
        Ok(true)
    }

    /// Puts our socket behind the name where there is none, unless somebody is faster.
    pub(super) fn fill(&self) {
        let _ = fs::hard_link(&self.ours, &self.device);
    }

    /// A connection to the daemon, if one listens.
    pub(super) fn connect(&self) -> Option<UnixDatagram> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(&self.daemon).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(socket)
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
            Ok(()) if inode(&self.daemon) == Some(self.inode) => {}
            Ok(()) => {
                let back = renameat_with(CWD, &self.daemon, CWD, &self.device, RenameFlags::EXCHANGE);
                failing("give way at", &self.device, back)?;
                return Ok(false);
            }
            Err(Errno::NOENT) if self.holder() == Holder::Nobody => {
                failing("give back", &self.device, fs::rename(&self.daemon, &self.device))?;
            }
            Err(error) => failing("give back", &self.device, Err(error))?,
        }
        self.clear()?;
        Ok(true)
    }

    /// Leaves the name without anybody, or with the link that was there.
    pub(super) fn vacate(&self) -> Result<(), FileError> {
        if self.link_target().is_some() && self.give_back()? {
            return Ok(());
        }
        if self.holder() == Holder::Us {
            remove(&self.device)?;
        }
        self.clear()
    }

    fn clear(&self) -> Result<(), FileError> {
        if inode(&self.daemon) == Some(self.inode) {
            remove(&self.daemon)?;
        }
        remove(&self.ours)
    }
}

/// Device and number of what a name stands for, itself a link or not.
fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}

/// A socket that nobody listens to any more. A link is not dead where it leads nowhere yet: it is somebody's wish.
fn is_dead(path: &Path) -> bool {
    is_socket(path)
        && UnixDatagram::unbound()
            .and_then(|socket| socket.connect(path))
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
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
mod tests {
    use super::*;
    use crate::file::names;
    use std::io;

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn send(path: &Path, text: &str) -> io::Result<usize> {
        UnixDatagram::unbound()?.send_to(text.as_bytes(), path)
    }

    #[test]
    fn the_name_changes_hands_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("log");
        let daemon = UnixDatagram::bind(&device).unwrap();
        let (seat, ours) = Seat::take(&device).unwrap();
        assert_eq!(seat.holder(), Holder::Us);
        send(&device, "paused").unwrap();
        assert_eq!((heard(&ours), heard(&daemon)), ("paused".into(), String::new()));
        seat.connect().unwrap().send(b"replayed").unwrap();
        assert_eq!(heard(&daemon), "replayed");
        assert!(seat.give_back().unwrap());
        send(&device, "after").unwrap();
        assert_eq!(heard(&daemon), "after");
        assert_eq!(names(folder.path()).unwrap(), ["log"], "nothing is left beside it");
    }

    #[test]
    fn a_daemon_that_comes_up_meanwhile_gets_the_name_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("log");
        let first = UnixDatagram::bind(&device).unwrap();
        let (seat, _ours) = Seat::take(&device).unwrap();
        drop(first);
        fs::remove_file(&device).unwrap();
        assert_eq!(seat.holder(), Holder::Nobody);
        let second = UnixDatagram::bind(&device).unwrap();
        assert_eq!(seat.holder(), Holder::Another);
        assert!(seat.take_over().unwrap());
        assert_eq!(seat.holder(), Holder::Us);
        assert!(seat.give_back().unwrap());
        send(&device, "after").unwrap();
        assert_eq!(heard(&second), "after");
    }

    #[test]
    fn one_that_takes_the_name_at_the_last_moment_is_not_pushed_out() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("log");
        let _first = UnixDatagram::bind(&device).unwrap();
        let (seat, _ours) = Seat::take(&device).unwrap();
        fs::remove_file(&device).unwrap();
        let second = UnixDatagram::bind(&device).unwrap();
        assert!(!seat.give_back().unwrap());
        send(&device, "to the second").unwrap();
        assert_eq!(heard(&second), "to the second");
    }

    #[test]
    fn what_a_dead_keeper_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("log");
        let daemon = UnixDatagram::bind(&device).unwrap();
        drop(Seat::take(&device).unwrap());
        assert!(send(&device, "lost").is_err(), "the socket of the dead one refuses");
        let (seat, _ours) = Seat::take(&device).unwrap();
        assert!(seat.give_back().unwrap());
        send(&device, "heard").unwrap();
        assert_eq!(heard(&daemon), "heard");
        assert_eq!(names(folder.path()).unwrap(), ["log"]);
    }

    #[test]
    fn a_link_comes_back_as_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (device, target) = (folder.path().join("log"), folder.path().join("journal"));
        let journal = UnixDatagram::bind(&target).unwrap();
        std::os::unix::fs::symlink(&target, &device).unwrap();
        let (seat, _ours) = Seat::take(&device).unwrap();
        assert_eq!(seat.link_target(), Some(target.clone()));
        seat.connect().unwrap().send(b"replayed").unwrap();
        assert_eq!(heard(&journal), "replayed");
        assert!(seat.give_back().unwrap());
        assert_eq!(fs::read_link(&device).unwrap(), target);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (device, target) = (folder.path().join("log"), folder.path().join("journal"));
        std::os::unix::fs::symlink("journal", &device).unwrap();
        let (seat, _ours) = Seat::take(&device).unwrap();
        assert_eq!((seat.holder(), seat.link_target()), (Holder::Us, Some(target)));
        assert!(seat.connect().is_none());
        seat.vacate().unwrap();
        assert_eq!(fs::read_link(&device).unwrap(), Path::new("journal"));
        assert_eq!(names(folder.path()).unwrap(), ["log"]);
    }

    #[test]
    fn where_nobody_was_nobody_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("log");
        let (seat, _ours) = Seat::take(&device).unwrap();
        assert!(seat.connect().is_none());
        seat.vacate().unwrap();
        assert!(names(folder.path()).unwrap().is_empty());
    }
}
