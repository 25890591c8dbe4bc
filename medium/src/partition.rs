//! A raw partition: reading, and writes that succeed only if the same bytes are read back from the medium.

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fmt;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The operations of a medium. A device file is one; in tests, so is a medium whose power is cut.
pub trait Raw {
    /// Fills `bytes` from `offset` on.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes`; they may be lost until the next flush.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns once everything that was written is on the medium; what is read afterwards comes from there.
    fn flush(&self) -> io::Result<()>;
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;
}

impl Raw for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_all()?;
        // Clean pages can be dropped from the cache, and then reading goes to the medium. If the kernel keeps them, the
        // comparison proves less, and nothing is lost.
        let _ = posix_fadvise(self, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        // The metadata of a device have the size 0.
        let mut file = self;
        file.seek(SeekFrom::End(0))
    }
}

/// An operation on a partition, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Opening it.
    Open,
    /// Waiting until no other program changes it.
    Lock,
    /// Reading its content.
    Read,
    /// Writing its content.
    Write,
    /// Flushing what was written.
    Flush,
    /// Reading back what was written.
    ReadBack,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::ReadBack => "read back",
        })
    }
}

/// An operation on a partition that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}; {}", device.display(), self.advice())]
pub struct MediumError {
    /// The operation.
    pub action: Action,
    /// The path of the partition's device.
    pub device: PathBuf,
    /// The operating system's error.
    pub r#source: io::Error,
}

impl MediumError {
    fn advice(&self) -> &'static str {
        match self.action {
            Action::Open | Action::Lock => "check that it is the device of a partition and that you are root",
            Action::Read => "the stick may be worn or unplugged: plug it in again, or make another one",
            Action::Write | Action::Flush | Action::ReadBack => {
                "what was there before is unchanged; look whether the stick's write-protect switch is on, else make another stick"
            }
        }
    }
}

/// A raw partition of the stick.
#[derive(Debug)]
pub struct Partition<R = File> {
    raw: R,
    device: PathBuf,
}

impl Partition {
    /// Opens a partition to read it.
    pub fn open(device: &Path) -> Result<Self, MediumError> {
        Self::new(device, File::options().read(true).open(device))
    }

    /// Opens a partition to change it. Until the value is dropped, other programs that call this wait for it.
    pub fn open_to_write(device: &Path) -> Result<Self, MediumError> {
        let partition = Self::new(device, File::options().read(true).write(true).open(device))?;
        partition.failing(Action::Lock, partition.raw.lock())?;
        Ok(partition)
    }

    fn new(device: &Path, file: io::Result<File>) -> Result<Self, MediumError> {
        let device = device.to_owned();
        match file {
            Ok(raw) => Ok(Self { raw, device }),
            Err(source) => Err(MediumError { action: Action::Open, device, source }),
        }
    }
}

impl<R: Raw> Partition<R> {
    /// A partition over something that is not a device file; messages call it `name`.
    pub fn over(raw: R, name: &Path) -> Self {
        Self { raw, device: name.to_owned() }
    }

    /// The medium itself.
    pub fn raw(&self) -> &R {
        &self.raw
    }

    /// Returns the medium.
    pub fn into_raw(self) -> R {
        self.raw
    }

    /// The path under which it was opened.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    pub(crate) fn size(&self) -> Result<u64, MediumError> {
        self.failing(Action::Read, self.raw.size())
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, MediumError> {
        self.read_for(Action::Read, offset, length)
    }

    /// Writes, flushes, reads back and compares the bytes.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), MediumError> {
        self.failing(Action::Write, self.raw.write_at(bytes, offset))?;
        self.failing(Action::Flush, self.raw.flush())?;
        if self.read_for(Action::ReadBack, offset, bytes.len())? == bytes {
            return Ok(());
        }
        self.failing(
            Action::ReadBack,
            Err(io::Error::other("reading it back returned something else than was written")),
        )
    }

    fn read_for(&self, action: Action, offset: u64, length: usize) -> Result<Vec<u8>, MediumError> {
        let mut bytes = vec![0; length];
        self.failing(action, self.raw.read_at(&mut bytes, offset))?;
        Ok(bytes)
    }

    fn failing<T>(&self, action: Action, result: io::Result<T>) -> Result<T, MediumError> {
        result.map_err(|source| MediumError { action, device: self.device.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_does_not_fit_names_the_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        let partition = Partition::open_to_write(file.path()).unwrap();
        partition.write(4096, &[7; 4096]).unwrap();
        assert_eq!((partition.size().unwrap(), partition.read(4095, 2).unwrap()), (8192, vec![0, 7]));
        let error = partition.read(4097, 4096).unwrap_err();
        assert_eq!(error.action, Action::Read);
        assert!(
            error.to_string().starts_with(&format!("cannot read {}: ", file.path().display())),
            "{error}"
        );
    }

    #[test]
    fn a_medium_that_loses_writes_is_detected() {
        let null = Partition::open_to_write(Path::new("/dev/zero")).unwrap();
        let written = null.write(0, b"x");
        // The result of flushing does not matter here: some kernels refuse the flush already.
        assert!(
            matches!(written, Err(MediumError { action: Action::ReadBack | Action::Flush, .. })),
            "{written:?}"
        );
    }

    #[test]
    fn a_missing_partition_is_named() {
        let error = Partition::open(Path::new("/dev/no-such-partition")).unwrap_err();
        assert_eq!(error.action, Action::Open);
        assert!(error.to_string().contains("/dev/no-such-partition"), "{error}");
    }
}
