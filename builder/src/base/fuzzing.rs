//! The parsers of the base as functions of text, for the fuzz targets.

use super::{Lock, apt};
use std::path::Path;

/// Parses the text as a lock file, and as what apt prints.
pub(crate) fn text(text: &str) {
    let _ = Lock::decode(Path::new("site.lock"), text);
    apt::fuzz(text);
}
