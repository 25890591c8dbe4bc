//! The device mapper (kernel: include/uapi/linux/dm-ioctl.h, version 4): a mapped device with one target.
//!
//! Only what a read-only device over dm-verity needs: create, load a table, resume, remove. Without libdevmapper, which
//! waits for udev.

use nix::errno::Errno;
use nix::libc;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

const CONTROL: &str = "/dev/mapper/control";
/// `struct dm_ioctl`.
const HEADER: usize = 312;
/// `struct dm_target_spec`.
const TARGET: usize = 40;
const READ_ONLY: u32 = 1 << 0;
/// Does not freeze the file system on the device: it is never written.
const SKIP_LOCK_FS: u32 = 1 << 10;

/// A request of dm-ioctl.h, with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Create = 3,
    Remove = 4,
    /// Without the suspend flag it resumes, with the table loaded last.
    Suspend = 6,
    Load = 9,
}

/// The mapped device that requests are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The device's name in `/dev/mapper`.
    pub(crate) name: &'static str,
    /// An identifier by which tools recognise the kind of device, such as `CRYPT-VERITY-...`.
    pub(crate) uuid: String,
}

/// A request to the device mapper that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device mapper, {name}, {action}: {}", errno.desc())]
pub(crate) struct DmError {
    name: &'static str,
    action: &'static str,
    errno: Errno,
}

/// A target: `sectors` of 512 bytes, mapped as `parameters` describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The length in sectors of 512 bytes.
    pub(crate) sectors: u64,
    /// The target type, such as `verity`.
    pub(crate) kind: &'static str,
    /// The target type's parameters.
    pub(crate) parameters: String,
}

impl Mapping {
    /// Creates the device with a first target; returns the path of its device file.
    pub(crate) fn create(&self, target: &Target) -> Result<PathBuf, DmError> {
        let answer = self.request(Request::Create, "create", None)?;
        self.load(target)?;
        // The kernel's `huge_encode_dev`: the minor number is in two parts.
        let numbers =
            answer.get(40..48).and_then(|field| field.try_into().ok()).map_or(0, u64::from_le_bytes);
        let minor = (numbers & 0xff) | ((numbers >> 12) & 0xf_ff00);
        Ok(PathBuf::from(format!("/dev/dm-{minor}")))
    }

    /// Replaces the device's target while it stays mounted.
    pub(crate) fn load(&self, target: &Target) -> Result<(), DmError> {
        self.request(Request::Load, "load table", Some(target))?;
        self.request(Request::Suspend, "resume", None)?;
        Ok(())
    }

    /// Removes the device; it is not an error if it does not exist.
    pub(crate) fn remove(&self) -> Result<(), DmError> {
        match self.request(Request::Remove, "remove", None) {
            Err(DmError { errno: Errno::ENXIO | Errno::ENOENT, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// A request's bytes: the header, and for a table one target and its parameters.
    fn message(&self, request: Request, target: Option<&Target>) -> Vec<u8> {
        let flags = match request {
            Request::Create | Request::Remove => 0,
            Request::Load => READ_ONLY,
            Request::Suspend => SKIP_LOCK_FS,
        };
        let mut body = Vec::new();
        if let Some(target) = target {
            let length = target.parameters.len().saturating_add(TARGET + 1).next_multiple_of(8);
            body.extend_from_slice(&0_u64.to_le_bytes()); // first sector
            body.extend_from_slice(&target.sectors.to_le_bytes());
            body.extend_from_slice(&0_u32.to_le_bytes()); // status
            body.extend_from_slice(&size(length).to_le_bytes()); // the next target
            body.extend_from_slice(target.kind.as_bytes());
            body.resize(TARGET, 0);
            body.extend_from_slice(target.parameters.as_bytes());
            body.resize(length, 0);
        }
        let mut message = Vec::new();
        for field in [4, 0, 0] {
            message.extend_from_slice(&u32::to_le_bytes(field)); // version
        }
        message.extend_from_slice(&size(body.len().saturating_add(HEADER)).to_le_bytes());
        message.extend_from_slice(&size(HEADER).to_le_bytes()); // where the body starts
        message.extend_from_slice(&u32::from(target.is_some()).to_le_bytes());
        message.extend_from_slice(&0_u32.to_le_bytes()); // open count
        message.extend_from_slice(&flags.to_le_bytes());
        message.extend_from_slice(&[0; 16]); // event number, padding, device number
        message.extend_from_slice(self.name.as_bytes());
        message.resize(48 + 128, 0);
        // The kernel takes the UUID when the device is created; afterwards it finds no device by name and UUID
        // together.
        if request == Request::Create {
            message.extend_from_slice(self.uuid.as_bytes());
        }
        message.resize(HEADER, 0);
        message.extend_from_slice(&body);
        message
    }

    fn request(
        &self,
        request: Request,
        action: &'static str,
        target: Option<&Target>,
    ) -> Result<Vec<u8>, DmError> {
        let mut message = self.message(request, target);
        let failed = |errno| DmError { name: self.name, action, errno };
        let control = OpenOptions::new().read(true).write(true).open(CONTROL);
        let control: File =
            control.map_err(|error| failed(Errno::from_raw(error.raw_os_error().unwrap_or_default())))?;
        // `_IOWR(0xfd, request, struct dm_ioctl)`.
        let number = (3_u64 << 30) | ((HEADER as u64) << 16) | (0xfd << 8) | request as u64;
        // SAFETY: the message begins with a `struct dm_ioctl` whose `data_size` is the message's whole length, so the
        // kernel reads and writes inside of it.
        #[expect(unsafe_code, reason = "ioctl(2) on the device mapper")]
        let answer = unsafe { libc::ioctl(control.as_raw_fd(), number as _, message.as_mut_ptr()) };
        Errno::result(answer).map_err(failed)?;
        Ok(message)
    }
}

/// A length as the kernel's `u32`; messages have a few hundred bytes.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping { name: "psyops-root", uuid: "CRYPT-VERITY-00-psyops-root".into() }
    }

    fn number(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn the_header_is_that_of_the_kernel() {
        let message = mapping().message(Request::Create, None);
        assert_eq!(message.len(), HEADER);
        assert_eq!([number(&message, 0), number(&message, 12), number(&message, 16)], [4, 312, 312]);
        assert_eq!(number(&message, 20), 0, "no target");
        assert!(message[48..].starts_with(b"psyops-root\0"));
        assert!(message[176..].starts_with(b"CRYPT-VERITY-00-psyops-root\0"));
        let message = mapping().message(Request::Remove, None);
        assert!(message[48..].starts_with(b"psyops-root\0"));
        assert!(message[176..].starts_with(&[0; 129]), "a name or a UUID, not both");
    }

    #[test]
    fn a_table_has_its_target_behind_the_header() {
        let target = Target { sectors: 80, kind: "verity", parameters: "1 8:3 8:4".into() };
        let message = mapping().message(Request::Load, Some(&target));
        assert_eq!(message.len() % 8, 0);
        assert_eq!(number(&message, 12) as usize, message.len());
        assert_eq!(number(&message, 20), 1, "one target");
        assert_eq!(number(&message, 28), READ_ONLY);
        assert!(message[176..].starts_with(&[0; 129]), "no UUID after the creation");
        let body = &message[HEADER..];
        assert_eq!((number(body, 8), number(body, 20) as usize), (80, body.len()));
        assert!(body[24..].starts_with(b"verity\0"));
        assert!(body[40..].starts_with(b"1 8:3 8:4\0"));
    }
}
