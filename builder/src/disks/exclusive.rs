//! Opens a block device exclusively, and only if it is the intended device.

use super::number::Number;
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens the block device of that number under that path. Without `O_CREAT`, `O_EXCL` makes the kernel refuse a device
/// that another process uses.
pub(super) fn open_exclusive(path: &Path, number: Number, direct: bool) -> io::Result<File> {
    let other = || io::Error::new(io::ErrorKind::NotFound, format!("it is no longer the device {number}"));
    // Another kind of file might react to being opened.
    if Number::of_device(path) != Some(number) {
        return Err(other());
    }
    let direct = if direct { OFlag::O_DIRECT } else { OFlag::empty() };
    let flags = OFlag::O_EXCL | OFlag::O_NOCTTY | direct;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path)?;
    if number_of(&file)? != Some(number) {
        return Err(other());
    }
    Ok(file)
}

/// The number of an open block device.
pub(super) fn number_of(file: &File) -> io::Result<Option<Number>> {
    let metadata = file.metadata()?;
    Ok(metadata.file_type().is_block_device().then(|| Number::from_raw(metadata.rdev())))
}
