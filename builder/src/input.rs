//! Reading a file that the user or the build names.

use crate::error::{Class, Classified};
use crate::limits::{self, Limit, OverLimit};
use crate::width::to_u64;
use handoff::hash::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// An input file could not be read.
#[derive(Debug, thiserror::Error, classified::Cause)]
#[error("cannot read {path}: {source}")]
pub struct InputError {
    /// The path of the file.
    pub path: PathBuf,
    /// The error from opening or reading it.
    pub r#source: io::Error,
}

impl Classified for InputError {
    fn own_class(&self) -> Option<Class> {
        Some(Class::of_reading(&self.source))
    }
}

/// Bytes that several threads can read at any offset.
pub trait ReadAt: Sync {
    /// Fills `into` from `offset` on; it is an error if the bytes end before.
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).fill_at(into, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let there = start.checked_add(into.len()).and_then(|end| self.get(start..end));
        into.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The part of a buffer that a read filled; an error if the read claims more bytes than the buffer has.
pub fn filled(buffer: &[u8], count: usize) -> io::Result<&[u8]> {
    buffer.get(..count).ok_or_else(|| {
        let room = buffer.len();
        io::Error::new(io::ErrorKind::InvalidData, format!("{count} bytes were read into {room}"))
    })
}

/// All bytes of `source`, if they are within a limit: at most one byte beyond it is read.
pub fn read_limited(source: impl io::Read, limit: &'static Limit) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit.most.saturating_add(1)).read_to_end(&mut bytes)?;
    limit.check(to_u64(bytes.len())).map_err(over)?;
    Ok(bytes)
}

/// A size over its limit, as an I/O error: [`Class::of_reading`] classifies it as bad content.
#[must_use]
pub fn over(over: OverLimit) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, over)
}

/// Reads a file that goes into an image.
pub fn read_input(path: &Path) -> Result<Vec<u8>, InputError> {
    let read = File::open(path).and_then(|file| read_limited(file, &limits::INPUT));
    read.map_err(|source| InputError { path: path.to_owned(), source })
}

/// Reads a file of at most `most` bytes. A longer one is an error, and only that many bytes of it are read.
pub fn read_bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read <= most) {
        Ok(bytes)
    } else {
        let problem = format!("it is longer than {most} bytes");
        Err(io::Error::new(io::ErrorKind::FileTooLarge, problem))
    }
}

/// The SHA-256 of a file, read in pieces.
pub fn digest_of_file(path: &Path) -> io::Result<Sha256Digest> {
    digest_of_open_file(File::open(path)?)
}

/// The same of an open file, from its current position.
pub fn digest_of_open_file(mut file: File) -> io::Result<Sha256Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(hasher.finalize().into())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_uki_that_is_too_large_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(limits::INPUT.most + 1).unwrap();
        let error = read_input(file.path()).unwrap_err();
        assert_eq!(error.class(), Class::BadContent);
        let problem = "a part of the UKI or the ESP has 100663297 bytes, more than the limit of 100663296 bytes (a UKI has at \
                       most as much)";
        assert_eq!(error.to_string(), format!("cannot read {}: {problem}", file.path().display()));
    }
}
