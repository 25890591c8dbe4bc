//! Reading a file that a user or the build names.

use crate::error::{Class, Classified};
use std::fs;
use std::io;
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

/// Reads a file that goes into an image.
pub fn read_input(path: &Path) -> Result<Vec<u8>, InputError> {
    fs::read(path).map_err(|source| InputError { path: path.to_owned(), source })
}
