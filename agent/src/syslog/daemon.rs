//! A connection to the syslog daemon, over which datagrams are replayed under their senders' credentials.

use super::datagram::{Datagram, Sender};
use super::text::{self, LocalOffset};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, sendmsg, setsockopt, sockopt};
use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Bytes of the send buffer: for the longest datagram in the spool and the kernel's overhead.
const SEND_BUFFER: usize = 2 * super::datagram::LONGEST;
/// The length that is tried if the kernel refuses a longer datagram.
const SHORTER: usize = 64 * 1024;

/// A connection to the syslog daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    socket: UnixDatagram,
    offset: LocalOffset,
}

/// The result of sending a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The daemon has received it.
    Taken,
    /// The daemon has received its beginning; it was too long.
    Cut,
    /// The daemon's queue is full.
    Full,
    /// The daemon does not exist any more.
    Gone,
    /// The kernel refuses this datagram in any form.
    Refused,
}

impl Daemon {
    /// Connects, if a daemon listens at `path`.
    pub(super) fn connect(path: &Path, offset: LocalOffset) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        // Without the privilege the default stays, which is enough for datagrams of unprivileged senders.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER));
        Some(Self { socket, offset })
    }

    /// Sends `datagram` under its sender's credentials. If that process has ended, the kernel refuses its number: then
    /// user and group are kept, and the number is put into the text. Does not wait.
    pub(super) fn deliver(&self, datagram: &Datagram) -> Delivery {
        let ours = Sender::ours();
        let text = text::with_time(&datagram.text, datagram.time_ns, self.offset);
        let text = text.map_or(Cow::Borrowed(datagram.text.as_slice()), Cow::Owned);
        if datagram.sender == ours || datagram.sender.still_runs(datagram.received_ms) {
            match self.send(&text, datagram.sender) {
                Err(Errno::ESRCH | Errno::EPERM | Errno::EINVAL) => {}
                result => return self.delivery(result, &text, datagram.sender),
            }
        }
        let text = text::with_pid(&text, datagram.sender.pid).map_or(text, Cow::Owned);
        let sender = Sender { pid: ours.pid, ..datagram.sender };
        match self.send(&text, sender) {
            // Only in a user namespace that lacks this user, in which no node's agent runs: our credentials are better
            // than no message.
            Err(Errno::EPERM | Errno::EINVAL) => self.delivery(self.send(&text, ours), &text, ours),
            result => self.delivery(result, &text, sender),
        }
    }

    fn delivery(&self, result: Result<(), Errno>, text: &[u8], sender: Sender) -> Delivery {
        match result {
            Ok(()) => Delivery::Taken,
            Err(Errno::EMSGSIZE) => match text.get(..SHORTER).map(|start| self.send(start, sender)) {
                Some(Ok(())) => Delivery::Cut,
                Some(Err(error)) => failed(error),
                None => Delivery::Refused,
            },
            Err(error) => failed(error),
        }
    }

    fn send(&self, text: &[u8], sender: Sender) -> Result<(), Errno> {
        let Sender { pid, uid, gid } = sender;
        let credentials = UnixCredentials::from(nix::libc::ucred { pid, uid, gid });
        let control = [ControlMessage::ScmCredentials(&credentials)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(text)], &control, flags, None).map(drop)
    }
}

impl AsFd for Daemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(error: Errno) -> Delivery {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected, NotFound, WouldBlock};
    match io::Error::from(error).kind() {
        WouldBlock => Delivery::Full,
        ConnectionRefused | ConnectionReset | NotConnected | BrokenPipe | NotFound => Delivery::Gone,
        _ if matches!(error, Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR) => Delivery::Full,
        _ => Delivery::Refused,
    }
}
