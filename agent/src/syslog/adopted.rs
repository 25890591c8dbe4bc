//! Sockets of daemons, held open by the keeper as well.
//!
//! Senders that connected to a daemon before its name was taken cannot be led elsewhere. A duplicate of the daemon's
//! socket (`pidfd_getfd(2)`, Linux 5.6) keeps its queue and those connections alive when the daemon dies; as long as it
//! lives, it alone reads. PID 1 is left out: what systemd holds for journald outlives journald by itself.

use crate::file;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The number of a socket in the kernel's list of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SocketNumber(u64);

/// A daemon's socket.
#[derive(Debug)]
pub(super) struct Adopted {
    number: SocketNumber,
    socket: UnixDatagram,
    /// Readable once the process ends that the socket was taken from.
    holder: OwnedFd,
}

impl Adopted {
    /// All datagram sockets that other processes bound at one of `names` and still have, but those in `known`.
    pub(super) fn find(names: &[&Path], known: &[SocketNumber]) -> Vec<Self> {
        let table = file::read(Path::new("/proc/net/unix")).unwrap_or_default();
        let table = String::from_utf8_lossy(&table);
        let mut wanted: Vec<_> =
            names.iter().flat_map(|name| bound_at(&table, &name.to_string_lossy())).collect();
        wanted.retain(|number| !known.contains(number));
        if wanted.is_empty() {
            return Vec::new();
        }
        let holders = holders();
        wanted.into_iter().filter_map(|number| Self::take(number, holders.get(&number)?)).collect()
    }

    fn take(number: SocketNumber, holders: &[(Pid, i32)]) -> Option<Self> {
        if holders.iter().any(|(pid, _)| pid.is_init()) {
            return None;
        }
        holders.iter().find_map(|&(pid, descriptor)| {
            let holder = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
            let socket = pidfd_getfd(&holder, descriptor, PidfdGetfdFlags::empty()).ok()?;
            Some(Self { number, socket: socket.into(), holder })
        })
    }

    /// Its number.
    pub(super) fn number(&self) -> SocketNumber {
        self.number
    }

    /// Readable once its holder ends.
    pub(super) fn holder(&self) -> &OwnedFd {
        &self.holder
    }

    /// Whether the process ended that the socket was taken from.
    pub(super) fn holder_has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.holder, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Whether a process besides us still has the socket. When the first holder has ended, another one is looked for.
    pub(super) fn is_held(&mut self) -> bool {
        let Some(others) = holders().remove(&self.number) else { return false };
        if self.holder_has_ended()
            && let Some(next) = Self::take(self.number, &others)
        {
            *self = next;
        }
        true
    }

    /// The socket, of which we are the last holder.
    pub(super) fn into_socket(self) -> UnixDatagram {
        // Only now: the flag is shared with the daemon as long as that has the socket too.
        let _ = self.socket.set_nonblocking(true);
        self.socket
    }
}

/// The datagram sockets of the kernel's list (`proc_net(5)`) that were bound at `path`: type 2, and the path last.
fn bound_at(table: &str, path: &str) -> Vec<SocketNumber> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [_, _, _, _, "0002", _, number, name] if *name == path => number.parse().ok().map(SocketNumber),
            _ => None,
        }
    };
    table.lines().filter_map(line).collect()
}

/// Which processes have which sockets, and under which descriptor; our own process left out.
fn holders() -> BTreeMap<SocketNumber, Vec<(Pid, i32)>> {
    let mut holders: BTreeMap<SocketNumber, Vec<(Pid, i32)>> = BTreeMap::new();
    let mine = rustix::process::getpid();
    for name in file::names(Path::new("/proc")).unwrap_or_default() {
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if pid == mine {
            continue;
        }
        let folder = Path::new("/proc").join(&name).join("fd");
        for descriptor in file::names(&folder).unwrap_or_default() {
            let Ok(target) = fs::read_link(folder.join(&descriptor)) else { continue };
            let number = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let (Some(number), Some(descriptor)) =
                (number, descriptor.to_str().and_then(|text| text.parse().ok()))
            {
                holders.entry(SocketNumber(number)).or_default().push((pid, descriptor));
            }
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11461 /dev/log\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 11462 /dev/log\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11463\n\
            0000000000000000: 00000002 00000000 00000000 0002 01 11464 /dev/log2\n";
        assert_eq!(bound_at(table, "/dev/log"), [SocketNumber(11461)]);
    }
}
