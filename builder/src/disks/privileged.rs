//! Opening a disk with sudo: only a helper runs with more rights. It opens the disk and passes the descriptor over a
//! socket, its standard input (`SCM_RIGHTS`, unix(7)). Everything else runs with the rights of the user.

use super::Disk;
use super::exclusive::open_exclusive;
use super::number::Number;
use super::preflight::Asked;
use super::refusal::Refusal;
use crate::error::{Class, Classified, Error};
use crate::tools::SUDO;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::env;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use thiserror::Error;

/// The hidden command of `psyops` that runs the helper.
pub(crate) const COMMAND: &str = "open-device";
/// The message that comes with a descriptor. A message without one is the number of an error.
const OPENED: [u8; 4] = [0; 4];

/// Why the helper did not open the disk.
#[derive(Debug, Error)]
pub enum SudoError {
    /// sudo is not installed.
    #[error("sudo is not installed")]
    Missing,
    /// The helper could not open the disk: its error.
    #[error(transparent)]
    Open(io::Error),
    /// The helper could not be started, or its answer not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// sudo or the helper exited without an answer.
    #[error("it ended without a result ({0})")]
    Silent(ExitStatus),
}

/// The helper could not pass the descriptor on.
#[derive(Debug, Error, classified::Cause)]
#[error("cannot pass the open disk {path} to psyops: {source}")]
pub struct HandOverError {
    path: std::path::PathBuf,
    r#source: io::Error,
}

impl Classified for HandOverError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_writing(&self.source))
    }

    fn own_advice(&self) -> Option<String> {
        Some("this command is for psyops itself: it expects a socket as its standard input".to_owned())
    }
}

/// Opens the device with sudo.
pub(super) fn request(disk: &Disk, direct: bool) -> Result<File, SudoError> {
    let (path, number, asked) = (std::path::absolute(&disk.path)?, disk.number, disk.asked());
    let sudo = SUDO.find().map_err(|_| SudoError::Missing)?;
    // mksecrets and build-image are in the same folder as `psyops`, which has the helper.
    let program = env::current_exe()?.with_file_name("psyops");
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(sudo);
    // A percent sign has a special meaning in sudo's prompt.
    let name = path.display().to_string().replace('%', "%%");
    command.arg("-p").arg(format!("psyops must open {name}; password of %p: "));
    command.arg("--").arg(program).arg(COMMAND).args(["--number", &number.to_string()]);
    command.args(direct.then_some("--direct")).args(asked.partition.then_some("--partition"));
    if asked.fixed_disk.is_some() {
        command.arg("--fixed-disk").arg(&path);
    }
    command.arg("--").arg(&path);
    let mut child = command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).spawn()?;
    // The command holds the other end as well, and would keep the socket open.
    drop(command);
    let answer = receive(&ours);
    let status = child.wait()?;
    match answer? {
        Some(answer) => answer.map_err(SudoError::Open),
        None => Err(SudoError::Silent(status)),
    }
}

/// The helper: opens the device and passes the descriptor on, or the error. It may have more rights than the user who
/// started it, so it looks at the device and repeats the checks.
pub fn hand_over(path: &Path, number: Number, direct: bool, asked: &Asked) -> Result<(), Error> {
    let disk = Disk::of(path)?;
    disk.preflight_for_helper(asked)?;
    if disk.number != number {
        return Err(Refusal::OtherNumber { path: path.to_owned(), number, found: disk.number }.into());
    }
    let failed = |source| HandOverError { path: path.to_owned(), source };
    Ok(send(io::stdin(), &open_exclusive(path, number, direct)).map_err(failed)?)
}

fn send(socket: impl AsFd, opened: &io::Result<File>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let number;
    let descriptors;
    let message = match opened {
        Ok(file) => {
            descriptors = [file.as_fd()];
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            &OPENED
        }
        Err(error) => {
            number = error.raw_os_error().unwrap_or(rustix::io::Errno::NODEV.raw_os_error()).to_ne_bytes();
            &number
        }
    };
    sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The opened file or the helper's error; `None` if the other end was closed without a message.
fn receive(socket: impl AsFd) -> io::Result<Option<io::Result<File>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut message = OPENED;
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut message)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(match descriptor {
        Some(descriptor) => Some(Ok(File::from(descriptor))),
        None if received.bytes == OPENED.len() && message != OPENED => {
            Some(Err(io::Error::from_raw_os_error(i32::from_ne_bytes(message))))
        }
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

    #[test]
    fn an_open_file_is_passed_unchanged() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        send(&theirs, &Ok(file)).unwrap();
        let mut file = receive(&ours).unwrap().unwrap().unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "tent");
    }

    #[test]
    fn an_error_is_passed_on_and_a_missing_reply_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        send(&theirs, &Err(io::Error::from_raw_os_error(16))).unwrap();
        assert_eq!(receive(&ours).unwrap().unwrap().unwrap_err().raw_os_error(), Some(16));
        drop(theirs);
        assert!(receive(&ours).unwrap().is_none());
    }
}
