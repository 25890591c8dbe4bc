//! Events from the kernel about devices (netlink, `NETLINK_KOBJECT_UEVENT`), which the loader waits for.

use crate::clock::Uptime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

/// The group of the kernel's own messages; group 2 would be udev's.
const KERNEL_GROUP: u32 = 1;
/// Bytes of the receive buffer: a hub full of sticks sends hundreds of events while the loader reads a slow one.
const BUFFER: usize = 1024 * 1024;

/// The fields of an event that the loader uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The action: `add`, `change`, `remove`, `bind`...
    pub(crate) action: String,
    /// The subsystem of the device, such as `block`.
    pub(crate) subsystem: String,
}

impl Event {
    /// Reads one datagram: `action@path`, then `KEY=value` strings, each ended by a zero byte.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let mut fields =
            datagram.split(|&byte| byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
        let (action, _) = fields.next()?.split_once('@')?;
        let subsystem = fields.find_map(|field| field.strip_prefix("SUBSYSTEM="))?;
        Some(Self { action: action.to_owned(), subsystem: subsystem.to_owned() })
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something about disks, USB or network cards changed, or events were lost: look again.
    Changed,
    /// The deadline passed.
    TimedOut,
}

/// A socket that receives every event from its opening on.
pub(crate) struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Opens the socket. It must be open before the first look at `/sys`, or a disk that comes in between is missed.
    pub(crate) fn open() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkKObjectUEvent;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
        // Without the larger buffer, lost events are still noticed (ENOBUFS).
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self { socket })
    }

    /// Waits until something about disks, USB devices or network cards changes, at most until `deadline`.
    pub(crate) fn wait(&self, deadline: Uptime) -> Woken {
        loop {
            if self.drain() {
                return Woken::Changed;
            }
            let remaining = deadline.remaining();
            if remaining.is_zero() {
                return Woken::TimedOut;
            }
            let timeout = PollTimeout::try_from(remaining).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout);
        }
    }

    /// Reads all pending events; returns whether one of them matters.
    fn drain(&self) -> bool {
        let mut matters = false;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let event = Event::parse(buffer.get(..length).unwrap_or_default());
                    matters |= event
                        .is_some_and(|e| matches!(e.subsystem.as_str(), "block" | "usb" | "scsi" | "net"));
                }
                // Events were lost; a new look at `/sys` finds what they reported.
                Err(Errno::ENOBUFS) => matters = true,
                Err(Errno::EINTR) => {}
                Err(_) => return matters,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read() {
        let datagram =
            b"add@/devices/x/block/sda\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=block\0DEVNAME=sda\0";
        let expected = Event { action: "add".into(), subsystem: "block".into() };
        assert_eq!(Event::parse(datagram), Some(expected));
    }

    #[test]
    fn messages_that_the_kernel_did_not_send_are_ignored() {
        for other in [
            &b"libudev\0\xfe\xed\xca\xfe"[..],
            b"",
            b"\0\0",
            b"add@/x\0ACTION=add\0",
            b"\xff@\0SUBSYSTEM=block\0",
        ] {
            assert_eq!(Event::parse(other), None);
        }
    }
}
