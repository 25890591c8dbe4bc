//! A position in a site file, for errors.

use std::fmt;
use std::path::PathBuf;

/// A position in a site file, counted from 1 as in editors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The path of the file.
    pub path: PathBuf,
    /// The line number.
    pub line: usize,
    /// The column, counted in characters.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}
