//! Which file a socket is bound to, according to the kernel.
//!
//! The path in `/proc/net/unix` and in `getsockname(2)` is the text that was passed to `bind(2)`: any user can bind a
//! socket with the text `/dev/log` in his own mount namespace. `SIOCUNIXFILE` (Linux 4.15, needs `CAP_NET_ADMIN`) opens
//! the file itself.

use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};
use std::os::fd::{AsFd, FromRawFd as _, OwnedFd};
use std::path::Path;

/// A file, identified by device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// The file at a path; a link itself, not its target.
    pub(super) fn of_link(path: &Path) -> Option<Self> {
        rustix::fs::lstat(path).ok().as_ref().map(Self::of)
    }

    /// The file at a path; a link's target.
    pub(super) fn of_target(path: &Path) -> Option<Self> {
        rustix::fs::stat(path).ok().as_ref().map(Self::of)
    }

    /// The file that `socket` is bound to.
    pub(super) fn bound_to(socket: impl AsFd) -> Option<Self> {
        let file = bound_file(socket).ok()?;
        rustix::fs::fstat(file).ok().as_ref().map(Self::of)
    }

    fn of(facts: &rustix::fs::Stat) -> Self {
        Self { device: facts.st_dev, number: facts.st_ino }
    }
}

/// `SIOCUNIXFILE` of `linux/un.h`: `SIOCPROTOPRIVATE + 0`. It takes no argument and returns a descriptor.
struct OpenBoundFile;

const SIOCUNIXFILE: Opcode = 0x89E0;

#[expect(unsafe_code, reason = "the kernel has no other way that any user's text cannot mislead")]
// SAFETY: the request takes no argument, so the kernel reads and writes nothing through the pointer.
unsafe impl Ioctl for OpenBoundFile {
    type Output = OwnedFd;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        SIOCUNIXFILE
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut std::ffi::c_void) -> Result<OwnedFd> {
        // SAFETY: on success the kernel returns a new descriptor, which belongs to us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(output) })
    }
}

#[expect(unsafe_code, reason = "the kernel has no other way that any user's text cannot mislead")]
fn bound_file(socket: impl AsFd) -> Result<OwnedFd> {
    // The number is private to the protocol: a socket of another family could know it as another request.
    let family = rustix::net::sockopt::socket_domain(&socket)?;
    if family != rustix::net::AddressFamily::UNIX {
        return Err(rustix::io::Errno::AFNOSUPPORT);
    }
    // SAFETY: see above: a Unix socket, whose request 0x89E0 takes no argument and returns a descriptor.
    unsafe { rustix::ioctl::ioctl(socket, OpenBoundFile) }
}
