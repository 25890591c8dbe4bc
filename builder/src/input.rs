//! Reading a file that a user or the build names.

use crate::error::{Class, Classified};
use handoff::hash::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// An input file is not there.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct InputError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Classified for InputError {
    fn class(&self) -> Class {
        Class::of_reading(&self.source)
    }
}

/// Bytes that can be read at any place, by several at once.
pub trait ReadAt: Sync {
    /// Fills `into` from `offset` on; an end before is an error.
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }
}

/// Reads a file that goes into an image.
pub fn read_input(path: &Path) -> Result<Vec<u8>, InputError> {
    fs::read(path).map_err(|source| InputError { path: path.to_owned(), source })
}

/// The SHA-256 of a file, read in pieces.
pub fn digest_of_file(path: &Path) -> io::Result<Sha256Digest> {
    digest_of_open_file(File::open(path)?)
}

/// The same of an open file, from where it is.
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
