//! The number of a device, by which the kernel knows it under all its names.

use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::str::FromStr;

/// Major and minor number of a block device, or of the file system that a file is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    major: u64,
    minor: u64,
}

/// The text is not a device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a device number of the form MAJOR:MINOR")]
pub struct NoNumber;

impl Number {
    /// The number in the form of the system calls.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self { major: nix::sys::stat::major(raw), minor: nix::sys::stat::minor(raw) }
    }

    /// The number of the block device under `path`, whatever links lead there.
    #[must_use]
    pub fn of_device(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        metadata.file_type().is_block_device().then(|| Self::from_raw(metadata.rdev()))
    }

    /// The major number: the kind of device.
    #[must_use]
    pub fn major(self) -> u64 {
        self.major
    }

    /// Whether this is not a device, but a file system without one, or on several.
    #[must_use]
    pub fn is_anonymous(self) -> bool {
        self.major == 0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for Number {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, NoNumber> {
        let (major, minor) = text.trim().split_once(':').ok_or(NoNumber)?;
        let number = |text: &str| text.parse::<u32>().map(u64::from).map_err(|_| NoNumber);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for text in ["8:16", "259:0", "254:1048575"] {
            assert_eq!(text.parse::<Number>().unwrap().to_string(), text);
        }
        assert_eq!("8:16\n".parse::<Number>().unwrap(), Number::from_raw(nix::sys::stat::makedev(8, 16)));
        for text in ["", "8", "8:", "a:b", "8:16:1", "-1:0"] {
            assert_eq!(text.parse::<Number>(), Err(NoNumber), "{text}");
        }
        assert!("0:30".parse::<Number>().unwrap().is_anonymous());
    }
}
