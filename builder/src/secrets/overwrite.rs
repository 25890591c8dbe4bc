//! Writing an image over a device: the head last, flushed, and read back from the medium.

use crate::error::{Class, Classified};
use handoff::hash::Sha256Digest;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes at the start that make a file system recognisable.
const HEAD: u64 = 64 * 1024;
const CHUNK: usize = 1024 * 1024;

/// Why the device does not hold the image.
#[derive(Debug, thiserror::Error)]
pub enum OverwriteError {
    /// The image cannot be read.
    #[error("cannot read {path}: {source}")]
    Image {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}: {source}; it is not whole now and must be written again")]
    Write {
        /// The device.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not return what was written to it.
    #[error("{path} returns something else than was written to it: the medium is worn or a fake")]
    BadMedium {
        /// The device.
        path: PathBuf,
    },
}

impl Classified for OverwriteError {
    fn class(&self) -> Class {
        match self {
            Self::Image { source, .. } => Class::of_reading(source),
            Self::Write { .. } | Self::BadMedium { .. } => Class::Io,
        }
    }
}

/// Writes the file `image` over the open device, which messages call `device`.
///
/// The head is wiped first and written last: cut off in between, there is no file system at all and never half of one.
pub fn overwrite(device: &Path, target: &mut File, image: &Path) -> Result<(), OverwriteError> {
    let unreadable = |source| OverwriteError::Image { path: image.to_owned(), source };
    let mut image_file = File::open(image).map_err(unreadable)?;
    copy(&mut image_file, target)
        .map_err(|source| OverwriteError::Write { path: device.to_owned(), source })?;
    // Out of the cache, so that what is read back comes from the medium.
    let _ = posix_fadvise(&*target, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let length = image_file.metadata().map_err(unreadable)?.len();
    let digest = |file: &mut File| digest(file, length).ok();
    match (digest(&mut image_file), digest(target)) {
        (Some(written), Some(read)) if written == read => Ok(()),
        _ => Err(OverwriteError::BadMedium { path: device.to_owned() }),
    }
}

fn copy(image: &mut File, target: &mut File) -> io::Result<()> {
    let length = image.metadata()?.len();
    let head = length.min(HEAD);
    let mut start = vec![0; usize::try_from(head).unwrap_or_default()];
    target.write_all_at(&start, 0)?;
    target.sync_all()?;
    image.seek(SeekFrom::Start(head))?;
    target.seek(SeekFrom::Start(head))?;
    let mut buffer = zeroize::Zeroizing::new(vec![0; CHUNK]);
    loop {
        match image.read(&mut buffer)? {
            0 => break,
            count => target.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
    target.sync_all()?;
    image.read_exact_at(&mut start, 0)?;
    target.write_all_at(&start, 0)?;
    target.sync_all()
}

fn digest(file: &mut File, length: u64) -> io::Result<Sha256Digest> {
    use sha2::Digest as _;
    file.seek(SeekFrom::Start(0))?;
    let mut rest = file.take(length);
    let mut hasher = sha2::Sha256::new();
    let mut buffer = zeroize::Zeroizing::new(vec![0; CHUNK]);
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(hasher.finalize().into())),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_copy_is_complete_and_compared() {
        let folder = tempfile::tempdir().unwrap();
        let (image, target) = (folder.path().join("image"), folder.path().join("target"));
        for length in [10, 64 * 1024, 3_000_001] {
            let content: Vec<u8> = (0..length).map(|i: u32| i.to_le_bytes()[0] ^ 0x5a).collect();
            fs::write(&image, &content).unwrap();
            fs::write(&target, vec![0xff; 4_000_000]).unwrap();
            let mut file = File::options().read(true).write(true).open(&target).unwrap();
            overwrite(&target, &mut file, &image).unwrap();
            let written = fs::read(&target).unwrap();
            assert!(
                written[..content.len()] == content && written[content.len()..].iter().all(|&b| b == 0xff)
            );
        }
    }
}
