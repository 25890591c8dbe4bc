//! Whether an open disk is still there: sysfs forgets a disk that is pulled out while programs still have it open.

use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

/// The exit code for a disk that disappeared.
pub const GONE: u8 = 94;

/// An open disk, or a file, which cannot disappear.
#[derive(Debug, Clone)]
pub struct Presence {
    /// The folder of the disk in sysfs, which disappears with it; none for a file.
    folder: Option<PathBuf>,
}

impl Presence {
    /// The presence of the open disk or file.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let number = metadata.rdev();
        let folder = || PathBuf::from(format!("/sys/dev/block/{}:{}", major(number), minor(number)));
        Ok(Self { folder: metadata.file_type().is_block_device().then(folder) })
    }

    /// Whether the disk has disappeared.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.folder.as_ref().is_some_and(|folder| !folder.exists())
    }

    /// Whether the disk has disappeared or is about to: a disk that is pulled out has a size of 0 before sysfs forgets
    /// it.
    #[must_use]
    pub fn is_going(&self, mut file: &File, size: u64) -> bool {
        let mut is_shorter = || file.seek(SeekFrom::End(0)).is_ok_and(|now| now < size);
        self.folder.is_some() && (self.is_gone() || is_shorter())
    }

    /// Whether the disk has disappeared, or this error of it says so. A disappearing disk first has no space: what is
    /// written then does not fit.
    #[must_use]
    pub fn is_gone_by(&self, error: &io::Error) -> bool {
        let says_so = says_gone(error) || error.raw_os_error() == Some(Errno::ENOSPC as i32);
        self.folder.is_some() && (says_so || self.is_gone())
    }
}

/// Whether an error of a disk means that it is not there.
#[must_use]
pub fn says_gone(error: &io::Error) -> bool {
    let gone = [Errno::ENODEV, Errno::ENXIO, Errno::ENOMEDIUM];
    error.raw_os_error().is_some_and(|number| gone.contains(&Errno::from_raw(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_present_after_any_error() {
        let file = Presence::of(&tempfile::tempfile().unwrap()).unwrap();
        let [gone, full, bad] = [Errno::ENODEV, Errno::ENOSPC, Errno::EIO].map(io::Error::from);
        assert!(!file.is_gone() && !file.is_gone_by(&gone));
        let disk = |folder: &str| Presence { folder: Some(folder.into()) };
        let (here, away) = (disk("/sys"), disk("/sys/dev/block/none"));
        assert!(here.is_gone_by(&gone) && here.is_gone_by(&full) && !here.is_gone_by(&bad));
        let (empty, long) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        long.set_len(512).unwrap();
        assert!(here.is_going(&empty, 512) && !here.is_going(&long, 512) && away.is_going(&long, 512));
        assert!(!file.is_going(&empty, 512));
        assert!(!here.is_gone() && away.is_gone() && away.is_gone_by(&bad));
        assert!(says_gone(&gone) && !says_gone(&full));
    }
}
