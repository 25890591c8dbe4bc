//! A socket that only the proxy reads: datagrams are looked at, spooled, and only then taken out of the queue.
//!
//! So a datagram is in the queue or in the spool at any instant, or in both: after a crash between the two steps, the
//! kernel's time of the first datagram in the queue shows that it is the last one in the spool.
//!
//! Descriptors that a sender attaches (`SCM_RIGHTS`) are never installed here: the control buffer has room only for the
//! time and the credentials, which the kernel writes first, and it drops what does not fit.

use super::bound_file::FileId;
use super::datagram::{Datagram, Sender};
use crate::clock::{self, Deadline};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use rustix::net::RecvFlags;
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long taking out a datagram with descriptors may take.
const TAKE_OUT: Duration = Duration::from_millis(20);

/// A socket that only the proxy reads.
#[derive(Debug)]
pub(super) struct Inbox {
    socket: UnixDatagram,
    file: Option<FileId>,
}

/// The first datagram in the queue.
#[derive(Debug)]
pub(super) struct First {
    /// The datagram, cut to the buffer's length.
    pub(super) datagram: Datagram,
    /// Whether it was longer than the buffer.
    pub(super) cut: bool,
    /// Whether the sender attached descriptors: see [`Inbox::take_out_apart`].
    pub(super) descriptors: bool,
}

impl Inbox {
    /// Asks the kernel for the sender and the time of all datagrams from now on.
    pub(super) fn new(socket: UnixDatagram) -> io::Result<Self> {
        let file = FileId::bound_to(&socket);
        setsockopt(&socket, sockopt::PassCred, &true)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self { socket, file })
    }

    /// The file that it is bound to, if the kernel returns it.
    pub(super) fn file(&self) -> Option<FileId> {
        self.file
    }

    /// Reads the first datagram in the queue; it stays there.
    pub(super) fn first(&self, buffer: &mut [u8]) -> io::Result<Option<First>> {
        let mut control = nix::cmsg_space!(TimeSpec, nix::sys::socket::UnixCredentials);
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let mut parts = [IoSliceMut::new(buffer)];
        let received = match recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(received) => received,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let descriptors = received.flags.contains(MsgFlags::MSG_CTRUNC);
        let (mut sender, mut time_ns) =
            (Sender::UNKNOWN, clock::unix_seconds().saturating_mul(1_000_000_000));
        // With descriptors, the rest cannot be read in safe code. No library for syslog sends any: such a message is
        // kept as one of an unknown sender.
        for message in received.cmsgs().into_iter().flatten() {
            match message {
                ControlMessageOwned::ScmCredentials(found) => {
                    sender = Sender { pid: found.pid(), uid: found.uid(), gid: found.gid() };
                }
                ControlMessageOwned::ScmTimestampns(time) => time_ns = nanoseconds(time),
                _ => {}
            }
        }
        let length = received.bytes;
        let cut = length > buffer.len();
        let text = buffer.get(..length).unwrap_or(buffer).to_vec();
        let received_ms = clock::since_kernel_start();
        Ok(Some(First { datagram: Datagram { text, sender, time_ns, received_ms }, cut, descriptors }))
    }

    /// Takes the first datagram out of the queue.
    pub(super) fn take_out(&self) {
        let mut byte = [0; 1];
        let _ = rustix::net::recv(&self.socket, &mut byte, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
    }

    /// Takes the first datagram out of the queue in another process, for [`First::descriptors`]: with the datagram the
    /// kernel closes its descriptors, and a TCP socket with `SO_LINGER` can make that last for hours. A process that is
    /// killed does not wait for it. `true` if it is known to be out.
    pub(super) fn take_out_apart(&self) -> io::Result<bool> {
        let socket: OwnedFd = self.socket.try_clone()?.into();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("syslog-discard").stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let until = Deadline::after(TAKE_OUT);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if until.passed() {
                child.kill()?;
                child.wait()?;
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Refuses all further datagrams: a sender gets an error, and the queue can still be read.
    pub(super) fn close(&self) {
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes one datagram, with its descriptors, out of the queue of the socket on the standard input.
#[must_use]
pub fn discard() -> bool {
    let stdin = io::stdin();
    rustix::net::recv(&stdin, &mut [0; 1], RecvFlags::DONTWAIT | RecvFlags::TRUNC).is_ok()
}

fn nanoseconds(time: TimeSpec) -> u64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
}
