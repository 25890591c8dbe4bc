//! Sockets of daemons, held open by the proxy as well.
//!
//! Senders that connected to a daemon before its name was taken cannot be redirected. A duplicate of the daemon's
//! socket (`pidfd_getfd(2)`, Linux 5.6) keeps its queue and those connections when the daemon dies; as long as the
//! daemon lives, only the daemon reads. PID 1's sockets are left out: those that systemd keeps for journald survive
//! journald anyway.
//!
//! The daemon's socket is the one that is bound to the file that had the name. The kernel's list of sockets only shows
//! which sockets to check: its paths are text that any user can choose.

use super::bound_file::FileId;
use crate::file;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The most sockets that are checked for one daemon, those of root's processes first.
const CANDIDATES: usize = 256;

/// The number of a socket in the kernel's list of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SocketNumber(u64);

/// A duplicate of a daemon's socket.
#[derive(Debug)]
pub(super) struct Inherited {
    number: SocketNumber,
    file: FileId,
    socket: UnixDatagram,
    /// Readable once the process has ended that the socket was taken from.
    holder: OwnedFd,
}

impl Inherited {
    /// The datagram sockets that are bound to `file` and that other processes have, except those in `known`. A socket
    /// is not found if the path passed to `bind(2)` ends in none of `names`.
    pub(super) fn find(file: FileId, names: &[OsString], known: &[SocketNumber]) -> Vec<Self> {
        let table = file::read(Path::new("/proc/net/unix")).unwrap_or_default();
        let mut wanted = named(&table, names);
        wanted.retain(|number| !known.contains(number));
        wanted.sort();
        wanted.dedup();
        if wanted.is_empty() {
            return Vec::new();
        }
        let all = holders();
        let mut candidates: Vec<(SocketNumber, &[Holder])> =
            wanted.into_iter().filter_map(|number| Some((number, all.get(&number)?.as_slice()))).collect();
        candidates.sort_by_key(|(_, holders)| !holders.iter().any(|holder| holder.root));
        let found = candidates.into_iter().take(CANDIDATES).filter_map(|(number, holders)| {
            let inherited = Self::take(number, file, holders)?;
            (FileId::bound_to(&inherited.socket) == Some(file)).then_some(inherited)
        });
        let found: Vec<Self> = found.collect();
        for inherited in &found {
            // From now on the kernel records the senders. A daemon that did not ask for it does not notice.
            let _ = setsockopt(&inherited.socket, sockopt::PassCred, &true);
        }
        found
    }

    fn take(number: SocketNumber, file: FileId, holders: &[Holder]) -> Option<Self> {
        if holders.iter().any(|holder| holder.pid.is_init()) {
            return None;
        }
        holders.iter().find_map(|holder| {
            let process = pidfd_open(holder.pid, PidfdFlags::NONBLOCK).ok()?;
            let socket = pidfd_getfd(&process, holder.descriptor, PidfdGetfdFlags::empty()).ok()?;
            // The descriptor may be another one since it was listed.
            (rustix::fs::fstat(&socket).ok()?.st_ino == number.0).then_some(())?;
            Some(Self { number, file, socket: socket.into(), holder: process })
        })
    }

    /// The number of the socket.
    pub(super) fn number(&self) -> SocketNumber {
        self.number
    }

    /// The file that it is bound to.
    pub(super) fn file(&self) -> FileId {
        self.file
    }

    /// A descriptor that is readable once its holder ends.
    pub(super) fn holder(&self) -> &OwnedFd {
        &self.holder
    }

    /// Whether the process has ended that the socket was taken from.
    pub(super) fn holder_has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.holder, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Whether another process still has the socket. When the first holder has ended, another one is searched.
    pub(super) fn is_held(&mut self) -> bool {
        let Some(others) = holders().remove(&self.number) else { return false };
        if self.holder_has_ended()
            && let Some(next) = Self::take(self.number, self.file, &others)
        {
            *self = next;
        }
        true
    }

    /// Returns the socket, if no other process has it any more.
    pub(super) fn into_socket(self) -> UnixDatagram {
        self.socket
    }
}

/// The datagram sockets (type 2) of the kernel's list (`proc_net(5)`) whose path, the last field, ends in one of
/// `names`. A path with spaces or line ends can hide or invent sockets here; the file each is bound to is checked
/// later.
fn named(table: &[u8], names: &[OsString]) -> Vec<SocketNumber> {
    let line = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let mut fields = line.split_ascii_whitespace();
        let kind = fields.nth(4)?;
        let number = fields.nth(1)?.parse().ok()?;
        let name = Path::new(fields.next()?).file_name().unwrap_or(OsStr::new("")).as_bytes().to_owned();
        let wanted = kind == "0002" && names.iter().any(|wanted| wanted.as_bytes() == name);
        wanted.then_some(SocketNumber(number))
    };
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// A process that has a socket.
#[derive(Debug)]
struct Holder {
    pid: Pid,
    descriptor: i32,
    root: bool,
}

/// The sockets of all processes except this one.
fn holders() -> BTreeMap<SocketNumber, Vec<Holder>> {
    let mut holders: BTreeMap<SocketNumber, Vec<Holder>> = BTreeMap::new();
    let mine = rustix::process::getpid();
    for name in file::names(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if pid == mine {
            continue;
        }
        let process = Path::new("/proc").join(&name);
        let root = fs::metadata(&process).is_ok_and(|facts| facts.uid() == 0);
        let folder = process.join("fd");
        for descriptor in file::names(&folder).unwrap_or_default() {
            let Ok(target) = fs::read_link(folder.join(&descriptor)) else { continue };
            let number = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let (Some(number), Some(descriptor)) =
                (number, descriptor.to_str().and_then(|text| text.parse().ok()))
            {
                holders.entry(SocketNumber(number)).or_default().push(Holder { pid, descriptor, root });
            }
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_in_the_kernels_list() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11461 /dev/log\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 11462 /dev/log\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11463\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11464 /dev/log2\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11465 /run/other/journal\n\
            \xff\xfe 0002\n";
        let names = ["log", "journal"].map(OsString::from);
        assert_eq!(named(table, &names), [SocketNumber(11461), SocketNumber(11465)]);
    }

    #[test]
    fn a_socket_is_known_by_its_file_and_not_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let (device, moved) = (folder.path().join("log"), folder.path().join("moved"));
        let daemon = UnixDatagram::bind(&device).unwrap();
        let id = FileId::of_target(&device).unwrap();
        fs::rename(&device, &moved).unwrap();
        let forged = UnixDatagram::bind(&device).unwrap();
        // Without the privilege the kernel does not return the file, and no socket is inherited.
        let asked = FileId::bound_to(&daemon);
        assert!(asked == Some(id) || (asked.is_none() && !rustix::process::geteuid().is_root()));
        assert_ne!(FileId::bound_to(&forged), Some(id));
        assert_eq!(FileId::bound_to(UnixDatagram::unbound().unwrap()), None);
        assert_eq!(FileId::bound_to(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()), None);
    }
}
