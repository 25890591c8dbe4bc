//! Reading `/sys` and other trees of small files: attributes without their line end, names in order.

use std::path::Path;

/// An attribute's text without white space around it; `None` if it cannot be read.
pub(crate) fn attribute(path: impl AsRef<Path>) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    // Devices can have any bytes in their strings.
    Some(String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}

/// The value of an attribute that is a decimal number.
pub(crate) fn number(path: impl AsRef<Path>) -> Option<u64> {
    attribute(path)?.parse().ok()
}

/// The names in a folder, sorted; none if it cannot be read.
#[expect(clippy::disallowed_methods, reason = "this is the sorted walk")]
pub(crate) fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names = Vec::new();
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        // These folders are short, and the code of a general sort is longer than all of this file.
        let place = names.partition_point(|before| *before < name);
        names.insert(place, name);
    }
    names
}
